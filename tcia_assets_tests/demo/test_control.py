"""The control of the sandbox: Series that are held back and released, and whether it is up."""

from __future__ import annotations

from tcia_assets.demo.control import change_sandbox, is_up, publish_release
from tcia_assets_tests.conftest import SMALL, Sandbox


def test_a_change_returns_the_series_that_it_changed(sandbox: Sandbox) -> None:
    held = change_sandbox(sandbox.url, "hold", collection=SMALL, count=2)
    released = change_sandbox(sandbox.url, "release", uids=held)

    assert len(held) == 2
    assert set(released) == set(held)


def test_a_release_of_the_idc_is_published(sandbox: Sandbox) -> None:
    assert publish_release(sandbox.url) > "25"


def test_a_server_is_up_only_if_it_answers(sandbox: Sandbox) -> None:
    assert is_up(sandbox.url)
    assert not is_up("http://127.0.0.1:1")
