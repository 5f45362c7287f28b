"""What the requests of an examination are about: a Collection, patients, and a small Series."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from tcia_assets.catalog import (
    COLLECTION_DESCRIPTIONS,
    COLLECTIONS,
    PATIENTS,
    SERIES,
    STUDIES,
    VALUE_TABLES,
)
from tcia_assets.doctor.steps import NotChecked, Once
from tcia_assets.sources import Connection, SampleReply, Source, SourceRows
from tcia_assets.spec import Table

# A patient has a few Series; a Collection may have tens of thousands.
_PATIENTS = 3
_MOST_SIZES = 8
_OF_A_COLLECTION = (*VALUE_TABLES, PATIENTS, COLLECTION_DESCRIPTIONS)
_UID = "SeriesInstanceUID"


class Subject:
    """The source, and what was found out about it; each fact once.

    Args:
        source: The source.
        preferred: Names of Collections that the mirror has or is to have, the first one preferred.
        folder: A temporary folder.
    """

    def __init__(self, source: Source, preferred: Sequence[str], folder: Path) -> None:
        self.source, self.preferred, self.folder = source, preferred, folder
        self.connection = Once[Connection]("a connection to the source", source.connect)
        self.listed = Once[SampleReply]("the list of Collections", lambda: self.sample(COLLECTIONS))
        self.collection = Once[str]("the name of a Collection", self._choose_collection)
        whole = {t: partial(self._of_collection, t) for t in _OF_A_COLLECTION}
        narrow = {t: partial(self._of_patients, t) for t in (STUDIES, SERIES)}
        self._samples = {
            table.name: Once[list[SampleReply]](f"rows of {table.name}", find)
            for table, find in (whole | narrow).items()
        }
        self.sizes = Once[SourceRows]("sizes of Series", self._request_sizes)

    def sample(self, table: Table, **filters: str) -> SampleReply:
        """Request a sample, if the source can be reached at all."""
        self.connection.need()
        return self.source.sample(table, **filters)

    def samples(self, table: Table) -> Once[list[SampleReply]]:
        """Return the samples of a table that has Collections; of studies and Series, by patient."""
        return self._samples[table.name]

    def series_rows(self) -> list[dict[str, Any]]:
        """Return the Series of the sampled patients, the smallest first as far as sizes are known.

        Raises:
            NotChecked: There is none.
        """
        rows = [row for each in self.samples(SERIES).need() for row in each.rows.table.to_pylist()]
        identified = [row for row in rows if row.get(_UID)]
        if not identified:
            raise NotChecked("not checked: that needs a Series")
        return sorted(identified, key=_listed_size)

    def smallest_series(self) -> dict[str, Any]:
        """Return SeriesInstanceUID, ImageCount and FileSize of the smallest of these Series."""
        rows = {row[_UID]: row for row in self.series_rows()}
        if not any(row.get("FileSize") for row in rows.values()):
            with suppress(NotChecked):
                for size in self.sizes.need().table.to_pylist():
                    rows[size[_UID]]["FileSize"] = size.get("TotalSizeInBytes")
        chosen = min(rows.values(), key=_listed_size)
        return {name: chosen.get(name) for name in (_UID, "ImageCount", "FileSize")}

    def _choose_collection(self) -> str:
        names = self.collection_names()
        if wanted := [name for name in self.preferred if not names or name in names]:
            return wanted[0]
        if not names:
            raise NotChecked("not checked: that needs the list of Collections")
        return names[0]

    def collection_names(self) -> list[str]:
        """Return the names that the source lists; none if its list cannot be had."""
        self.connection.need()
        with suppress(NotChecked):
            return values_of(self.listed.need(), "Collection")
        return []

    def _of_collection(self, table: Table) -> list[SampleReply]:
        return [self.sample(table, Collection=self.collection.need())]

    def _of_patients(self, table: Table) -> list[SampleReply]:
        collection = self.collection.need()
        with suppress(NotChecked):
            if patients := self._patient_ids()[:_PATIENTS]:
                return [
                    self.sample(table, Collection=collection, PatientID=each) for each in patients
                ]
        return [self.sample(table, Collection=collection)]

    def _patient_ids(self) -> list[str]:
        samples = self.samples(PATIENTS).need()
        return [name for each in samples for name in values_of(each, "PatientID")]

    def _request_sizes(self) -> SourceRows:
        uids = [row[_UID] for row in self.series_rows()[:_MOST_SIZES]]
        found = self.source.series_sizes(uids)
        if found.failure:
            raise found.failure
        return found


def values_of(sample: SampleReply, column: str) -> list[str]:
    """Return the values of a column, without nulls; none if no row has it."""
    table = sample.rows.table
    values = table[column].to_pylist() if column in table.column_names else []
    return [value for value in values if value]


def _listed_size(row: dict[str, Any]) -> tuple[float, float]:
    size, count = row.get("FileSize"), row.get("ImageCount")
    return size or float("inf"), count or float("inf")
