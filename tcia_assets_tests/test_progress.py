from __future__ import annotations

import pytest

from tcia_assets.progress import ignore_progress, note, notes_to, report, shown_by


def test_each_listener_gets_all_progress_while_it_listens() -> None:
    inner: list[tuple[int, int, str]] = []
    outer: list[tuple[int, int, str]] = []
    report(0, 3)
    with shown_by(lambda *each: outer.append(each)):
        report(1, 3, "LCTSC")
        with shown_by(lambda *each: inner.append(each)):
            report(2, 3)
        report(3, 3)
    report(4, 4)

    assert outer == [(1, 3, "LCTSC"), (2, 3, ""), (3, 3, "")]
    assert inner == [(2, 3, "")]


def test_a_listener_is_removed_when_the_work_fails() -> None:
    seen: list[int] = []
    with (
        pytest.raises(ZeroDivisionError),
        shown_by(lambda done, _total, _note: seen.append(done)),
    ):
        1 / 0  # noqa: B018
    report(1, 1)
    assert seen == []


def test_progress_can_be_ignored() -> None:
    ignore_progress(1, 2)


def test_a_note_goes_to_each_listener_and_is_logged_only_where_there_is_none(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: list[str] = []
    with notes_to(seen.append):
        note("heard")
    note("logged")

    assert seen == ["heard"]
    assert caplog.messages == ["logged"]
