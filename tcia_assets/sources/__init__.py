"""The seam between the mirror and the remote servers that it copies.

A `Source` returns rows in the columns of our tables, MD5 hashes, and the zips of Series. Its
interface exposes no host, endpoint or wire format; an implementation uses neither Dagster nor the
data folder.

    nbia/      the REST API of the NBIA software, in five dialects
    idc/       the Imaging Data Commons: an index release, and public buckets
    folder/    a folder of DICOM files, as one Collection
    http/      HTTP for implementations
    answers    what a source answers with
    downloads  where a downloaded file goes
    pacing     timeouts and retries
    doi        DOIs in the forms in which sources write them
    names      the values of the column `source`
    html_text  plain text from the HTML that curators write
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from tcia_assets.settings import Settings
from tcia_assets.sources.answers import (
    ClinicalTable,
    Connection,
    Cost,
    ProbeResult,
    SampleReply,
    SourceRows,
    Strictness,
    UnreadableValues,
)
from tcia_assets.sources.downloads import FetchedFile, Target, counting
from tcia_assets.sources.pacing import Pacing
from tcia_assets.spec import Table

if TYPE_CHECKING:
    from tcia_assets.sources.folder.source import FolderSource

__all__ = [
    "ClinicalTable",
    "Connection",
    "Cost",
    "FetchedFile",
    "Pacing",
    "ProbeResult",
    "SampleReply",
    "Source",
    "SourceRows",
    "Strictness",
    "Target",
    "UnreadableValues",
    "counting",
    "open_folder",
    "open_image_sources",
    "open_source",
]


class Source(AbstractContextManager["Source"], Protocol):
    """A remote server that has what the mirror copies. Safe to share among threads.

    Every method that sends a request raises RemoteError or DataError if the source fails or its
    reply cannot be used, and Stopped once `stop` was called.
    """

    @property
    def settings(self) -> Settings:
        """The settings that the source was opened with."""

    @property
    def name(self) -> str:
        """The value of the column `source`: software, version and host, as `nbia-v4@HOST`."""

    @property
    def release(self) -> str:
        """The version of the release that all rows are from; "" for a server, which has none.

        A release is a complete list of everything: what it lacks is gone, and nothing changes while
        it stays the same. If the settings choose another scope, that is a part of the version, as
        in "25.0.5+all". It costs one small request at most.
        """

    @property
    def released_on(self) -> date | None:
        """The day of that release; None for a server, or if it is not known."""

    def gone_in(self, uids: Sequence[str]) -> Mapping[str, str]:
        """Return, for Series that only earlier releases had, the version that lacked each first.

        Empty for a server.
        """

    @property
    def connections(self) -> int:
        """The number of requests that may run at the same time now."""

    @property
    def hash_levels(self) -> tuple[str, ...]:
        """The columns that `md5_hash` accepts; empty if the source has no hashes."""

    @property
    def zip_routes(self) -> tuple[str, ...]:
        """The ways in which the source provides the zip of a Series, strongest proof first."""

    @property
    def md5_routes(self) -> tuple[str, ...]:
        """Those of `zip_routes` whose zips are to list the MD5s of their objects."""

    def of(self, collection: str) -> Source:
        """Return the source to ask about a Collection, and about its Series: this one, or a part.

        Callers that work on one Collection use it for everything but `rows` of a table without
        Collections and `changed_since`. It is stopped and closed with this one.
        """

    def rows(self, table: Table, key: str = "", *, known: str = "") -> SourceRows:
        """Get the rows of one partition.

        Args:
            table: A table that a source fills.
            key: The partition; "" for a table without partitions.
            known: The digest of earlier rows of the partition. If these are the same, in whatever
                order, they are not read: the result has `is_known`, its cost, and no rows.

        Raises:
            UnknownReply: The source returned no row where some were expected.
            ForeignRows: The source returned rows of other partitions.
        """

    def expects(self, rows: pa.Table) -> pa.ChunkedArray:
        """Return for each stored row of `series` whether a listing of this source should have it.

        If a listing lacks such a Series, it is missing. It says nothing about others: those that
        only a source of another family has listed, or a newer release, or a wider scope.

        Args:
            rows: Rows of `series` with any of its columns, `source` and DataDescriptionURI among
                them.
        """

    def series_sizes(self, uids: Sequence[str]) -> SourceRows:
        """Get object count and bytes of these Series: the rows of `series_sizes` by UID.

        A Series whose size the source does not have gets a row with its UID only. A failure ends
        the work early; it is in the result, with the rows that came before it.
        """

    def rows_of(self, table: Table, by: str, uids: Sequence[str]) -> SourceRows:
        """Get the rows of single Series or Studies, whose Collections need not be known.

        Args:
            table: `series` or `studies`.
            by: "SeriesInstanceUID" or "StudyInstanceUID".
            uids: The UIDs. One that the source does not have gets a row with nothing else.

        Returns:
            The rows. A failure ends the work early; it is in the result, with the rows that came
            before it.
        """

    def changed_since(self, day: date) -> SourceRows | None:
        """Get Series released on or after a day; None if the source offers no such request.

        An empty table means no changes.

        Raises:
            ForeignRows: A row was released earlier: the source read the day differently, so rows
                may be missing too.
        """

    def probe(
        self, collection: str, missing: pa.Table, listed: pa.Table, limit: int
    ) -> ProbeResult:
        """Check whether the source still has Series that its listing of a Collection lacks.

        Args:
            collection: The Collection of all these Series.
            missing: SeriesInstanceUID and StudyInstanceUID of the Series to check.
            listed: The same columns of the Series that the listing has.
            limit: The number of Series to check at most; they are chosen at random.
        """

    def md5_hash(self, **node: str) -> str:
        """Get the MD5 over the sorted MD5s of a Series' objects, as 32 lower-case hex digits.

        Args:
            node: What to hash, by columns of `hash_levels`. For a level above the Series, the hash
                is made from the hashes of the level below.

        Raises:
            UnknownReply: The source does not have it.
        """

    def fetch_zip(self, route: str, uid: str, target: Target) -> FetchedFile:
        """Download the zip of a Series; what it holds is not checked.

        Args:
            route: One of `zip_routes`.
            uid: SeriesInstanceUID.
            target: Where it goes.

        Raises:
            NotPublic: The source does not offer the images of this Series.
            TooLarge: The zip is longer than `max_bytes`.
        """

    def clinical_tables(self, collection: str) -> list[ClinicalTable]:
        """List the clinical tables of a Collection.

        Raises:
            UnknownReply: The source has no clinical tables at all.
        """

    def clinical_rows(self, name: str) -> pa.Table:
        """Get the rows of a clinical table, with its own columns.

        Raises:
            UnknownReply: The source does not have it.
        """

    def object_uids(self, uid: str) -> frozenset[str] | None:
        """Get the SOPInstanceUIDs of a Series; None if `fetch_object` is not offered either.

        Raises:
            UnreadableReply: An object has none.
        """

    def fetch_object(self, uid: str, sop_instance_uid: str, target: Target) -> FetchedFile:
        """Download one DICOM object of a Series."""

    def connect(self) -> Connection:
        """Send one small request, and describe the connection; any answer will do."""

    def sample(self, table: Table, **filters: str) -> SampleReply:
        """Get a few rows as `rows` does, and also how they are written. For small replies.

        Args:
            table: A table that a source fills.
            filters: Values by columns: the partition's, or also narrower ones such as PatientID.
        """

    def strictness(self) -> Strictness:
        """Find out whether the source refuses a filter that it does not know, or ignores it."""

    def waiting_until(self, deadline: float) -> AbstractContextManager[None]:
        """Let no retry wait beyond `deadline`, a time of `time.monotonic()`, in any thread."""

    def stop(self) -> None:
        """End all running requests, in any thread, with Stopped, and refuse new ones."""

    def close(self) -> None:
        """Release connections and temporary files."""


def open_source(settings: Settings, *, pacing: Pacing | None = None) -> Source:
    """Open the source that the settings name; a context manager that closes it.

    Args:
        settings: Which server, in which dialect, with how many connections.
        pacing: Timeouts and retries; the defaults suit the public servers.

    Returns:
        The source. Nothing is sent before its first method is called.
    """
    return _open(settings.source, settings, pacing)


def open_folder(settings: Settings, folder: Path, collection: str) -> FolderSource:
    """Open a folder of DICOM files as the source of one Collection.

    Args:
        settings: Where the data folder is, which is not read even if it is in the folder.
        folder: The folder.
        collection: The name of the Collection.

    Returns:
        The source, a context manager. Nothing is read before `scan`, or the first method that needs
        it.
    """
    from tcia_assets.sources.folder.source import FolderSource  # noqa: PLC0415 - as in `_open`

    return FolderSource(settings, folder, collection)


@contextmanager
def open_image_sources(
    source: Source, *, pacing: Pacing | None = None
) -> Iterator[tuple[Source, ...]]:
    """Open the sources of images that a source's settings name, in their order.

    Args:
        source: An open source, which is one of them if it is named; it stays open.
        pacing: As in `open_source`.
    """
    settings = source.settings
    with ExitStack() as stack:
        yield tuple(
            source
            if name == settings.source
            else stack.enter_context(_open(name, settings, pacing))
            for name in settings.image_source_names
        )


def _open(name: str, settings: Settings, pacing: Pacing | None) -> Source:
    # Imported here, so that commands that send no request do not load an HTTP library.
    if name == "idc":
        from tcia_assets.sources.idc.source import IdcSource  # noqa: PLC0415

        return IdcSource(settings, pacing=pacing)
    from tcia_assets.sources.nbia.source import NbiaSource  # noqa: PLC0415

    return NbiaSource(settings, pacing=pacing)
