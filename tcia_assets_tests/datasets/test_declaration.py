"""A declaration is checked before anything runs; errors name line, key and what is valid."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tcia_assets.datasets.declaration import Declaration, load_declaration, parse_declaration
from tcia_assets.datasets.quality import DEFAULT_POLICIES, DROP, KEEP, POLICIES, SAMPLE_CODES
from tcia_assets.errors import BadDeclaration
from tcia_assets_tests.datasets.example_texts import LEAST, TARGET
from tcia_assets_tests.examples import examples
from tcia_assets_tests.repository import ROOT

EXAMPLES = ROOT / "datasets"


def target_with(key: str) -> str:
    return TARGET.replace("}}", f"}}, {key}}}")


def made(text: str = LEAST) -> Declaration:
    return parse_declaration(text, "lungs")


def refused(text: str) -> BadDeclaration:
    with pytest.raises(BadDeclaration) as caught:
        made(text)
    assert str(caught.value).startswith(f"lungs.yaml, line {caught.value.line}")
    return caught.value


def with_part(text: str) -> str:
    return LEAST + text


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda p: p.name)
def test_the_shipped_examples_are_valid(path: Path) -> None:
    declared = load_declaration(path)
    assert declared.name == path.stem
    assert json.loads(json.dumps(declared.settings)) == declared.settings


def test_a_missing_key_has_its_default() -> None:
    declared = made()
    assert declared.target is None
    assert declared.formats == ("nifti",)
    assert declared.volume.spacing is declared.volume.orientation is None
    shares = [("train", Fraction(4, 5)), ("test", Fraction(1, 5))]
    assert list(declared.split.fractions.items()) == shares
    assert {code: declared.policy(code) for code in SAMPLE_CODES} == DEFAULT_POLICIES
    assert declared.policy("gantry_tilt") == KEEP
    assert declared.policy("missing_slice") == DROP


def test_all_keys_are_read() -> None:
    declared = made(
        """\
title: "0123"
cohort: {sql: "SELECT SeriesInstanceUID FROM current_series -- all\\n;"}
target:
  kind: SEG
  labels: {tumour: "(?i)gtv.*", organ: .*}
  priority: organ
  where: ThirdPartyAnalysis = 'YES'
  ways: [series, sop]
split:
  fractions: {train: 1/3, val: 1/3, test: 1/3}
  salt: 1
  stratify: [Manufacturer]
  folds: 5
  holdout: {part: external, column: Site, values: [NO, 007]}
  patients: Collection/PatientID
  same_patient: {one: [A/1, B/2]}
volume:
  {spacing: [1, 1, 2.5], orientation: LPS, dtype: uint8, window: [-1000, 400], choose: {b: 0}}
