"""Bodies as the servers write them -> typed rows; the servers' own writer is the sandbox's."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcia_assets.catalog import COLUMNS_BY_WIRE_NAME, DIALECTS, FORMATS, SERIES, dialect
from tcia_assets.errors import MissingColumn, UnreadableReply
from tcia_assets.metadata.listing import LISTED
from tcia_assets.sandbox.endpoints import ServedEndpoint
from tcia_assets.sources import SourceRows
from tcia_assets.sources.nbia import wire
from tcia_assets.spec import Column, Dialect, Endpoint
from tcia_assets.store.conform import conform
from tcia_assets_tests.examples import examples
from tcia_assets_tests.sources.nbia.conftest import Read, rendered

UID = '"SeriesInstanceUID":"1.2.3"'


# --- The same rows in all formats -----------------------------------------------------------------

TEXTS = st.text(
    st.one_of(
        st.sampled_from("\"',;/\\%&<>^\n |{}[]:"),
        st.characters(min_codepoint=0x20, max_codepoint=0x7E),
        st.characters(min_codepoint=0xA1, max_codepoint=0xFF),
    ),
    min_size=1,
    max_size=20,
)
# What the encoder of XML and HTML leaves as it is: it decodes escapes, though they are data.
UNALTERED = TEXTS.filter(lambda text: not set(text) & set("%\\&"))
UIDS = st.from_regex(r"[0-9]{1,9}(\.[0-9]{1,9}){0,5}", fullmatch=True)
NUMBERS = st.integers(0, 2**62)
DAYS = st.dates(date(1000, 1, 1), date(9999, 12, 31))
INSTANTS = st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 31))  # noqa: DTZ001
# What is told to downloaders is made of texts by the database, before any format is written.
ROWS = [
    (spoken, e)
    for spoken in DIALECTS
    for e in spoken.endpoints
    if e.columns and e.formats and ServedEndpoint(spoken, e).number_columns is None
]


@dataclass(frozen=True)
class Case:
    """Rows as a server has them, and what they must be read as."""

    spoken: Dialect
    endpoint: Endpoint
    sent: list[list[Any]]
    meant: list[dict[str, Any]]


def values(column: Column, spoken: Dialect, texts: st.SearchStrategy[str]) -> Any:
    """A value as the server's formatter gets it, with what it means."""

    def day(value: date) -> tuple[str, date]:
        # strftime of years below 1000 differs between platforms; these are all above.
        return value.strftime(spoken.value_format.day.replace("%f", "0")), value

    def instant(value: datetime) -> tuple[str, datetime]:
        if "%f" not in spoken.value_format.instant:
            whole = value.replace(hour=0, minute=0, second=0, microsecond=0)
            return whole.strftime(spoken.value_format.instant), whole.replace(tzinfo=UTC)
        digits = f"{value.microsecond:06}".rstrip("0") or "0"
        return f"{value:%Y-%m-%d %H:%M:%S}.{digits}", value.replace(tzinfo=UTC)

    def same(value: Any) -> tuple[Any, Any]:
        return value, value

    kinds: dict[str, st.SearchStrategy[Any]] = {
        "uid": UIDS.map(same),
        "text": texts.map(same),
        "day": DAYS.map(day),
        "instant": INSTANTS.map(instant),
        "count": NUMBERS.map(same),
        "size": NUMBERS.map(same),
        "whole": st.integers(-(2**62), 2**62).map(same),
        "number": st.floats(allow_nan=False, allow_infinity=False).map(same),
        "flag": st.booleans().map(lambda flag: (int(flag), flag)),
    }
    return kinds[column.kind.name]


