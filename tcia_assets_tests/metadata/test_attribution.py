"""Whoever gets the images gets their licences and citations, as the archive told them."""

from __future__ import annotations

import json
import random
import re
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

import bibtexparser
import jsonschema
import pyarrow as pa
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tcia_assets.catalog import IMAGE_ARCHIVES, SERIES
from tcia_assets.errors import StorageError
from tcia_assets.metadata.attribution import attribution_table, render_files, write_collection, write_files
from tcia_assets.metadata.citations import POLICY, SCHEMA
from tcia_assets.store.conform import conform
from tcia_assets.store.warehouse import Warehouse

NAMES = ("LICENSES.md", "CITATION.cff", "CITATIONS.bib")
BY3 = "Creative Commons Attribution 3.0 Unported License"
BY3_URI = "http://creativecommons.org/licenses/by/3.0/"
NC4 = "CC BY-NC 4.0"
DOI = "10.7937/K9/TCIA.2017.3r3fvz08"
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def table(*rows: tuple[Any, ...]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], SCHEMA)


FULL = table(
    ("LCTSC", BY3, BY3_URI, f"https://doi.org/{DOI}", 1200, 5000),
    ("LCTSC", BY3, BY3_URI, f"https://doi.org/{DOI.lower()}", 2, 10),
    ("LCTSC", NC4, None, "https://doi.org/10.7937/abc", 1, 10),
    ("4D-Lung", None, None, "https://wiki.example.org/x", 3, 10),
    ("4D-Lung", BY3, "see the wiki", None, 4, 10),
)


# --- Reading what was written ---------------------------------------------------------------------


def card(text: str) -> dict[str, Any]:
    """A CITATION.cff that keeps its schema."""
    place = resources.files("check_jsonschema.builtin_schemas.vendor")
    schema = json.loads((place / "citation-file-format.json").read_text(encoding="utf-8"))
    read = yaml.safe_load(text)
    jsonschema.validate(read, schema, format_checker=jsonschema.FormatChecker())
    assert isinstance(read, dict)
    return read


def entries(text: str) -> dict[str, dict[str, str]]:
    """The entries of a BibTeX file by key, their fields as LaTeX shows them."""
    library = bibtexparser.parse_string(text)
    assert library.failed_blocks == []
    return {
        entry.key: {
            field.key: field.value
            if field.key in {"doi", "url"}
            else shown(re.sub(r"^\{(.* \(The .*|The .*)\}$", r"\1", field.value))
            for field in entry.fields
        }
        for entry in library.entries
    }


SIGNS = {"braceleft": "{", "braceright": "}", "backslash": "\\", "asciicircum": "^"}
SIGNS["asciitilde"] = "~"


def shown(tex: str) -> str:
    """What LaTeX shows of a text; it may hold nothing that means more to LaTeX than a sign."""
    parts = re.findall(r"\{\\text([a-z]+)\}|\\([&%$#_])|\{(@)\}|([^\\{}^~&%$#_@])|(.)", tex)
    assert not [part for part in parts if part[4]], tex
    return "".join(SIGNS[name] if name else sign + at + plain for name, sign, at, plain, _ in parts)


def cells(text: str) -> list[list[str]]:
    """The cells of the one table of a Markdown file, as a browser shows them."""
    tokens = MarkdownIt("commonmark").enable("table").enable("strikethrough").parse(text)
    assert not [token for token in tokens if token.type.startswith("html")]
    rows: list[list[str]] = []
    for place, token in enumerate(tokens):
        if token.type == "tr_open":
            rows.append([])
        elif token.type in {"th_open", "td_open"}:
            parts = tokens[place + 1].children or []
            assert not [part for part in parts if part.type in {"html_inline", "image"}]
            rows[-1].append("".join(part.content for part in parts))
    return rows[1:]