licenses: {deny: NC}
formats: [nifti, nnunet]
qc: {missing_slice: fail, zero_variance: keep}
"""
    )
    assert declared.title == "0123"
    assert declared.target is not None
    assert declared.target.patterns.label_of("GTV-1") == 1
    assert declared.target.patterns.ranks == (1, 0)
    assert declared.split.holdout is not None
    assert declared.split.holdout.values == ("NO", "007")
    assert declared.volume.window == (-1000.0, 400.0)
    assert declared.volume.spacing == (1.0, 1.0, 2.5)
    assert declared.licenses is not None
    assert declared.licenses.deny == ("NC",)
    assert declared.policy("missing_slice") == "fail"
    assert declared == made(yaml.safe_dump(declared_as_written(), sort_keys=False))


def declared_as_written() -> dict[str, object]:
    """Return the same declaration, with other spellings of its values."""
    return {
        "title": "0123",
        "qc": {"zero_variance": "keep", "missing_slice": "fail"},
        "cohort": {"sql": "SELECT SeriesInstanceUID FROM current_series -- all"},
        "target": {
            "kind": "SEG",
            "labels": {"tumour": "(?i)gtv.*", "organ": ".*"},
            "priority": ["organ"],
            "where": "ThirdPartyAnalysis = 'YES'",
            "ways": ["series", "sop"],
        },
        "split": {
            "fractions": {"train": "1/3", "val": "1/3", "test": "1/3"},
            "salt": "1",
            "stratify": "Manufacturer",
            "folds": 5,
            "holdout": {"part": "external", "column": "Site", "values": ["NO", "007"]},
            "patients": "Collection/PatientID",
            "same_patient": {"one": ["A/1", "B/2"]},
        },
        "volume": {
            "spacing": [1, 1, 2.5],
            "orientation": "LPS",
            "dtype": "uint8",
            "window": [-1000, 400],
            "choose": {"b": "0.0"},
        },
        "licenses": {"deny": ["NC"]},
        "formats": ["nifti", "nnunet"],
    }


@pytest.mark.parametrize(
    ("text", "line", "key", "said"),
    [
        ("", 1, "", "the file is empty"),
        ("- a\n", 1, "", "a list is not a group of keys"),
        ("title: [\n", 2, "", "the file is not YAML"),
        ("title: a\ntitle: b\n", 2, "title", "twice, first in line 1"),
        ("title: Lungs\ncohort: {collections: A}\n", 1, "", "the key 'split' is missing"),
        (with_part("spilt: 1\n"), 6, "spilt", "did you mean 'split'?"),
        (with_part("formats: [nifty]\n"), 6, "formats", "did you mean 'nifti'?"),
        (with_part("formats:\n- nifti\n- hdf5\n"), 8, "formats", "valid: 'nifti', 'nnunet'"),
        (with_part("formats: []\n"), 6, "formats", "with at least one"),
        (
            with_part(target_with("between: all")),
            6,
            "target.between",
            "valid: 'nothing', 'nearest'",
        ),
        (with_part(target_with("readers: best")), 6, "target.readers", "'best' is not a choice"),
        (with_part("qc:\n  missing_slices: drop\n"), 7, "qc.missing_slices", "'missing_slice'"),
        (
            with_part("qc:\n  missing_slice: skip\n"),
            7,
            "qc.missing_slice",
            "'drop', 'keep', 'fail'",
        ),
        (with_part("qc: {no_slices: keep}\n"), 6, "qc.no_slices", "nothing to keep"),
        (with_part("licenses: {}\n"), 6, "licenses", "'deny' or 'allow'"),
        (with_part("licenses:\n  deny: ['']\n"), 7, "licenses.deny", "'' is not a name"),
        (with_part("volume: {dtype: int8}\n"), 6, "volume.dtype", "valid: 'native', 'int16'"),
        (with_part("volume: {dtype: uint8}\n"), 6, "volume.dtype", "needs a window"),
        (with_part("volume:\n  spacing: [1, 1]\n"), 7, "volume.spacing", "three lengths in mm"),
        (with_part("volume:\n  spacing: [1, 0, 1]\n"), 7, "volume.spacing", "[1, 0, 1] is not"),
        (
            with_part("volume:\n  window: [400, -1000]\n"),
            7,
            "volume.window",
            "a lower and an upper",
        ),
        (
            with_part("volume:\n  choose: biggest\n"),
            7,
            "volume.choose",
            "'largest', 'all'; did you",
        ),
        (with_part("volume:\n  choose:\n    c: 0\n"), 8, "volume.choose.c", "no key 'c'"),
        (with_part("volume:\n  choose:\n    time: 0\n"), 8, "volume.choose.time", "from 1"),
        (with_part("volume:\n  choose:\n    b: x\n"), 8, "volume.choose.b", "not a number"),
        (with_part("volume:\n  least_slices: 2.5\n"), 7, "volume.least_slices", "whole number"),
        (with_part("target: {kind: SEG}\n"), 6, "target", "the key 'labels' is missing"),
        (
            with_part("target: {kind: RTSS, labels: {a: b}}\n"),
            6,
            "target.kind",
            "valid: 'SEG', 'RTSTRUCT'",
        ),
        (
            with_part("target:\n  kind: SEG\n  labels:\n    a: '('\n"),
            9,
            "target.labels.a",
            "is not a regular expression",
        ),
        (
            with_part("target:\n  kind: SEG\n  labels:\n    a: '[[a]'\n"),
            9,
            "target.labels.a",
            "Possible nested set",
        ),
        (
            with_part("target:\n  kind: SEG\n  labels:\n    Background: a\n"),
            9,
            "target.labels.Background",
            "the voxels without a label",
        ),
        (
            with_part("target:\n  kind: SEG\n  labels: {a: b}\n  priority: [c]\n"),
            9,
            "target.priority",
            "valid: 'a'",
        ),
        (LEAST.replace("0.2", "0.3"), 5, "split.fractions", "add up to 1.1, not 1"),
        (
            LEAST.replace("{train: 0.8, test: 0.2}", "[0.8, 0.2]"),
            5,
            "split.fractions",
            "such as {train: 0.8, te",
        ),
        (LEAST.replace("0.2", "x"), 5, "split.fractions.test", "'x' is not a share"),
        (LEAST + "  folds: 1\n", 6, "split.folds", "a whole number from 2 to 100"),
        (LEAST + "  stratify: [Maker]\n", 6, "split.stratify", "valid: 'Collection'"),
        (LEAST + "  holdout: {part: a}\n", 6, "split.holdout", "the key 'column' is missing"),
        (
            LEAST + "  same_patient: {a: [X], b: [X]}\n",
            6,
            "split.same_patient",
            "under 'a' and under 'b'",
        ),
        (LEAST.replace("[LCTSC]", "*all"), 3, "", "the alias *all"),
        (
            LEAST.replace("collections: [LCTSC]", "colections: [LCTSC]"),
            3,
            "cohort.colections",
            "did you mean 'collections'",
        ),
        (
            LEAST.replace("collections: [LCTSC]", "series: [x]"),
            3,
            "cohort.series",
            "it must be a list of UIDs",
        ),
        (
            LEAST.replace("collections: [LCTSC]", "max_series_bytes: 3"),
            2,
            "cohort",
            "it needs 'sql', or one of collections",
        ),
        (
            LEAST.replace("collections: [LCTSC]", "sql: SELECT 1\n  where: 'true'"),
            4,
            "cohort.where",
            "the whole query",
        ),
        (
            LEAST.replace("[LCTSC]", "[]\n  modalities: [CT]"),
            3,
            "cohort.collections",
            "a list of names with at least one",
        ),
        (LEAST.replace("[LCTSC]", "['']"), 3, "cohort.collections", "'' is not a name"),
        (
            LEAST.replace("collections: [LCTSC]", "sql: SELEC 1"),
            3,
            "cohort.sql",
            'syntax error at or near "SELEC"',
        ),
        (
            LEAST.replace("collections: [LCTSC]", "sql: DROP VIEW series"),
            3,
            "cohort.sql",
            "one SELECT: it is a DROP",
        ),
        (
            LEAST.replace("collections: [LCTSC]", "sql: FROM read_csv('/x.csv')"),
            3,
            "cohort.sql",
            "it calls read_csv",
        ),
        (
            LEAST.replace("collections: [LCTSC]", "where: EXISTS (FROM '/x.csv')"),
            3,
            "cohort.where",
            "it reads '/x.csv', which is no table",
        ),
        (
            LEAST.replace("collections: [LCTSC]", "manifests: [no.tcia]"),
            3,
            "cohort.manifests",
            "cannot be read",
        ),
    ],
)
def test_an_error_names_line_key_and_what_is_valid(
    text: str, line: int, key: str, said: str
) -> None:
    error = refused(text)
    assert (error.line, error.key) == (line, key)
    assert said in error.problem


def test_a_dataset_is_named_as_its_file(tmp_path: Path) -> None:
    (tmp_path / "lungs.yaml").write_text(LEAST)
    (tmp_path / "broken.yaml").write_text("title: [")
    (tmp_path / "Not-a-name.yaml").write_text(LEAST)
    (tmp_path / "latin.yaml").write_bytes(b"title: a\nx: \xe9\n")
    assert load_declaration(tmp_path / "lungs.yaml").name == "lungs"
    for name, line in (("Not-a-name", 1), ("broken", 1), ("latin", 2)):
        with pytest.raises(BadDeclaration) as caught:
            load_declaration(tmp_path / f"{name}.yaml")
        assert Path(caught.value.file).name == f"{name}.yaml"
        assert caught.value.line == line


def test_a_series_list_is_relative_to_the_declaration(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("SeriesInstanceUID\n1.2.3\n")
    (tmp_path / "lungs.yaml").write_text(
        LEAST.replace("collections: [LCTSC]", "manifests: list.csv")
    )
    assert load_declaration(tmp_path / "lungs.yaml").settings["cohort"] == {
        "manifests": ["list.csv"]
    }


def test_aliases_and_deep_nesting_are_refused() -> None:
    bomb = "a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]\n"
    assert "write its value out" in refused(bomb).problem
    assert "nested more than" in refused("title: " + "[" * 50 + "]" * 50).problem


@settings(max_examples=examples(200), deadline=None)
@given(text=st.text(max_size=200))
def test_any_text_gives_an_error_with_its_line(text: str) -> None:
    error = refused(text)
    assert error.line >= 1
    assert str(error).isprintable()


@settings(max_examples=examples(200), deadline=None)
@given(data=st.data())
def test_a_damaged_declaration_is_valid_or_an_error(data: st.DataObject) -> None:
    text = (EXAMPLES / "lung_ct.yaml").read_text()
    at = data.draw(st.integers(0, len(text)))
    cut = data.draw(st.integers(0, 20))
    put = data.draw(st.text(alphabet="[]{}:,-&*!|>'\"%@ \n\tab0.", max_size=6))
    try:
        declared = parse_declaration(text[:at] + put + text[at + cut :], "lungs")
    except BadDeclaration as error:
        told = error
    else:
        assert {declared.policy(code) for code in SAMPLE_CODES} <= set(POLICIES)
        return
    assert 1 <= told.line <= text.count("\n") + put.count("\n") + 2