@st.composite
def cases(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> Case:
    spoken, endpoint = draw(st.sampled_from(ROWS))
    columns = [COLUMNS_BY_WIRE_NAME[name] for name in endpoint.columns]
    if len(columns) == 1:  # where no format but JSON keeps a line's end
        texts = texts.filter(lambda text: "\n" not in text)
    # A quote in the first column cannot be told from a null in it (archive-api.md 5.3).
    of = [texts.filter(lambda text: '"' not in text)] + [texts] * (len(columns) - 1)
    row = st.tuples(
        *(
            st.none() | values(column, spoken, each)
            for column, each in zip(columns, of, strict=True)
        )
    )
    pairs = draw(st.lists(row, min_size=1, max_size=4))
    sent = [[None if pair is None else pair[0] for pair in row] for row in pairs]
    meant = [
        {c.name: None if p is None else p[1] for c, p in zip(columns, row, strict=True)}
        for row in pairs
    ]
    return Case(spoken, endpoint, sent, meant)


def whole(rows: SourceRows, endpoint: Endpoint) -> list[dict[str, Any]]:
    """The rows with the columns that they lack."""
    declared = wire.empty(endpoint).table
    assert set(rows.table.column_names) <= set(declared.column_names)
    for field in rows.table.schema:
        assert field.type == declared.schema.field(field.name).type
    lacking = dict.fromkeys(declared.column_names)
    found: list[dict[str, Any]] = [lacking | row for row in rows.table.to_pylist()]
    return found


def read_case(case: Case, form: str, folder: Path) -> list[dict[str, Any]]:
    body = folder / "body"
    body.write_bytes(rendered(form, case.spoken, case.endpoint, case.sent))
    rows = wire.read(body, case.endpoint, case.spoken.value_format, form=form)
    assert rows.unclaimed == ()
    return whole(rows, case.endpoint)


OFTEN = settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.mark.duckdb
@OFTEN
@given(case=cases(TEXTS))
def test_json_and_csv_give_the_rows_that_the_server_has(case: Case, tmp_path: Path) -> None:
    assert read_case(case, "json", tmp_path) == case.meant
    assert read_case(case, "csv", tmp_path) == case.meant


@OFTEN
@given(case=cases(UNALTERED))
def test_all_four_formats_give_the_same_rows(case: Case, tmp_path: Path) -> None:
    for form in FORMATS:
        assert read_case(case, form, tmp_path) == case.meant, form


SIZES = [(spoken, spoken.endpoint("getSeriesSize")) for spoken in DIALECTS]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(("spoken", "endpoint"), SIZES, ids=lambda x: getattr(x, "name", ""))
def test_a_row_of_nothing_but_nulls_is_a_row(
    form: str, spoken: Dialect, endpoint: Endpoint, read: Read
) -> None:
    body = rendered(form, spoken, endpoint, [[None, None]])
    rows = read(body, "getSeriesSize", spoken.name, form)
    assert rows.table.to_pylist() == [{"TotalSizeInBytes": None, "ObjectCount": None}]


@pytest.mark.parametrize("form", FORMATS)
def test_sizes_with_decimals_are_whole_numbers(form: str, read: Read) -> None:
    for speaks in ("nbia-v4", "bindaas-v4"):
        spoken = dialect(speaks)
        body = rendered(form, spoken, spoken.endpoint("getSeriesSize"), [[27844690, 1]])
        rows = read(body, "getSeriesSize", speaks, form)
        assert rows.table.to_pylist() == [{"TotalSizeInBytes": 27844690, "ObjectCount": 1}]


@pytest.mark.parametrize("form", FORMATS)
def test_a_null_stands_between_the_values_of_one_column(form: str, read: Read) -> None:
    spoken = dialect("nbia-v1")
    sent = [[None], ["ABD"], ['"GE", Inc.'], [None]]
    body = rendered(form, spoken, spoken.endpoint("getManufacturerValues"), sent)
    rows = read(body, "getManufacturerValues", "nbia-v1", form)
    assert rows.table["Manufacturer"].to_pylist() == [None, "ABD", '"GE", Inc.', None]


@pytest.mark.parametrize("blanks", [0, 1, 70, 5000])
def test_white_space_of_any_length_around_the_rows_is_accepted(blanks: int, read: Read) -> None:
    rows = read("\ufeff" + "\r\n \t" * blanks + f"[{{{UID}}}]" + " \n" * blanks)
    assert rows.table.num_rows == 1


# --- Bodies that are no rows ----------------------------------------------------------------------

WHOLE = f'[{{{UID},"Modality":"CT","ImageCount":3}},{{"SeriesInstanceUID":"1.2.4"}}]'


@pytest.mark.duckdb
@pytest.mark.parametrize("cut", range(1, len(WHOLE)))
def test_json_cut_anywhere_is_no_list_of_rows(cut: int, read: Read) -> None:
    with pytest.raises(UnreadableReply, match=r"cut off|not a list of rows") as caught:
        read(WHOLE[:cut])
    assert caught.value.url == "http://host/x"
    assert caught.value.excerpt == WHOLE[:cut]


@pytest.mark.parametrize("form", ["csv", "xml", "html"])
def test_the_other_formats_cut_anywhere_are_no_rows_or_those_before_the_cut(
    form: str, read: Read
) -> None:
    spoken = dialect("nbia-v4")
    sent = [["1.2.3", "CT"], ["1.2.4", "MR"]]
    shape = Endpoint("getSeries", "", columns=("SeriesInstanceUID", "Modality"))
    body = rendered(form, spoken, shape, sent)
    assert read(body, form=form).table.num_rows == 2
    for cut in range(1, len(body)):
        try:
            rows = read(body[:cut], form=form).table.to_pylist()
        except UnreadableReply:
            continue
        # A CSV has no end mark: cut behind a line it is a whole, shorter one. And what HTML has
        # behind its table does not matter.
        pairs = [[row["SeriesInstanceUID"], row["Modality"]] for row in rows]
        assert pairs == sent[: len(pairs)]
        assert form == "csv" or pairs == sent


@pytest.mark.duckdb
@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("<html><body><h1>Down</h1></body></html>", "not a list of rows"),
        ('{"errorMessage":"java.lang.IndexOutOfBoundsException"}', "not a list of rows"),
        ('[{"errorMessage":"java.lang.IndexOutOfBoundsException"}]', "none of its fields"),
        ('["CT","MR"]', "not a list of rows"),
        (f'[{{{UID}}},"CT"]', "not a list of rows"),
        ("[[1],[2]]", "not a list of rows"),
        ("[1,2]", "not a list of rows"),
        (f"[{{{UID}}}][{{{UID}}}]", "not a list of rows"),
        (f"[{{{UID}}},]", "not a list of rows"),
        (f"[{{{UID}}} {{{UID}}}]", "not a list of rows"),
        (f'[{{{UID},"SeriesInstanceUID":"1.2.4"}}]', "not a list of rows"),
        ('[{"Modality":"a]', "not a list of rows"),
        ("null", "not a list of rows"),
        ("   ", "not a list of rows"),
        (" " * 5000, "not a list of rows"),
        (f"[{{{UID}}}" + " " * 5000, "cut off"),
        ("[", "cut off"),
        ('"[]"', "not a list of rows"),
    ],
)
def test_json_of_another_shape_is_unreadable(body: str, said: str, read: Read) -> None:
    with pytest.raises(UnreadableReply, match=said) as caught:
        read(body)
    assert caught.value.retryable


