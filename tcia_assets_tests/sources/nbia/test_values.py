"""Values of each kind: what is read, and what is refused by name."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime

import pytest

from tcia_assets.catalog import DIALECTS, FORMATS, dialect
from tcia_assets.errors import BadValue
from tcia_assets.sources import SourceRows
from tcia_assets_tests.sources.nbia.conftest import Read, rendered

UID = '"SeriesInstanceUID":"1.2.3"'


def unreadable(rows: SourceRows) -> dict[str, list[str]]:
    """What cannot be read, by column; the values themselves are null."""
    for name, found in rows.unreadable.items():
        if name in rows.table.column_names:
            assert rows.table[name].null_count >= len(found.texts)
        assert len(found.rows) == len(found.texts) <= found.values
    return {name: found.texts.to_pylist() for name, found in rows.unreadable.items()}


def listed(name: str, texts: list[str]) -> str:
    """Return a reply with a row for each of these JSON texts of a value."""
    rows = (f'{{"SeriesInstanceUID":"1.{n}","{name}":{text}}}' for n, text in enumerate(texts))
    return f"[{','.join(rows)}]"


@pytest.mark.parametrize("name", ["ImageCount", "FileSize", "SeriesNumber"])
def test_a_whole_number_may_have_zeros_behind_its_point(name: str, read: Read) -> None:
    meant = {
        "3": 3,
        "3.0": 3,
        '"3"': 3,
        '"3.000000"': 3,
        '"3."': 3,
        '" 3 "': 3,
        "0": 0,
        "9223372036854775807": 2**63 - 1,
        '"00012"': 12,
        "null": None,
        '""': None,
        '"  "': None,
    }
    rows = read(listed(name, list(meant)))
    assert dict(zip(meant, rows.table[name].to_pylist(), strict=True)) == meant
    assert unreadable(rows) == {}


@pytest.mark.parametrize("name", ["ImageCount", "FileSize", "SeriesNumber"])
def test_what_is_no_whole_number_is_null_and_kept_as_it_was_sent(name: str, read: Read) -> None:
    kept = {
        "1.5": "1.5",
        '"1.500000"': "1.500000",
        "3.0000001": "3.0000001",
        '"twelve"': "twelve",
        '"1,000"': "1,000",
        '"1_000"': "1_000",
        '"0x10"': "0x10",
        '"1e3"': "1e3",
        "1e30": "1e+30",
        "9223372036854775808": "9223372036854775808",
        "true": "true",
        "[1]": "[1]",
        '{"a":1}': '{"a":1}',
        '"NaN"': "NaN",
        '"\N{ARABIC-INDIC DIGIT THREE}"': "\N{ARABIC-INDIC DIGIT THREE}",
        '"1 2"': "1 2",
        '"3\\n"': "3\n",
        '"--1"': "--1",
    }
    rows = read(listed(name, ["12", *kept]))
    assert unreadable(rows) == {name: list(kept.values())}
    assert rows.table[name].to_pylist() == [12, *[None] * len(kept)]
    # A column of which nothing else can be read.
    for text, as_sent in kept.items():
        if text[0] in "[{t":
            assert unreadable(read(listed(name, [text]))) == {name: [as_sent]}


@pytest.mark.parametrize("name", ["ImageCount", "FileSize"])
def test_a_count_or_size_is_never_negative(name: str, read: Read) -> None:
    assert unreadable(read(f'[{{{UID},"{name}":-1}}]')) == {name: ["-1"]}


def test_a_number_of_a_series_may_be_negative(read: Read) -> None:
    assert read(f'[{{{UID},"SeriesNumber":-1}}]').table["SeriesNumber"].to_pylist() == [-1]


@pytest.mark.parametrize("uid", ["1", "1.2.840.10008", "0.0", "1" * 64, " 1.2 "])
def test_a_uid_is_digits_and_dots(uid: str, read: Read) -> None:
    rows = read(json.dumps([{"SeriesInstanceUID": uid}]))
    assert rows.table["SeriesInstanceUID"].to_pylist() == [uid.strip()]


NO_UIDS = [
    "../x",
    "..",
    ".",
    "/etc/passwd",
    "1.2/../3",
    "1.2\\3",
    "1..2",
    ".1",
    "1.",
    "1.2\n",
    "1.2\0",
    "1 2",
    "1" * 65,
    "1.2a",
    "\N{ARABIC-INDIC DIGIT THREE}",
    "C:1",
]


@pytest.mark.parametrize("uid", NO_UIDS)
def test_a_uid_that_is_a_path_or_no_uid_never_passes(uid: str, read: Read) -> None:
    with pytest.raises(BadValue, match=r"getSeries\.SeriesInstanceUID: .* is not a DICOM UID"):
        read(json.dumps([{"SeriesInstanceUID": uid}]))


def test_such_a_uid_that_identifies_no_row_is_null_and_kept(read: Read) -> None:
    rows = read(listed("StudyInstanceUID", [json.dumps(uid) for uid in NO_UIDS]))
    assert unreadable(rows) == {"StudyInstanceUID": NO_UIDS}
    assert rows.table.column_names == ["SeriesInstanceUID"]
    assert rows.table.num_rows == len(NO_UIDS)


DIALECT_NAMES = [each.name for each in DIALECTS]


@pytest.mark.parametrize("speaks", DIALECT_NAMES)
def test_a_day_is_read_in_each_known_form_whatever_the_dialect(speaks: str, read: Read) -> None:
    meant = {
        "03-08-2019": date(2019, 3, 8),
        "02-29-2020": date(2020, 2, 29),
        " 03-08-2019 ": date(2019, 3, 8),
        "2011-07-22": date(2011, 7, 22),
        "2011-07-22 00:00:00": date(2011, 7, 22),
        "2011-07-22 00:00:00.0": date(2011, 7, 22),
        "2019-03-08 23:59:59.999999999": date(2019, 3, 8),
        "20171120": date(2017, 11, 20),
        "Tue Nov 08 08:08:01 UTC 2011": date(2011, 11, 8),
        "1677-01-01 00:00:00.0": date(1677, 1, 1),
        "0001-01-01": date(1, 1, 1),
        "10-10-1000": date(1000, 10, 10),
        "9999-12-31 00:00:00.0": date(9999, 12, 31),
    }
    rows = read(listed("SeriesDate", [f'"{text}"' for text in meant]), speaks=speaks)
    assert dict(zip(meant, rows.table["SeriesDate"].to_pylist(), strict=True)) == meant


@pytest.mark.parametrize("speaks", DIALECT_NAMES)
def test_an_impossible_day_or_one_of_no_known_form_is_null(speaks: str, read: Read) -> None:
    sent = [
        "13-01-2020",
        "02-31-2020",
        "02-29-2019",
        "00-00-2020",
        "03-08-19",
        "03/08/2019",
        "2019-13-08",
        "03-08-2019 00:00:00",
        "03-08-20190",
        "2019-03-08 00:00:00.",
        "2019-02-31 00:00:00.0",
        "2019-03-08 24:00:00.0",
        "19-03-08 00:00:00.000",
        "2019-03-08 00:00:00.0000000000",
        "2019-03-08 00:00:00.123456xyz",
        "19-03-08",
        "2019-02-30",
        "20190230",
        "Tue Nov 08 08:08:01 EST 2011",
        "01-01-0000",
        "0000-01-01 00:00:00.0",
        "today",
    ]
    # A day that can be read keeps its column; one of which nothing can be read is left out.
    rows = read(listed("SeriesDate", ['"2019-03-08"', *(f'"{t}"' for t in sent)]), speaks=speaks)
    assert unreadable(rows) == {"SeriesDate": sent}
    assert rows.table["SeriesDate"].to_pylist() == [date(2019, 3, 8), *[None] * len(sent)]
    alone = read(f'[{{{UID},"SeriesDate":"{sent[0]}"}}]', speaks=speaks)
    assert unreadable(alone) == {"SeriesDate": sent[:1]}
    assert alone.table.to_pylist() == [{"SeriesInstanceUID": "1.2.3"}]


@pytest.mark.parametrize(
    ("fraction", "microseconds"),
    [
        ("0", 0),
        ("5", 500_000),
        ("05", 50_000),
        ("123456", 123_456),
        ("1234567", 123_456),
        ("123456789", 123_456),
        ("999999999", 999_999),
        ("000000001", 0),
    ],
)
def test_an_instant_keeps_its_microseconds_and_is_never_rounded(
    fraction: str, microseconds: int, read: Read
) -> None:
    rows = read(f'[{{{UID},"TimeStamp":"2011-11-08 08:08:01.{fraction}"}}]', speaks="nbia-v1")
    meant = datetime(2011, 11, 8, 8, 8, 1, microseconds, tzinfo=UTC)
    assert rows.table["MaxSubmissionTimestamp"].to_pylist() == [meant]


def test_an_instant_of_nbia_v4_is_the_start_of_its_day(read: Read) -> None:
    rows = read(f'[{{{UID},"MaxSubmissionTimestamp":"02-25-2019"}}]')
    assert rows.table["MaxSubmissionTimestamp"].to_pylist() == [datetime(2019, 2, 25, tzinfo=UTC)]


def test_an_instant_of_any_dialect_may_have_its_time_of_day(read: Read) -> None:
    rows = read(f'[{{{UID},"MaxSubmissionTimestamp":"2011-11-08 08:08:01"}}]')
    meant = datetime(2011, 11, 8, 8, 8, 1, tzinfo=UTC)
    assert rows.table["MaxSubmissionTimestamp"].to_pylist() == [meant]


@pytest.mark.parametrize(
    ("sent", "meant"),
    [("1", True), ('"1"', True), ("true", True), ('"Yes"', True), ("0", False), ('"NO"', False)],
)
def test_a_flag_is_read_from_what_the_archive_writes(sent: str, meant: object, read: Read) -> None:
    assert read(f'[{{{UID},"Authorized":{sent}}}]').table["Authorized"].to_pylist() == [meant]


@pytest.mark.parametrize("sent", ["2", '"maybe"', "0.5"])
def test_what_is_no_flag_is_null(sent: str, read: Read) -> None:
    assert unreadable(read(f'[{{{UID},"Authorized":{sent}}}]')) == {"Authorized": [sent.strip('"')]}


@pytest.mark.parametrize("sent", ['"NaN"', '"Infinity"', '"x"', "1E400"])
def test_what_is_no_number_is_null(sent: str, read: Read) -> None:
    name = "LongitudinalTemporalOffsetFromEvent"
    rows = read(f'[{{"StudyInstanceUID":"1.2","{name}":{sent}}}]', "getPatientStudy")
    assert list(unreadable(rows)) == [name]


# --- What becomes of them -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        ('{"Modality":"CT"}', '{"Modality":"CT"}'),
        ('["CT"]', '["CT"]'),
        ("{}", "{}"),
        ("[]", "[]"),
        ('[[{"a":[1]}]]', '[[{"a":[1]}]]'),
    ],
)
def test_an_object_or_a_list_is_no_text(sent: str, text: str, read: Read) -> None:
    rows = read(f'[{{{UID},"Modality":"CT","SeriesDescription":{sent}}}]')
    assert unreadable(rows) == {"SeriesDescription": [text]}
    assert rows.table["Modality"].to_pylist() == ["CT"]


@pytest.mark.parametrize("text", ['{"a":1}', "[1]", "[CT] lung", "{", "[]"])
def test_a_text_that_looks_like_an_object_is_a_text(text: str, read: Read) -> None:
    rows = read(json.dumps([{"SeriesInstanceUID": "1.2.3", "SeriesDescription": text}]))
    assert rows.table["SeriesDescription"].to_pylist() == [text]
    assert unreadable(rows) == {}


def test_texts_are_the_same_whether_or_not_another_value_can_be_read(read: Read) -> None:
    texts = [
        "é\u2028",
        'a"b',
        "back\\slash",
        "\x01",
        "",
        "  x ",
        "5",
        "null",
        "1.0",
        "\N{GRINNING FACE}",
    ]
    rows = [{"SeriesInstanceUID": f"1.{n}", "Site": text} for n, text in enumerate(texts)]
    plain = read(json.dumps(rows)).table["Site"].to_pylist()
    odd = read(json.dumps([*rows, {"SeriesInstanceUID": "2", "ImageCount": "x"}]))
    assert odd.table["Site"].to_pylist()[:-1] == plain == texts


@pytest.mark.parametrize(
    ("sent", "text"), [("1", "1"), ("5.5", "5.5"), ("true", "true"), ("null", None)]
)
def test_a_number_in_a_column_of_texts_is_a_text(sent: str, text: str, read: Read) -> None:
    for count in ("1", '"x"'):
        rows = read(f'[{{{UID},"Site":{sent}}},{{"SeriesInstanceUID":"1","ImageCount":{count}}}]')
        assert rows.table.to_pylist()[0].get("Site") == text


@pytest.mark.parametrize("form", FORMATS)
def test_an_unreadable_value_costs_only_itself(form: str, read: Read) -> None:
    spoken = dialect("nbia-v4")
    endpoint = spoken.endpoint("getSeries")
    row = {"SeriesInstanceUID": "1.2.3", "ImageCount": "twelve", "Modality": "CT"}
    sent = [
        [{"SeriesInstanceUID": "1.2.2", "ImageCount": "11"}.get(name) for name in endpoint.columns],
        [row.get(name) for name in endpoint.columns],
    ]
    body = rendered(form, spoken, endpoint, sent).replace(b":twelve", b':"twelve"')
    rows = read(body, form=form)
    assert rows.table.to_pylist() == [
        {"SeriesInstanceUID": "1.2.2", "Modality": None, "ImageCount": 11},
        {"SeriesInstanceUID": "1.2.3", "Modality": "CT", "ImageCount": None},
    ]
    assert rows.unclaimed == ()
    [(name, found)] = rows.unreadable.items()
    assert (name, found.texts.to_pylist(), found.values) == ("ImageCount", ["twelve"], 2)
    assert found.rows["SeriesInstanceUID"].to_pylist() == ["1.2.3"]


@pytest.mark.parametrize(
    ("name", "row", "column"),
    [
        ("getSeries", {"SeriesInstanceUID": "x"}, "SeriesInstanceUID"),
        ("getSeries", {"SeriesInstanceUID": "1.2", "Collection": {"a": 1}}, "Collection"),
        ("getPatient", {"PatientId": ["p"], "Collection": "A"}, "PatientID"),
        ("getPatientStudy", {"StudyInstanceUID": "..", "Collection": "A"}, "StudyInstanceUID"),
        ("getModalityValues", {"Modality": {"a": 1}}, "Modality"),
        ("getSOPInstanceUIDs", {"SOPInstanceUID": "1/2"}, "SOPInstanceUID"),
        ("getContentsByName", {"SeriesInstanceUID": "1", "Collection": []}, "Collection"),
        ("getUpdatedSeries", {"SeriesInstanceUID": "x"}, "SeriesInstanceUID"),
    ],
)
def test_a_value_that_identifies_its_row_is_an_error_and_never_null(
    name: str, row: dict[str, object], column: str, read: Read
) -> None:
    with pytest.raises(BadValue, match=rf"{name}\.{column}: .* is not ") as caught:
        read(json.dumps([row]), name, speaks="nbia-v1")
    assert (caught.value.table, caught.value.column) == (name, column)


def test_a_bad_value_in_a_row_without_key_says_so(read: Read) -> None:
    with pytest.raises(BadValue, match=r"\(row without a key\)"):
        read('[{"SeriesInstanceUID":null,"Collection":["x"]}]')


def test_a_bad_value_is_shown_in_part_where_it_is_long_and_on_one_line(read: Read) -> None:
    with pytest.raises(BadValue) as caught:
        read(json.dumps([{"SeriesInstanceUID": "x\n\x1b[2J" * 10_000}]))
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()
    assert len(str(caught.value.value)) == 60_000


@pytest.mark.parametrize(
    "value", ["'; DROP TABLE x; --", "tcia-unreadable-value", "\x1f", "$1", "{}"]
)
def test_a_hostile_value_is_only_a_value(value: str, read: Read) -> None:
    body = json.dumps([{"SeriesInstanceUID": "1.2.3", "SeriesDescription": value, value: value}])
    rows = read(body)
    assert rows.table["SeriesDescription"].to_pylist() == [value]
    assert rows.unclaimed == (value,)
    rows = read(json.dumps([{"SeriesInstanceUID": "1.2.3", "ImageCount": value}]))
    assert unreadable(rows) == {"ImageCount": [value]}
