from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace

import pyarrow as pa
import pytest

from tcia_assets.catalog import PATIENTS, SERIES, TABLES, count, dialect, text
from tcia_assets.errors import UnknownName
from tcia_assets.spec import Check, Column, Endpoint, Kind, Parent, Table, ValueFormat

TABLE = Table(
    "things",
    "Thing",
    key=("Name",),
    columns=(text("Name", "Its name.", required=True), count("Number", "How many.")),
    endpoint="getThings",
    partitioned_by="Name",
)


def with_column(column: Column) -> Table:
    return replace(TABLE, columns=(TABLE.columns[0], column))


@pytest.mark.parametrize(
    "changed",
    [
        replace(TABLE, name="other"),
        replace(TABLE, key=("Number",)),
        replace(TABLE, partitioned_by=""),
        replace(TABLE, endpoint="getOthers"),
        replace(TABLE, columns=TABLE.columns[:1]),
        replace(TABLE, columns=TABLE.columns[::-1]),
        with_column(count("Total", "How many.")),
        with_column(text("Number", "How many.")),
        with_column(count("Number", "How many.", required=True)),
        with_column(count("Number", "How many.", wire_names=("No",))),
        with_column(Kind("count", pa.int32(), "a count")("Number", "How many.")),
    ],
    ids=repr,
)
def test_the_version_changes_with_what_is_stored(changed: Table) -> None:
    assert changed.version != TABLE.version


@pytest.mark.parametrize(
    "same",
    [
        replace(TABLE),
        replace(TABLE, grain="A thing"),
        replace(TABLE, parents=(Parent("others", ("Name",)),)),
        replace(TABLE, updates="Queried every night."),
        replace(TABLE, checks=(Check("named", "Each thing has a name.", "SELECT 1 WHERE false"),)),
        with_column(count("Number", "Their number.")),
    ],
    ids=repr,
)
def test_the_version_does_not_change_with_texts_and_parents(same: Table) -> None:
    assert same.version == TABLE.version


def test_versions_are_the_same_in_every_process() -> None:
    code = "from tcia_assets.catalog import TABLES; print(*(t.version for t in TABLES))"
    answers = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert answers == {(" ".join(t.version for t in TABLES) + "\n").encode()}


def test_each_table_has_a_distinct_version() -> None:
    assert len({t.version for t in TABLES}) == len(TABLES)


def test_the_schema_contains_the_grain_the_key_and_descriptions() -> None:
    schema = SERIES.schema
    assert schema.metadata[b"table"] == b"series"
    assert schema.metadata[b"grain"] == SERIES.grain.encode()
    assert schema.metadata[b"key"] == b"SeriesInstanceUID"
    field = schema.field("SeriesInstanceUID")
    assert field.metadata[b"dicom_tag"] == b"(0020,000E)"
    assert field.metadata[b"description"]
    assert not field.nullable
    assert b"dicom_tag" not in schema.field("Collection").metadata


def test_the_spellings_of_a_column_are_its_name_and_its_wire_names() -> None:
    assert PATIENTS.column("PatientID").spellings == ("PatientID", "PatientId")


def test_an_unknown_column_is_an_error_with_suggestions() -> None:
    with pytest.raises(UnknownName, match=r"column of patients.*'PatientID'"):
        PATIENTS.column("PatientId")


def test_an_unknown_endpoint_or_parameter_is_an_error_with_suggestions() -> None:
    spoken = dialect("nbia-v4")
    with pytest.raises(UnknownName, match=r"endpoint of dialect nbia-v4.*'getSeries'"):
        spoken.endpoint("getSeriess")
    with pytest.raises(UnknownName, match=r"parameter of getPatient.*'PatientID'"):
        spoken.endpoint("getPatient").parameter("PatientId")
    assert spoken.has("getSeries")
    assert not spoken.has("getSeriess")


def test_the_capabilities_of_a_dialect_follow_from_its_endpoints() -> None:
    spoken = dialect("nbia-v1")
    zips = [e for e in spoken.endpoints if e.returns == "zip"]
    assert replace(spoken, endpoints=tuple(zips[::-1])).zip_endpoints == spoken.zip_endpoints
    counted = tuple(replace(e, zip_proof="count") for e in zips if e.zip_proof)
    assert replace(spoken, endpoints=counted).zip_endpoints == tuple(e.name for e in counted)


def test_the_path_of_an_endpoint_is_its_name_by_default() -> None:
    assert Endpoint("getThings", "Things.").path == "getThings"
    assert Endpoint("getThings", "Things.", path="things").path == "things"


def test_a_column_has_the_value_format_of_its_dialect_or_its_own() -> None:
    wire = ValueFormat("%Y-%m-%d", "%Y-%m-%d %H:%M", decimals_in_text=True)
    endpoint = Endpoint("getThings", "Things.", date_formats=(("When", "%d.%m.%Y"),))
    assert endpoint.value_format("Then", wire) == wire
    assert endpoint.value_format("When", wire) == ValueFormat(
        "%d.%m.%Y", "%d.%m.%Y", decimals_in_text=True
    )


def test_a_declaration_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        TABLE.name = "other"  # type: ignore[misc]
