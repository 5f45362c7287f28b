"""What statuses, headers and exceptions of the HTTP library mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests

from tcia_assets.errors import (
    NotPublic,
    RemoteError,
    RequestRefused,
)
from tcia_assets.sources import Pacing, Target
from tcia_assets.sources.http import responses
from tcia_assets_tests.sources.conftest import Serve, talking
from tcia_assets_tests.sources.scripted import answer

GOOD = answer('[{"Collection":"A"}]')


@dataclass(frozen=True)
class Noted(Pacing):
    """Waits no longer than a moment, and notes how long it should have."""

    waits: list[float] = field(default_factory=list)
    longest_retry_after_s: float = 300.0

    def wait_s(self, error: RemoteError, attempt: int, chance: float) -> float:
        self.waits.append(super().wait_s(error, attempt, chance))
        return 0.001


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 422])
def test_a_refusal_is_never_asked_again(status: int, serve: Serve) -> None:
    said = "Invalid query parameter: 'x'. Allowed parameters are: [Collection]"
    server = serve(answer(said, status, Content_Type="application/json"))
    with talking(server.url) as client, pytest.raises(RequestRefused) as caught:
        client.get_rows("getCollectionValues")
    assert len(server.asked) == 1
    assert (caught.value.status, caught.value.excerpt) == (status, said)
    assert not isinstance(caught.value, NotPublic)
    assert "tried" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "said",
    [
        "Image with given SeriesInstanceUID,1.2.3, is not in public domain.",
        "The user has not been granted the access to image with given SeriesInstanceUID,1.2.3.",
    ],
)
def test_images_that_are_not_public_are_told_from_other_refusals(
    said: str, serve: Serve, tmp_path: Path
) -> None:
    server = serve(answer(said, 400, Content_Type="application/json"))
    with talking(server.url) as client, pytest.raises(NotPublic) as caught:
        client.download("getImage", Target(tmp_path / "zip"), SeriesInstanceUID="1.2.3")
    assert len(server.asked) == 1
    assert caught.value.excerpt == said[:200]
    assert not (tmp_path / "zip").exists()


@pytest.mark.parametrize(
    ("said", "longest"),
    [
        ("soon", 0.5),
        ("-5", 0.5),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("99999", 300.0),
    ],
)
def test_retry_after_that_makes_no_sense_is_bounded(
    said: str, longest: float, serve: Serve
) -> None:
    pacing = Noted()
    server = serve([answer("", 429, Retry_After=said), GOOD])
    with talking(server.url, pacing=pacing) as client:
        client.get_rows("getCollectionValues")
    assert 0 <= pacing.waits[0] <= longest


def test_a_host_whose_certificate_nobody_vouches_for_is_unreachable_in_words() -> None:
    error = requests.exceptions.SSLError("certificate verify failed")
    assert "certificate" in responses.describe(error)


@pytest.mark.parametrize(
    ("before", "after", "may"),
    [
        ("http://a.org/x", "http://a.org/y?z", True),
        ("http://a.org:80/x", "http://A.org/y", True),
        ("http://a.org/x", "https://a.org/y", True),
        ("http://127.0.0.1:8042/x", "http://127.0.0.1:8042/y", True),
        ("https://nbia.cancerimagingarchive.net/x", "https://s.cancerimagingarchive.net/y", True),
        ("http://nbia.cancerimagingarchive.net/x", "https://s.cancerimagingarchive.net/y", True),
        ("https://nbia.cancerimagingarchive.net/x", "http://s.cancerimagingarchive.net/y", False),
        (
            "https://nbia.cancerimagingarchive.net/x",
            "https://cancerimagingarchive.net.a.org",
            False,
        ),
        ("https://nbia.cancerimagingarchive.net/x", "https://evilcancerimagingarchive.net", False),
        ("https://nbia.cancerimagingarchive.net/x", "https://a.org/y", False),
        ("https://a.org/x", "http://a.org/y", False),
        ("http://a.org/x", "http://a.org:22/y", False),
        ("http://127.0.0.1:8042/x", "https://127.0.0.1/y", False),
        ("http://a.org/x", "http://169.254.169.254/y", False),
        ("http://a.org/x", "file:///etc/passwd", False),
        ("http://a.org/x", "http://a.org:99999/y", False),
        ("http://a.org/x", "http://[a/y", False),
    ],
)
def test_a_redirect_stays_on_the_host_or_within_tcia(before: str, after: str, *, may: bool) -> None:
    assert responses.may_redirect(before, after) == may