PAGE = "<html>\n<head><title>502</title></head>\n<body><h1>Bad Gateway</h1></body>\n</html>\n"
TABLE_PAGE = "<html>\n<table><tr><th>Error</th></tr><tr><td>Down</td></tr></table>\n</html>\n"


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", ["getSeries", "getModalityValues"])
@pytest.mark.parametrize("page", [PAGE, TABLE_PAGE])
def test_an_html_page_is_never_rows_whatever_the_format(
    form: str, name: str, page: str, read: Read
) -> None:
    with pytest.raises(UnreadableReply) as caught:
        read(page, name, form=form)
    assert "html" in caught.value.excerpt or "Error" in caught.value.excerpt


@pytest.mark.duckdb
def test_an_empty_array_is_no_row_with_all_columns(read: Read) -> None:
    rows = read("[]")
    assert rows.table.num_rows == 0
    assert rows.table.schema == wire.empty(dialect("nbia-v4").endpoint("getSeries")).table.schema


def test_blanks_around_the_array_do_not_matter(read: Read) -> None:
    assert read(f"\n [ {{ {UID} }} ] \n\n").table.num_rows == 1


# --- Which fields ---------------------------------------------------------------------------------


def test_a_key_that_only_some_rows_have_is_null_in_the_others(read: Read) -> None:
    rows = read(f'[{{{UID},"Modality":"CT"}},{{"SeriesInstanceUID":"1.2.4","Site":"x"}}]')
    assert rows.table.to_pylist() == [
        {"SeriesInstanceUID": "1.2.3", "Modality": "CT", "Site": None},
        {"SeriesInstanceUID": "1.2.4", "Modality": None, "Site": "x"},
    ]


def test_a_column_that_no_row_has_is_left_out(read: Read) -> None:
    assert read(f"[{{{UID}}}]").table.column_names == ["SeriesInstanceUID"]


