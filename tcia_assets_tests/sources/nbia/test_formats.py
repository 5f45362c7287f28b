from __future__ import annotations

import pytest

from tcia_assets.sources.nbia.formats import rows_in

THREE = ("PatientId", "SeriesNumber", "Manufacturer")
XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?><Results>{}</Results>'
HTML = "<P ALIGN='center'><TABLE BORDER=1>{}</TABLE></P>"
HEAD = "<TR><TH>PatientId</TH><TH>SeriesNumber</TH><TH>Manufacturer</TH></TR>"


@pytest.mark.parametrize(
    ("form", "body"),
    [
        ("csv", '"PatientId","SeriesNumber","Manufacturer"\n"A","8.000000",""\n'),
        (
            "xml",
            XML.format(
                "<Row><PatientId type='java.lang.String'>A</PatientId>"
                "<SeriesNumber type='java.math.BigDecimal'>8.000000</SeriesNumber></Row>"
            ),
        ),
        ("html", HTML.format(f"{HEAD}<TR><TD>A</TD><TD>8.000000</TD><TD>&nbsp;</TD></TR>")),
    ],
)
def test_one_row_as_the_server_renders_it(form: str, body: str) -> None:
    assert rows_in(body, form, THREE) == [{"PatientId": "A", "SeriesNumber": "8.000000"}]


# --- CSV ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    ["CMS, Inc.", '"GE Healthcare"', 'a "b" c', "ABDOMEN_PELVIS ", " x", "x,y,z", "'", "a\rb"],
)
def test_in_csv_of_one_column_a_line_is_a_value_whatever_it_holds(value: str) -> None:
    body = f"Manufacturer\n{value}\nSiemens\n"
    rows = [{"Manufacturer": value}, {"Manufacturer": "Siemens"}]
    assert rows_in(body, "csv", ("Manufacturer",)) == rows


def test_in_csv_of_one_column_a_blank_line_is_a_null() -> None:
    assert rows_in("Modality\n\nCT\n\n", "csv", ("Modality",)) == [{}, {"Modality": "CT"}, {}]


def test_in_csv_of_one_column_the_head_may_be_quoted() -> None:
    assert rows_in('"Modality"\nCT\n', "csv", ("Modality",)) == [{"Modality": "CT"}]


@pytest.mark.parametrize(
    ("line", "row"),
    [
        ('","","5"', {"ObjectCount": "5"}),
        ('","",""', {}),
        ('"7",""', {"TotalSizeInBytes": "7"}),
        ('"",""', {}),
        ('"a","",', None),
    ],
)
def test_in_csv_a_null_in_the_first_column_breaks_the_quotes_and_is_mended(
    line: str, row: dict[str, str] | None
) -> None:
    columns = ("TotalSizeInBytes", "ObjectCount")
    body = f'"TotalSizeInBytes","ObjectCount"\n"1","2"\n{line}\n"3","4"\n'
    one, three = ({"TotalSizeInBytes": a, "ObjectCount": b} for a, b in (("1", "2"), ("3", "4")))
    if row is None:
        with pytest.raises(ValueError, match="fields"):
            rows_in(body, "csv", columns)
    else:
        assert rows_in(body, "csv", columns) == [one, row, three]


@pytest.mark.parametrize(
    "text", ["two\nlines", 'a "quoted" word', "a,b", "ends in a line\n", '\n","",""\n']
)
def test_in_csv_of_many_columns_a_value_may_hold_anything(text: str) -> None:
    quoted = text.replace('"', '""')
    body = f'"PatientId","SeriesNumber","Manufacturer"\n"A","{quoted}",""\n"B","","{quoted}"\n'
    assert rows_in(body, "csv", THREE) == [
        {"PatientId": "A", "SeriesNumber": text},
        {"PatientId": "B", "Manufacturer": text},
    ]


def test_in_csv_what_looks_like_a_broken_start_within_a_value_is_left_alone() -> None:
    body = '"a","b","c","d"\n"1","two\n","",""\n",""x","2","",""\n'
    assert rows_in(body, "csv", ("a", "b", "c", "d")) == [
        {"a": "1", "b": "two\n"},
        {"a": ',"x', "b": "2"},
    ]


def test_csv_without_quotes_as_older_servers_wrote_it_is_read_too() -> None:
    body = "PatientId,SeriesNumber,Manufacturer\nA,8,\n"
    assert rows_in(body, "csv", THREE) == [{"PatientId": "A", "SeriesNumber": "8"}]