def links(text: str) -> list[str]:
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    parts = [part for token in tokens for part in token.children or []]
    return [str(part.attrs["href"]) for part in parts if part.type == "link_open"]


# --- What stands in the files ---------------------------------------------------------------------


def test_each_licence_and_doi_is_told_with_its_series() -> None:
    text = render_files("Images of two", FULL)["LICENSES.md"]
    assert text.startswith("# Licences: Images of two\n\n1,210 Series, 5,040 bytes as zips, from [")
    assert cells(text) == [
        ["4D-Lung", f"{BY3} (see the wiki)", "not stated", "4", "10"],
        ["4D-Lung", "not stated", "https://wiki.example.org/x", "3", "10"],
        ["LCTSC", NC4, "10.7937/abc", "1", "10"],
        ["LCTSC", BY3, DOI, "1,200", "5,000"],
        ["LCTSC", BY3, DOI.lower(), "2", "10"],
    ]
    assert links(text) == [
        "https://www.cancerimagingarchive.net",
        "https://wiki.example.org/x",
        "https://doi.org/10.7937/abc",
        BY3_URI,
        f"https://doi.org/{DOI}",
        BY3_URI,
        f"https://doi.org/{DOI.lower()}",
        POLICY,
    ]


def test_what_the_archive_does_not_tell_is_said() -> None:
    made = render_files("Images of two", FULL)
    assert "states no licence for 3 Series: ask the archive" in made["LICENSES.md"]
    assert "states no DOI for 4 Series: name" in made["LICENSES.md"]
    abstract = card(made["CITATION.cff"])["abstract"]
    assert "; no licence stated for 3 Series; no DOI stated for 4 Series." in abstract
    assert "% It states no licence for 3 Series.\n% It states no DOI for 4" in made["CITATIONS.bib"]
    whole = render_files("x", FULL.filter(pa.compute.equal(FULL["LicenseName"], NC4)))
    assert not [text for text in whole.values() if "no licence" in text or "no DOI" in text]


def test_a_citation_file_names_each_doi_once() -> None:
    read = card(render_files("Images of two", FULL)["CITATION.cff"])
    assert (read["type"], read["title"]) == ("dataset", "Images of two")
    assert read["authors"][0]["name"] == "The Cancer Imaging Archive"
    assert POLICY in read["message"]
    assert "license" not in read
    by_url = {each["url"]: each for each in read["references"]}
    assert list(by_url) == [
        "https://doi.org/10.7937/abc",
        f"https://doi.org/{DOI}",
        "https://wiki.example.org/x",
    ]
    merged = by_url[f"https://doi.org/{DOI}"]
    assert (merged["doi"], merged["license"]) == (DOI, "CC-BY-3.0")
    assert merged["title"] == "LCTSC (The Cancer Imaging Archive)"
    assert merged["notes"].startswith(f"1,202 Series; licence: {BY3}. ")
    assert "lists no authors" in merged["notes"]
    other = by_url["https://wiki.example.org/x"]
    assert not {"doi", "license"} & other.keys()
    assert "licence: not stated for 3 Series." in other["notes"]
    assert [each["type"] for each in read["identifiers"]] == ["doi", "doi", "url"]


def test_one_licence_of_all_is_the_licence_of_the_file() -> None:
    one = table(("LCTSC", BY3, BY3_URI, f"https://doi.org/{DOI}", 2, 10))
    assert card(render_files("t", one)["CITATION.cff"])["license"] == "CC-BY-3.0"
    partly = pa.concat_tables([one, table(("LCTSC", None, None, f"https://doi.org/{DOI}", 2, 10))])
    read = card(render_files("t", partly)["CITATION.cff"])
    assert "license" not in read and "license" not in read["references"][0]


def test_nothing_to_cite_is_a_citation_file_without_references() -> None:
    made = render_files("t", table(("LCTSC", None, None, None, 2, 10)))
    assert "references" not in card(made["CITATION.cff"])
    assert entries(made["CITATIONS.bib"]) == {}