@pytest.mark.duckdb
@pytest.mark.parametrize(
    ("fields", "unclaimed"),
    [
        ('"New Field":"x"', ("New Field",)),
        ('"b":1,"a":{"Modality":"CT"}', ("a", "b")),
        ('"New":null', ("New",)),
        ('"SERIESINSTANCEUID":"9.9"', ("SERIESINSTANCEUID",)),
        ('"modality":"CT"', ("modality",)),
        ('"Modality":"a\\":b"', ()),
        ('"Modality":null', ()),
    ],
)
def test_fields_that_no_column_claims_are_named(
    fields: str, unclaimed: tuple[str, ...], read: Read
) -> None:
    rows = read(f'[{{"SeriesInstanceUID":"1.2.4"}},{{{UID},{fields}}}]')
    assert rows.unclaimed == unclaimed
    assert rows.table["SeriesInstanceUID"].to_pylist() == ["1.2.4", "1.2.3"]


@pytest.mark.parametrize("before", range(4))
def test_an_unclaimed_field_is_found_across_the_pieces_in_which_a_body_is_read(
    before: int, read: Read
) -> None:
    start, end = f'[{{{UID},"Modality":"', '"},{"Strange":1}]'
    filler = "x" * (wire._CHUNK - before - len(start) - end.index('":1'))
    body = start + filler + end
    assert body.index('":1') == wire._CHUNK - before
    assert read(body).unclaimed == ("Strange",)


@pytest.mark.duckdb
def test_a_key_of_another_case_is_never_taken_for_the_column(read: Read) -> None:
    rows = read(f'[{{{UID},"Modality":"CT","MODALITY":"MR"}}]')
    assert rows.table["Modality"].to_pylist() == ["CT"]
    assert rows.unclaimed == ("MODALITY",)


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ('"TimeStamp":"03-08-2019"', "MaxSubmissionTimestamp"),
        ('"CollectionURI":"doi"', "DataDescriptionURI"),
        ('"StudyDescription":"x"', "StudyDescription"),
        ('"AdmittingDiagnosesDescription":"x"', "AdmittingDiagnosesDescription"),
        ('"Date Released":"03-08-2019"', "DateReleased"),
        ('"PatientId":"x"', "PatientID"),
    ],
)
def test_a_key_that_is_spelled_as_in_another_dialect_is_still_read(
    sent: str, name: str, read: Read
) -> None:
    rows = read(f"[{{{UID},{sent}}}]")
    assert rows.unclaimed == ()
    assert rows.table[name].null_count == 0


@pytest.mark.parametrize("speaks", ["bindaas-v4", "bindaas-v3"])
@pytest.mark.parametrize("name", ["getSeries", "getContentsByName"])
def test_a_column_that_only_some_servers_send_is_read_and_not_promised(
    speaks: str, name: str, read: Read
) -> None:
    rows = read('[{"SeriesInstanceUID": "1.2", "PatientID": "p", "Strange": 1}]', name, speaks)
    assert rows.table["PatientID"].to_pylist() == ["p"]
    assert rows.unclaimed == ("Strange",)
    assert read('[{"SeriesInstanceUID": "1.2"}]', name, speaks).unclaimed == ()


def test_of_two_spellings_the_declared_one_is_read_and_the_other_named(read: Read) -> None:
    rows = read('[{"PatientId":"a","PatientID":"b"}]', "getPatient")
    assert rows.table.to_pylist() == [{"PatientID": "a"}]
    assert rows.unclaimed == ("PatientID",)


def test_a_field_of_our_own_is_not_taken_from_the_archive(read: Read) -> None:
    rows = read(f'[{{{UID},"fingerprint":"x","source":"y"}}]')
    assert rows.unclaimed == ("fingerprint", "source")


def test_a_renamed_key_column_ends_in_an_error_that_names_it(read: Read) -> None:
    rows = read('[{"Series_UID":"1.2.3","Collection":"A"}]')
    with pytest.raises(MissingColumn, match=r"series\.SeriesInstanceUID"):
        conform(LISTED, rows.table)


# --- Texts and bytes ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "ABDOMEN_PELVIS ",
        " x",
        'a "b"',
        "C:\\data",
        "https://doi.org/10.7937/K9",
        "Würzburg é ß",
        "30%DELAY",
        "P4^P100^S100^I0, Gated, 0.0%",
        "two\nlines\ttab",
        pytest.param("a\0b", marks=pytest.mark.duckdb),
        "[0]",
        "null",
        "true",
        pytest.param("1e5", marks=pytest.mark.duckdb),
        pytest.param("😀", marks=pytest.mark.duckdb),
    ],
)
def test_a_text_arrives_as_it_is(text: str, read: Read) -> None:
    body = json.dumps([{"SeriesDescription": text}]).replace("/", "\\/")
    assert read(body).table["SeriesDescription"].to_pylist() == [text]
    body = json.dumps([{"SeriesDescription": text}], ensure_ascii=False)
    assert read(body).table["SeriesDescription"].to_pylist() == [text]


