"""Replies with equal digests have the same rows, and a mere change of order keeps the digest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcia_assets.sources.nbia import reply_digest
from tcia_assets.sources.nbia.reply_digest import digest_reply

# Texts that look like the end of a row, escapes, and what servers send.
TEXTS = st.text(alphabet='},{":[]\\ ab\n', max_size=8)
ROWS = st.lists(
    st.dictionaries(st.sampled_from(["UID", "text", "n"]), st.one_of(TEXTS, st.integers()))
    .filter(bool)
    .map(lambda row: json.dumps(row, separators=(",", ":"))),
    max_size=4,
)


@pytest.fixture(scope="module")
def body(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("replies") / "body"


def digest_of(body: Path, text: str) -> str:
    body.write_text(text, encoding="utf-8")
    return digest_reply(body)


def listed(rows: list[str]) -> str:
    return f"[{','.join(rows)}]"


def test_rows_in_another_order_have_the_same_digest(body: Path) -> None:
    rows = [json.dumps({"UID": str(n), "text": 'a "b"'}, separators=(",", ":")) for n in range(9)]
    digest = digest_of(body, listed(rows))
    assert digest == digest_of(body, listed(rows[::-1])) == digest_of(body, listed(rows) + "\n")
    assert digest != digest_of(body, listed(rows[:-1]))
    assert digest != digest_of(body, listed([*rows, rows[0]]))
    assert digest != digest_of(body, listed([*rows[:-1], rows[-1].replace("8", "9")]))


@given(ROWS, ROWS)
def test_equal_digests_mean_equal_rows(body: Path, first: list[str], second: list[str]) -> None:
    digests = [digest_of(body, listed(rows)) for rows in (first, second)]
    assert digests[0] != digests[1] or sorted(first) == sorted(second)


@given(ROWS)
def test_a_row_that_spans_chunks_counts_as_one(body: Path, rows: list[str]) -> None:
    whole = digest_of(body, listed(rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reply_digest, "_CHUNK", 5)
        assert digest_of(body, listed(rows)) == whole


@pytest.mark.parametrize("colon", [":", ": ", " :", "\n:\t"])
def test_rows_within_a_row_are_not_taken_for_rows(body: Path, colon: str) -> None:
    def reply(first: str, second: str) -> str:
        pairs = (("b", first), ("c", second))
        lists = (f'{{"a"{colon}[{{"{one}":1}},{{"{other}":2}}]}}' for one, other in pairs)
        return listed([*lists, '{"d":3}'])

    assert digest_of(body, reply("x", "y")) != digest_of(body, reply("y", "x"))


def test_rows_with_spaces_between_them_are_known_in_their_order(body: Path) -> None:
    digests = [digest_of(body, f"[{', '.join(rows)}]") for rows in (['{"a":1}', '{"b":2}'], [])]
    assert digests[0] != digest_of(body, '[{"b":2}, {"a":1}]') and len(set(digests)) == 2


@pytest.mark.parametrize(
    "text",
    [
        '[{"a":[{"b":1},{"c":2}]},{"d":3}]',
        '{"a":1}',
        '[{"a":1},{"b":2}',
        "<html>",
        "",
    ],
)
def test_another_reply_is_known_by_its_bytes_alone(body: Path, text: str) -> None:
    assert digest_of(body, text) == digest_of(body, text)
    assert digest_of(body, text) != digest_of(body, f"{text} ")