def test_a_bibliography_names_each_doi_once() -> None:
    read = entries(render_files("Images of two", FULL)["CITATIONS.bib"])
    assert list(read) == [
        "tcia-10-7937-abc",
        "tcia-10-7937-K9-TCIA-2017-3r3fvz08",
        "tcia-https-wiki-example-org-x",
    ]
    assert read["tcia-10-7937-K9-TCIA-2017-3r3fvz08"] == {
        "title": "LCTSC (The Cancer Imaging Archive)",
        "author": "The Cancer Imaging Archive",
        "publisher": "The Cancer Imaging Archive",
        "note": f"1,202 Series; licence: {BY3}.",
        "doi": DOI,
        "url": f"https://doi.org/{DOI}",
    }


def test_keys_that_would_be_equal_are_told_apart() -> None:
    dois = ["10.7937/a-b", "10.7937/a.b", "10.7937/A(b"]
    rows = [("LCTSC", BY3, BY3_URI, f"https://doi.org/{doi}", 1, 1) for doi in dois]
    read = entries(render_files("t", table(*rows))["CITATIONS.bib"])
    assert [entry["doi"] for entry in read.values()] == sorted(dois, key=str.lower)
    assert len({key.lower() for key in read}) == 3


@pytest.mark.parametrize(
    ("told", "kind", "value"),
    [
        ("https://doi.org/10.7937/abc", "doi", "10.7937/abc"),
        ("HTTP://dx.doi.org/10.7937/abc", "doi", "10.7937/abc"),
        ("doi.org/10.7937/abc", "doi", "10.7937/abc"),
        ("doi:10.7937/abc", "doi", "10.7937/abc"),
        ("10.1000.10/a[1]\\b_c", "doi", "10.1000.10/a[1]\\b_c"),
        ("https://doi.org/10.7937/a b", "other", "https://doi.org/10.7937/a b"),
        ("https://doi.org/", "url", "https://doi.org/"),
        ("https://x.org/10.7937/abc", "url", "https://x.org/10.7937/abc"),
        ("javascript:alert(1)", "other", "javascript:alert(1)"),
        ("https://x.org/}\\input{/etc/passwd}", "other", "https://x.org/}\\input{/etc/passwd}"),
    ],
)
def test_what_is_no_doi_stays_what_it_is(told: str, kind: str, value: str) -> None:
    made = render_files("t", table(("LCTSC", BY3, BY3_URI, told, 1, 1)))
    [identifier] = card(made["CITATION.cff"])["identifiers"]
    assert (identifier["type"], identifier["value"]) == (kind, value)
    [entry] = entries(made["CITATIONS.bib"]).values()
    assert ("url" in entry) == (kind != "other")
    if kind == "other":
        assert entry["note"].startswith(f"{value}. 1 Series")
    assert cells(made["LICENSES.md"])[0][2] == value


# --- What the network sent ------------------------------------------------------------------------

HOSTILE = st.text(
    st.sampled_from(list("\\{}[]()<>|`*_~$#%&^\"'@!:;,.=-+?/\n\r\t \0\u2028\u202eéa1")),
    max_size=30,
) | st.text(max_size=20)
UNFIT = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
NASTY = [
    "a\n@misc{evil, title={x}}",
    "}\\end{document}",
    "<script>alert(1)</script>",
    "a | b \\| c",
    "[x](javascript:alert(1))",
    "![x](http://e.org/p.png)",
    "k: v\n- evil: true",
    "&lt;b&gt; &amp;",
    "www.evil.org https://evil.org a@evil.org",
    "~~a~~ `b` *c* __d__",
    "100% {sure} \\",
]


def cleaned(text: str) -> str:
    """What is left of a text where one line of visible characters is all that fits."""
    return " ".join(
        "".join(c if unicodedata.category(c) not in UNFIT else " " for c in text).split()
    )