@pytest.mark.duckdb
@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("two\nlines\ttab", "two\nlines\ttab"),
        ("a\0b", "a\0b"),
        (r"a\ud83d", "a\N{REPLACEMENT CHARACTER}"),
        (r"\ude00b \ud83d\ude00", "\N{REPLACEMENT CHARACTER}b 😀"),
    ],
    ids=["control characters", "null character", "first half", "second half"],
)
def test_a_text_that_json_does_not_allow_costs_no_row(written: str, text: str, read: Read) -> None:
    rows = read(f'[{{{UID},"SeriesDescription":"{written}"}},{{"SeriesInstanceUID":"1.2.4"}}]')
    assert rows.table["SeriesDescription"].to_pylist() == [text, None]


@pytest.mark.duckdb
def test_a_number_where_a_text_is_expected_is_its_digits(read: Read) -> None:
    rows = read('[{"PatientId":1215936303},{"PatientId":12345678901234567890123}]', "getPatient")
    assert rows.table["PatientID"].to_pylist() == ["1215936303", "12345678901234567890123"]


@pytest.mark.parametrize("form", FORMATS)
def test_a_byte_order_mark_does_not_matter(form: str, read: Read) -> None:
    spoken = dialect("nbia-v4")
    body = rendered(form, spoken, spoken.endpoint("getModalityValues"), [["CT"]])
    rows = read(b"\xef\xbb\xbf" + body, "getModalityValues", form=form)
    assert rows.table.to_pylist() == [{"Modality": "CT"}]


@pytest.mark.parametrize("form", FORMATS)
def test_latin1_is_read_where_the_body_is_not_utf8(form: str, read: Read) -> None:
    spoken = dialect("nbia-v1")
    sent = [["Hôpital"], ["Siemens é"]]
    body = rendered(form, spoken, spoken.endpoint("getManufacturerValues"), sent)
    rows = read(body.decode().encode("latin-1"), "getManufacturerValues", "nbia-v1", form)
    assert rows.table["Manufacturer"].to_pylist() == ["Hôpital", "Siemens é"]


def test_rows_that_are_repeated_collapse_when_they_become_a_table(read: Read) -> None:
    row = f'{{{UID},"Collection":"A","ImageCount":3}}'
    rows = read(f"[{row},{row}]")
    assert rows.table.num_rows == 2
    assert conform(LISTED, rows.table).num_rows == 1


def test_an_excerpt_is_one_short_line(read: Read) -> None:
    with pytest.raises(UnreadableReply) as caught:
        read("<html>\n" + "<br>" * 10_000)
    assert len(caught.value.excerpt) == 200
    assert str(caught.value).isprintable()


def test_the_body_is_kept_as_it_was(tmp_path: Path) -> None:
    spoken = dialect("nbia-v4")
    for body in (b"<html>", b'[{"Modality":"\xe9"}]', b"Modality\nCT\n"):
        path = tmp_path / "body"
        path.write_bytes(body)
        for form in FORMATS:
            with suppress(UnreadableReply):
                wire.read(
                    path, spoken.endpoint("getModalityValues"), spoken.value_format, form=form
                )
            assert path.read_bytes() == body


# --- Much at once ---------------------------------------------------------------------------------


def large(rows: int, extra: str = "") -> str:
    start = ",".join(
        f'{{"SeriesInstanceUID":"1.2.{place}","Collection":"A","SeriesDescription":"{"x" * 400}"}}'
        for place in range(rows - 1)
    )
    return f'[{start},{{"SeriesInstanceUID":"1.2.{rows}","Collection":"A"{extra}}}]'


@pytest.mark.duckdb
def test_a_large_reply_is_read_whole_and_in_order(read: Read) -> None:
    body = large(45_000)
    assert len(body) > wire.LARGE
    rows = read(body)
    assert rows.unclaimed == ()
    uids = rows.table["SeriesInstanceUID"].to_pylist()
    assert uids == [f"1.2.{place}" for place in (*range(44_999), 45_000)]
    assert conform(LISTED, rows.table).num_rows == 45_000


