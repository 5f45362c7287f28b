from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from tcia_assets.doctor.step_result import StepResult
from tcia_assets.doctor.steps import Step, look
from tcia_assets.doctor.subject import Subject
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.settings import Settings
from tcia_assets.sources import Pacing, open_source
from tcia_assets_tests.conftest import SMALL, settings_for
from tcia_assets_tests.sources.scripted import Handler, Scripted

# As an examination's, but for servers that are meant to hang.
HASTY = Pacing(
    attempts=1,
    attempts_when_in_doubt=1,
    connect_timeout_s=5.0,
    read_timeout_s=1.0,
    slowest_read_s=1.0,
)
OPEN = Pacing(attempts=1, attempts_when_in_doubt=1)


def check_of(steps: Sequence[Step], name: str) -> StepResult:
    """Take the step of that name alone."""
    [step] = [each for each in steps if each.name == name]
    return look(step)


MakeSubject = Callable[..., Subject]


@pytest.fixture
def subject_of(tmp_path: Path) -> Iterator[MakeSubject]:
    """Makes subjects whose source is closed at the end of the test."""
    with ExitStack() as stack:

        def make(settings: Settings, *preferred: str, pacing: Pacing = OPEN) -> Subject:
            source = stack.enter_context(open_source(settings, pacing=pacing))
            return Subject(source, preferred, tmp_path)

        yield make


@pytest.fixture
def subject(sandbox: Sandbox, tmp_path: Path, subject_of: MakeSubject) -> Subject:
    """The sandbox, of which the small Collection is looked at."""
    return subject_of(settings_for(sandbox, tmp_path), SMALL)


Serve = Callable[..., Scripted]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a scripted server that ends with the test."""
    with ExitStack() as stack:

        def start(handler: Handler) -> Scripted:
            return stack.enter_context(Scripted(handler))

        yield start


def settings_of(server: Scripted, **chosen: str) -> Settings:
    """The settings of a mirror of a scripted server."""
    return Settings(base_url=f"{server.url}/nbia-api/services/v4", **chosen)