@settings(deadline=None)
@given(st.sampled_from(NASTY) | HOSTILE, st.sampled_from(NASTY) | HOSTILE)
def test_what_the_archive_sent_stays_text(licence: str, told: str) -> None:
    made = render_files(
        "t\ud800" + licence, table(("c" + licence, "l" + licence, told, "d" + told, 1, 2))
    )
    for text in made.values():
        assert text.encode().decode() == text
    name, source = cleaned("l" + licence), cleaned("d" + told)
    assert card(made["CITATION.cff"])["title"] == cleaned("t " + licence)
    both = f"{name} ({cleaned(told)})" if cleaned(told) else name
    assert cells(made["LICENSES.md"]) == [[cleaned("c" + licence), both, source, "1", "2"]]
    read = card(made["CITATION.cff"])
    assert read["references"][0]["notes"].startswith(f"1 Series; licence: {name}. ")
    assert read["identifiers"] == [
        {"type": "other", "value": source, "description": f"Data of {cleaned('c' + licence)}"}
    ]
    [entry] = entries(made["CITATIONS.bib"]).values()
    assert entry["note"] == f"{source}. 1 Series; licence: {name}."


@settings(deadline=None)
@given(
    HOSTILE.map(lambda text: "https://doi.org/10.7937/" + text)
    | HOSTILE.map("https://x.org/".__add__)
)
def test_an_address_is_a_link_only_where_it_is_plain(told: str) -> None:
    made = render_files("t", table(("c", "l", told, told, 1, 2)))
    card(made["CITATION.cff"])
    [entry] = entries(made["CITATIONS.bib"]).values()
    for link in {*links(made["LICENSES.md"]), entry.get("url", "")}:
        assert not set(link) & set(" \n<>{}\\\"'`|[]^")
    assert made["CITATIONS.bib"].count("{") == made["CITATIONS.bib"].count("}")


# --- From the warehouse, to the disk --------------------------------------------------------------


def stored(warehouse: Warehouse, collection: str, rows: list[dict[str, Any]]) -> None:
    """Series and their manifest; a row without `path` has no zip."""
    life = {"first_seen_at": NOW, "changed_at": NOW, "missing_snapshots": 0}
    listed = [row | life for row in rows if not row.get("gone")]
    for each, chosen in (
        (SERIES, listed),
        (IMAGE_ARCHIVES, [row | {"status": "complete"} for row in rows]),
    ):
        given = [{k: v for k, v in row.items() if k in each.column_names} for row in chosen]
        full = [
            dict.fromkeys(each.column_names) | row | {"Collection": collection} for row in given
        ]
        warehouse.write(each, conform(each, pa.Table.from_pylist(full, each.schema)), collection)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    warehouse = Warehouse(tmp_path)
    by = {"LicenseName": BY3, "LicenseURI": BY3_URI, "DataDescriptionURI": f"https://doi.org/{DOI}"}
    rows = [
        {"SeriesInstanceUID": "1.1", "path": "a", "archive_bytes": 10, **by},
        {"SeriesInstanceUID": "1.2", "path": "b", "archive_bytes": 20, **by},
        {"SeriesInstanceUID": "1.3", "path": "c", "archive_bytes": 5, "license_name": BY3},
        {"SeriesInstanceUID": "1.4", **by, "LicenseName": NC4},
        {"SeriesInstanceUID": "1.5", "path": "d", "license_name": NC4, "gone": True},
    ]
    stored(warehouse, "CT Lymph Nodes", rows)
    stored(warehouse, "4711", [{"SeriesInstanceUID": "2.1", "path": "e", "archive_bytes": 1, **by}])
    return warehouse