def test_what_is_wrong_at_the_end_of_a_large_reply_is_found(read: Read) -> None:
    with pytest.raises(UnreadableReply):
        read(large(45_000, ',"Modality":"x'))
    rows = read(large(45_000, ',"ImageCount":"twelve","New":1'))
    assert rows.table.num_rows == 45_000 and rows.unclaimed == ("New",)
    found = rows.unreadable["ImageCount"]
    assert found.texts.to_pylist() == ["twelve"]
    assert found.rows["SeriesInstanceUID"].to_pylist() == ["1.2.45000"]


def test_an_unclaimed_field_at_the_end_of_a_large_reply_is_named(read: Read) -> None:
    assert read(large(45_000, ',"New":1')).unclaimed == ("New",)


# --- Small replies, many together -----------------------------------------------------------------

SIZE = dialect("nbia-v4").endpoint("getSeriesSize")


@pytest.mark.parametrize(
    ("body", "form", "rows"),
    [
        (b'[{"TotalSizeInBytes":5,"ObjectCount":1}]', "json", [(5, 1)]),
        (b"\xef\xbb\xbf[{}]", "json", [(None, None)]),
        (b"[]", "json", []),
        (b'"TotalSizeInBytes","ObjectCount"\n"5.000000","1"\n', "csv", [("5.000000", "1")]),
    ],
)
def test_small_rows_stay_as_they_travel(
    body: bytes, form: str, rows: list[tuple[Any, Any]]
) -> None:
    found = wire.untyped(body, SIZE, form=form)
    assert [(row.get("TotalSizeInBytes"), row.get("ObjectCount")) for row in found] == rows


@pytest.mark.parametrize(
    "body",
    [
        b"<html></html>",
        b"[",
        b'{"TotalSizeInBytes":5}',
        b"[5]",
        b"null",
        b'[{"errorMessage":"x"}]',
        b"[" * 200_000,
    ],
)
def test_small_replies_that_are_no_rows_are_unreadable(body: bytes) -> None:
    with pytest.raises(UnreadableReply, match="getSeriesSize: ") as caught:
        wire.untyped(body, SIZE, url="http://host/x")
    assert caught.value.url == "http://host/x"
    assert re.match(re.escape(body[:20].decode()), caught.value.excerpt)


def test_no_rows_have_the_columns_and_kinds_of_the_endpoint() -> None:
    for spoken in DIALECTS:
        for endpoint in spoken.endpoints:
            table = wire.empty(endpoint).table
            assert table.num_rows == 0
            assert table.column_names == [
                COLUMNS_BY_WIRE_NAME[name].name for name in endpoint.columns
            ]


def test_the_rows_of_series_become_the_table_that_is_declared(read: Read) -> None:
    rows = read(f'[{{{UID},"Collection":"A","FileSize":5,"DateReleased":"03-08-2019"}}]')
    table = conform(LISTED, rows.table)
    assert table.schema == pa.schema(LISTED.schema)
    assert set(LISTED.column_names) < set(SERIES.column_names)


@pytest.mark.duckdb
def test_days_in_a_form_of_their_own_are_read(read: Read) -> None:
    row = {
        "Series UID": "1.2.3",
        "Study Date": "08-29-2017",
        "Date Released": "Tue Nov 08 08:08:01 UTC 2011",
        "TimeStamp": "Tue Nov 08 08:08:01 UTC 2011",
        "Series Number": "1.000000",
        "File Size": "27844690",
    }
    rows = read(json.dumps([row]), "getSeriesMetadata", "nbia-v1")
    assert rows.unclaimed == ()
    assert rows.table.to_pylist() == [
        {
            "SeriesInstanceUID": "1.2.3",
            "StudyDate": date(2017, 8, 29),
            "FileSize": 27844690,
            "SeriesNumber": 1,
            "DateReleased": date(2011, 11, 8),
            "MaxSubmissionTimestamp": datetime(2011, 11, 8, 8, 8, 1, tzinfo=UTC),
        }
    ]
    for wrong in ("29-08-2017", "Tue Nov 08 08:08:01 EST 2011", "Tue Nov 31 08:08:01 UTC 2011"):
        odd = read(json.dumps([row | {"TimeStamp": wrong}]), "getSeriesMetadata", "nbia-v1")
        assert list(odd.unreadable) == ["MaxSubmissionTimestamp"]
