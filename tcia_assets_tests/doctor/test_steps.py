"""Steps: each gives one check, whatever it raises, and none takes longer than there is time."""

from __future__ import annotations

import threading
import time
from typing import NoReturn

import pytest

from tcia_assets.doctor.step_result import DIFFERS, OK, UNKNOWN, StepResult, ok
from tcia_assets.doctor.steps import NotChecked, Once, Step, Walk, judge, look
from tcia_assets.errors import (
    ArchiveBroken,
    ArchiveUnreachable,
    BadArchive,
    ForeignRows,
    RequestRefused,
    Stopped,
    StorageError,
    TciaError,
    TooLarge,
    UnknownReply,
    UnreadableReply,
)


def raising(error: Exception) -> NoReturn:
    raise error


@pytest.mark.parametrize(
    ("error", "outcome", "advice"),
    [
        (RequestRefused("no", status=401), DIFFERS, "TCIA_USERNAME"),
        (RequestRefused("no", status=404), DIFFERS, "TCIA_BASE_URL"),
        (RequestRefused("no", status=400), DIFFERS, "report it"),
        (ArchiveBroken("down", status=503), DIFFERS, "try again later"),
        (UnreadableReply("HTML"), DIFFERS, "in a browser"),
        (UnknownReply("empty"), DIFFERS, "try again later"),
        (ForeignRows("others"), DIFFERS, "refused by a refresh"),
        (BadArchive("short", table="image_archives"), DIFFERS, "report it"),
        (StorageError("full"), DIFFERS, "make room"),
        (ArchiveUnreachable("slow"), UNKNOWN, "less busy"),
        (TooLarge("long"), DIFFERS, "report it"),
        (NotChecked("not checked"), UNKNOWN, ""),
        (Stopped(), UNKNOWN, "less busy"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_error_says_whether_something_differs_and_what_to_do(
    error: TciaError, outcome: str, advice: str
) -> None:
    check = judge("x", error)
    assert (check.outcome, advice in check.advice, bool(check.seen)) == (outcome, True, True)


def test_a_step_that_fails_for_a_mistake_of_ours_is_a_check_too() -> None:
    check = look(Step("x", lambda: raising(KeyError("column"))))
    assert (check.outcome, check.seen) == (DIFFERS, "this program failed: KeyError: 'column'")


def test_what_the_source_sent_is_cut() -> None:
    check = look(Step("x", lambda: raising(UnreadableReply("y" * 5000))))
    assert len(check.seen) < 500


def test_a_fact_is_found_out_once_and_its_failure_is_told_once() -> None:
    tries = []

    def find() -> NoReturn:
        tries.append(1)
        raise UnknownReply("empty")

    fact = Once[str]("the list", find)
    for _ in range(2):
        with pytest.raises(UnknownReply):
            fact.get()
        with pytest.raises(NotChecked, match="not checked: that needs the list"):
            fact.need()
    outer = Once[str]("a name", fact.need)
    with pytest.raises(NotChecked, match="needs the list"):
        outer.need()
    assert len(tries) == 1


def test_a_fact_may_be_anything() -> None:
    assert Once("nothing", lambda: None).get() is None


def test_steps_are_taken_in_order_and_counted() -> None:
    counted = []
    steps = [Step(name, lambda name=name: ok(name, "seen")) for name in "abc"]
    walk = Walk(steps, time.monotonic() + 10, on_step=lambda: counted.append(1))
    assert [check.name for check in walk.checks().values()] == ["a", "b", "c"]
    assert len(counted) == 3


def test_what_was_not_asked_in_time_is_unknown_and_the_running_step_is_stopped() -> None:
    stopped = threading.Event()

    def wait() -> StepResult:
        stopped.wait(30)
        raise Stopped

    steps = [Step("a", lambda: ok("a", "")), Step("b", wait), Step("c", lambda: ok("c", ""))]
    checks = Walk(steps, time.monotonic() + 0.2, stop=stopped.set).checks()

    assert [each.outcome for each in checks.values()] == [OK, UNKNOWN, UNKNOWN]
    assert "no time was left" in checks["c"].seen


def test_a_step_that_nothing_can_stop_is_left_behind() -> None:
    never, started = threading.Event(), time.monotonic()

    def stuck() -> StepResult:
        never.wait(60)
        return ok("a", "")

    checks = Walk([Step("a", stuck)], started + 0.1).checks()
    never.set()
    assert checks["a"].outcome == UNKNOWN
    assert time.monotonic() - started < 10