@pytest.mark.parametrize(
    ("body", "columns", "said"),
    [
        ("Modality\nCT\nM", ("Modality",), "cut off: its last line has no end"),
        ("Modality", ("Modality",), "cut off"),
        ('"a","b"\n"1","2', ("a", "b"), "cut off"),
        ('"a","b"\n"1","2\n', ("a", "b"), "broken: unexpected end of data"),
        ('"a","b"\n"1"\n', ("a", "b"), "row 2 has 1 fields where 2 are named"),
        ('"a","b"\n"1","2","3"\n', ("a", "b"), "row 2 has 3 fields"),
        ('"a","b"\n"1","x"y"\n', ("a", "b"), "broken"),
        ('"a","a"\n"1","2"\n', ("a", "b"), "no column names, or one of them twice"),
        ("\n", ("a", "b"), "no column names"),
        ("<html>\n<body>Down</body>\n</html>\n", ("Modality",), "begins with '<html>'"),
        ("<html>\n<p>a, b</p>\n</html>\n", ("a", "b"), "fields"),
    ],
)
def test_csv_that_is_not_whole_says_why(body: str, columns: tuple[str, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        rows_in(body, "csv", columns)


# --- XML ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoded", "text"),
    [
        ("Fu&szlig;weg &eacute;", "Fußweg é"),
        ("5.1 4DCT &amp; ITV FB &#x2b; 4D &#x2f; x", "5.1 4DCT & ITV FB + 4D / x"),
        ("a &lt;b&gt; &quot;c&quot;", 'a <b> "c"'),
        ("a &LT;b", "a <b"),
        ("&nbsp;x&nbsp;", "\xa0x\xa0"),
        ("a&#xa;b ", "a\nb "),
        ("Wuerzburg ü", "Wuerzburg ü"),
    ],
)
def test_in_xml_the_entities_of_html_are_letters(encoded: str, text: str) -> None:
    body = XML.format(f"<Row><PatientId type='java.lang.String'>{encoded}</PatientId></Row>")
    assert rows_in(body, "xml", THREE) == [{"PatientId": text}]


def test_in_xml_an_empty_row_is_a_row() -> None:
    assert rows_in(XML.format("<Row></Row><Row/>"), "xml", THREE) == [{}, {}]


def test_xml_is_read_as_the_text_it_was_decoded_to_whatever_it_declares() -> None:
    body = '<?xml version="1.0" encoding="ISO-8859-1"?><Results><Row><A>é</A></Row></Results>'
    assert rows_in(body, "xml", ("A",)) == [{"A": "é"}]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("<Results><Row><PatientId type='x'>A", "cut off"),
        ("<Results><Row><PatientId type='x'>A</PatientId></Row>", "cut off"),
        ("<Results><Row><Series UID type='x'>1</Series UID></Row></Results>", "not well-formed"),
        ("<Results><Row><A>&unknown;</A></Row></Results>", "not well-formed"),
        ("<html><body><p>Down</p></body></html>", "is 'html', not 'Results'"),
        ("<error>down</error>", "is 'error', not 'Results'"),
        ('[{"PatientId":"A"}]', "not well-formed"),
        (
            '<!DOCTYPE r [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><Results>&b;</Results>',
            "document type",
        ),
        ("<!DOCTYPE html><html></html>", "document type"),
    ],
)
def test_xml_that_is_not_whole_says_why(body: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        rows_in(body, "xml", THREE)


# --- HTML -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoded", "text"),
    [
        ("Fu&szlig;weg &#x2f; x", "Fußweg / x"),
        ("a &lt;TD&gt; b", "a <TD> b"),
        ("ABDOMEN_PELVIS ", "ABDOMEN_PELVIS "),
        ("&nbsp;x", "\xa0x"),
        ("two&#xa;lines", "two\nlines"),
    ],
)
def test_in_html_a_cell_is_its_text(encoded: str, text: str) -> None:
    body = HTML.format(f"<TR><TH>A</TH></TR><TR><TD>{encoded}</TD></TR>")
    assert rows_in(body, "html", ("A",)) == [{"A": text}]


def test_in_html_a_lone_non_breaking_space_is_a_null() -> None:
    body = HTML.format(f"{HEAD}<TR><TD>&nbsp;</TD><TD>&nbsp;</TD><TD>\xa0</TD></TR>")
    assert rows_in(body, "html", THREE) == [{}]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (f"<P><TABLE BORDER=1>{HEAD}<TR><TD>A</TD>", "cut off"),
        (f"<P><TABLE BORDER=1>{HEAD}<TR><TD>A</TD><TD>1</TD><TD>x</TD></TR>", "cut off"),
        ("<html><body><h1>502 Bad Gateway</h1></body></html>", "no table"),
        ("Down for maintenance", "no table"),
        ("<TABLE></TABLE>", "no column names"),
        ("<TABLE><TD>x</TD></TABLE>", "no column names"),
        ("<TABLE></TD></TABLE>", "no column names"),
        (HTML.format(f"{HEAD}<TR><TD>A</TD></TR>"), "row 2 has 1 fields where 3 are named"),
    ],
)
def test_html_that_is_not_whole_says_why(body: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        rows_in(body, "html", THREE)
