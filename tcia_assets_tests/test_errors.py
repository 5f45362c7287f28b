from __future__ import annotations

import inspect
import re

import pytest

from tcia_assets import errors
from tcia_assets.errors import (
    ArchiveBroken,
    ArchiveUnreachable,
    BadArchive,
    BadValue,
    Busy,
    DataError,
    MissingExtra,
    RemoteError,
    TciaError,
    UnknownName,
    UnknownReply,
    UnreadableReply,
    UsageError,
    require_known,
)
from tcia_assets.extras import install_command

CLASSES = [
    each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, TciaError)
]
REMOTE = [each for each in CLASSES if issubclass(each, RemoteError)]
DATA = [each for each in CLASSES if issubclass(each, DataError)]


def drawn() -> dict[str, str]:
    """Each class of the drawing at the top of the module, with the one that it hangs on."""
    parents: dict[str, str] = {}
    branch: list[str] = ["Exception"]
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"    ((?:│  |   )*(?:[├└]─ )?)([A-Z]\w+)", line)
        if found:
            depth = len(found[1]) // 3 + 1
            branch[depth:] = [found[2]]
            parents[found[2]] = branch[depth - 1]
    return parents


def test_the_first_unknown_name_is_named_with_the_nearest_ones() -> None:
    require_known("split", ["train", "test"], {"train", "test"})
    with pytest.raises(UnknownName, match="no split 'tets'; did you mean 'test'") as caught:
        require_known("split", ["train", "tets", "x"], ("train", "test"))
    assert caught.value.valid == ("train", "test")


def test_the_drawing_at_the_top_is_the_tree_of_classes() -> None:
    assert drawn() == {each.__name__: each.__base__.__name__ for each in CLASSES}


def test_what_may_succeed_the_next_time_is_retryable_and_nothing_else_is() -> None:
    assert {each for each in CLASSES if each.retryable} == {
        ArchiveBroken,
        ArchiveUnreachable,
        UnreadableReply,
        UnknownReply,
        BadArchive,
        Busy,
    }


@pytest.mark.parametrize("kind", REMOTE)
def test_an_error_of_the_archive_says_where_and_carries_its_facts(kind: type[RemoteError]) -> None:
    error = kind("it failed", url="https://host/v4/getSeries", status=503, excerpt='<h1>"no"</h1>')
    assert (error.problem, error.url) == ("it failed", "https://host/v4/getSeries")
    assert (error.status, error.excerpt) == (503, '<h1>"no"</h1>')
    assert str(error) == (
        "it failed; status 503; https://host/v4/getSeries; reply: '<h1>\"no\"</h1>'"
    )


def test_an_error_of_the_archive_leaves_out_what_is_not_known() -> None:
    assert str(RemoteError("it failed")) == "it failed"


@pytest.mark.parametrize("kind", DATA)
def test_an_error_of_data_names_table_column_problem_and_key(kind: type[DataError]) -> None:
    error = kind("'x' is not a count", table="series", column="ImageCount", value="x", key="1.2.3")
    assert str(error) == "series.ImageCount: 'x' is not a count (row 1.2.3)"
    assert (error.table, error.column) == ("series", "ImageCount")
    assert (error.value, error.key) == ("x", "1.2.3")


def test_an_error_of_data_need_not_be_about_a_column_or_a_row() -> None:
    assert str(DataError("is empty", table="series")) == "series: is empty"


@pytest.mark.parametrize(
    "text", ["two\nlines", "a return\r", "an escape\x1b[2J", "a NUL\0", "a line\u2028separator"]
)
def test_what_others_sent_never_breaks_the_line_of_a_log(text: str) -> None:
    for error in (
        UsageError(text),
        RemoteError(text, url=text, excerpt=text),
        BadValue(text, table="t", column="c", key=text),
    ):
        assert str(error).isprintable()


def test_letters_of_all_languages_stay_readable() -> None:
    assert str(UsageError("Lungenkrebs in Würzburg, 肺")) == "Lungenkrebs in Würzburg, 肺"


@pytest.mark.parametrize(
    ("asked", "near"),
    [("LIDC", "LIDC-IDRI"), ("lidc-idri", "LIDC-IDRI"), ("4D Lung", "4D-Lung")],
)
def test_an_unknown_name_lists_the_near_ones(asked: str, near: str) -> None:
    error = UnknownName("Collection", asked, ["4D-Lung", "LIDC-IDRI", "VICTRE"])
    assert str(error).startswith(f"no Collection {asked!r}; did you mean")
    assert repr(near) in str(error)
    assert "VICTRE" not in str(error)


def test_an_unknown_name_that_is_near_to_none_lists_the_first_dozen() -> None:
    error = UnknownName("table", "zzz", [f"a{number:02}" for number in range(20)])
    assert str(error).endswith("'a10', 'a11' and 8 more")


def test_an_unknown_name_where_none_is_known_says_so() -> None:
    assert str(UnknownName("list", "mine", [])) == "no list 'mine'; there are none yet"


def test_a_missing_extra_says_how_to_install_it() -> None:
    text = str(MissingExtra("pydicom", "dicom", "reading images"))
    assert text == (
        f"reading images needs 'pydicom', which is not installed: {install_command('dicom')}"
    )


def test_no_message_is_longer_than_a_page() -> None:
    error = TciaError("a" * 5_000_000 + "z")
    assert len(str(error)) < 10_100 and str(error).endswith("z")
    assert len(str(BadValue("p", table="t", key=("k" * 999_999, 1)))) < 500
    assert len(str(UnknownName("Collection", "n" * 999_999, ["v" * 999_999] * 20))) < 6_000


def test_a_failure_of_several_lines_is_one_line_without_escapes() -> None:
    failed = errors.RunFailed(["1 of 2 failed:\nseries of 'A': x\nand more", "y"])
    assert str(failed) == "1 of 2 failed: series of 'A': x; and more; y"
    assert failed.failures[0].startswith("1 of 2 failed:\nseries")


def test_an_error_is_rewritten_in_all_its_texts() -> None:
    error = RemoteError("p s3cr3t", url="http://h/s3cr3t", status=500, excerpt="s3cr3t")
    safe = error.rewritten(lambda text: text.replace("s3cr3t", "***"))
    assert type(safe) is RemoteError and "s3cr3t" not in repr((str(safe), vars(safe)))
    assert error.rewritten(str) is error