def test_the_table_tells_what_is_on_disk_as_the_archive_tells_it_now(warehouse: Warehouse) -> None:
    doi = f"https://doi.org/{DOI}"
    rows = attribution_table(warehouse, "CT Lymph Nodes")
    assert rows.schema == SCHEMA
    assert sorted(rows.to_pylist(), key=str) == sorted(
        table(
            ("CT Lymph Nodes", BY3, BY3_URI, doi, 2, 30),
            ("CT Lymph Nodes", None, None, None, 1, 5),
            ("CT Lymph Nodes", NC4, None, None, 1, 0),
        ).to_pylist(),
        key=str,
    )
    assert attribution_table(warehouse)["Collection"].unique().to_pylist() == [
        "4711",
        "CT Lymph Nodes",
    ]
    assert attribution_table(warehouse, "x' OR true --").num_rows == 0


def written(folder: Path) -> list[tuple[int, int]]:
    """Which files there are and since when; reading them changes only when they were read."""
    return [((folder / name).stat().st_ino, (folder / name).stat().st_mtime_ns) for name in NAMES]


def test_the_files_lie_next_to_the_zips_and_stay_until_something_changes(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    folder = tmp_path / "archives" / "CT%20Lymph%20Nodes"
    assert write_collection("CT Lymph Nodes", warehouse)
    assert sorted(path.name for path in folder.iterdir()) == sorted(NAMES)
    assert cells((folder / "LICENSES.md").read_text())[0][0] == "CT Lymph Nodes"
    before = written(folder)
    assert not write_collection("CT Lymph Nodes", warehouse)
    assert written(folder) == before

    stored(warehouse, "CT Lymph Nodes", [{"SeriesInstanceUID": "1.1", "path": "a"}])
    assert write_collection("CT Lymph Nodes", warehouse)
    assert "no licence for 1 Series" in (folder / "LICENSES.md").read_text()


def test_one_lost_file_is_written_again(warehouse: Warehouse, tmp_path: Path) -> None:
    assert write_collection("4711", warehouse)
    for name in NAMES:
        path = tmp_path / "archives" / "4711" / name
        content = path.read_bytes()
        path.unlink()
        assert write_collection("4711", warehouse)
        assert path.read_bytes() == content


def test_no_images_no_files(warehouse: Warehouse, tmp_path: Path) -> None:
    assert not write_collection("unknown", warehouse)
    assert write_collection("4711", warehouse)
    (tmp_path / "archives" / "4711" / "e.zip").write_bytes(b"zip")
    stored(warehouse, "4711", [{"SeriesInstanceUID": "2.1"}])
    assert write_collection("4711", warehouse)
    assert [path.name for path in (tmp_path / "archives" / "4711").iterdir()] == ["e.zip"]
    assert not write_collection("4711", warehouse)


def test_equal_tables_in_any_order_are_equal_bytes(tmp_path: Path) -> None:
    rows = FULL.to_pylist()
    assert write_files(tmp_path, "t", FULL)
    for _ in range(5):
        random.shuffle(rows)
        assert not write_files(tmp_path, "t", pa.Table.from_pylist(rows, SCHEMA))


def test_a_disk_that_refuses_is_told_with_the_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"file/LICENSES\.md cannot be written"):
        write_files(tmp_path / "file", "t", FULL)
    (tmp_path / "CITATION.cff").mkdir()
    with pytest.raises(StorageError, match=r"CITATION\.cff cannot be"):
        write_files(tmp_path, "t", FULL)
    with pytest.raises(StorageError, match=r"CITATION\.cff cannot be removed"):
        write_files(tmp_path, "t", FULL.slice(0, 0))


def test_runs_that_write_at_once_leave_what_the_last_of_them_knows(warehouse: Warehouse) -> None:
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(write_collection, "4711", warehouse) for _ in range(8)]:
            done.result()
        with warehouse.lock(IMAGE_ARCHIVES, "4711"):
            assert not pool.submit(write_collection, "4711", warehouse).result(timeout=60)
    assert [path.name for path in (warehouse.root / "archives" / "4711").glob(".*")] == []
