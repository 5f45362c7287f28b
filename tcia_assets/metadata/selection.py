"""A selection of Series whose images are wanted, and the SQL that it means.

How a selection is read from YAML, JSON or fields is in `selection_parser.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from tcia_assets.catalog import ACQUISITION_COLUMNS, ACQUISITION_VIEW, SERIES
from tcia_assets.errors import UnknownName, UsageError
from tcia_assets.metadata.licenses import UNLICENSED, Licenses
from tcia_assets.metadata.quiet_hours import QuietHours
from tcia_assets.metadata.series_lists import is_idc, read_series_list, read_version_list
from tcia_assets.store import sql

CRITERIA = (
    "collections",
    "modalities",
    "body_parts",
    "where",
    "manifests",
    "series",
    "shared_lists",
)

_LIMITS_PER_RUN = ("max_bytes_per_run", "max_series_per_run", "max_minutes_per_run")

_UID = "SeriesInstanceUID"
# The name in the SQL of the table with the Series of `manifests` and `series`.
_SELECTED = "selected_series"
# The same of the table with the versions that manifests of the IDC name.
_VERSIONS, _VERSION = "selected_versions", "crdc_series_uuid"
_WORD, _TEXT = re.compile(r"\w+"), re.compile(r"'[^']*'")
_ACQUISITION_ONLY = {column.name for column in ACQUISITION_COLUMNS}.difference(SERIES.column_names)
_NUMBER = re.compile(r"[-+]?[0-9.]+(e[-+]?[0-9]+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Selection:
    """Series whose images are wanted: those that meet all criteria that are given.

    At least one criterion is needed, so that 30 TB are not mirrored by accident; `where: "true"`
    selects everything. A run fetches at most `max_bytes_per_run` bytes and `max_series_per_run`
    Series, starts none after `max_minutes_per_run` minutes, and leaves the rest to the next run.

    Args:
        collections: Names of Collections.
        modalities: Values of Modality.
        body_parts: Values of BodyPartExamined.
        where: One SQL condition over the view `current_series`.
        manifests: Paths of series lists: files of the NBIA Data Retriever, CSV or TSV with a
            column SeriesInstanceUID, or manifests of the IDC (.s5cmd). A Series must be in one of
            these, in `series`, or on one of the `shared_lists`, if any are given.
        series: SeriesInstanceUIDs.
        shared_lists: Names of shared lists that are in the warehouse.
        licenses: Licences that are refused, or the only ones that are accepted.
        max_series_bytes: Leave out larger Series, and those whose size is not known.
        max_bytes_per_run: Bytes that a run fetches, at most; the rest is left to the next run.
        max_series_per_run: Series that a run fetches, at most; no limit by default.
        max_minutes_per_run: Minutes after which a run starts no more Series; no limit by default.
        quiet_hours: Hours of each day in which no run fetches images; one that is under way when
            they begin starts no more Series.
        shards: How many runs the sensor and the schedule start at the same time for a Collection,
            each with limits of its own. A run started by a person is always one.

    Raises:
        UsageError: No criterion is given, or a value is not valid.
    """

    collections: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    body_parts: tuple[str, ...] = ()
    where: str = ""
    manifests: tuple[str, ...] = ()
    series: tuple[str, ...] = ()
    shared_lists: tuple[str, ...] = ()
    licenses: Licenses | None = None
    max_series_bytes: int | None = None
    max_bytes_per_run: int = 50 * 10**9
    max_series_per_run: int | None = None
    max_minutes_per_run: int | None = None
    quiet_hours: QuietHours | None = None
    shards: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "where", self.where.strip())
        # A run may start in another folder than the command that requested it.
        absolute = tuple(str(Path(path).absolute()) for path in self.manifests)
        object.__setattr__(self, "manifests", absolute)
        if not any(getattr(self, name) for name in CRITERIA):
            raise UsageError(
                f"an image selection needs one of {', '.join(CRITERIA)}; where: 'true' selects all"
            )
        if self.where and not _is_condition(self.where):
            raise UsageError(
                f"image selection: where is {self.where!r}; it must be one SQL condition, such as "
                "ImageCount < 300"
            )
        if self.where and (reason := sql.why_no_query(f"SELECT ({self.where}\n)")):
            raise UsageError(f"image selection: where is {self.where!r}: {reason}")
        for name in (*_LIMITS_PER_RUN, "shards"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"image selection: {name} is {value}; it must be 1 or more")

    @property
    def predicate(self) -> str:
        """SQL that is true for a row of `current_series` that is selected; it needs `tables`.

        With `licenses.allow`, Series without a licence in the source are left out.
        """
        if self.licenses is None:
            return self._criteria
        conditions = [self._criteria, f"NOT {self.licenses.refused}"]
        if self.licenses.allow:
            conditions.append(f"NOT {UNLICENSED}")
        return " AND ".join(conditions)

    @property
    def denied(self) -> str:
        """SQL that is true for a row that is left out only because of its licence."""
        return f"{self._criteria} AND {self.licenses.refused}" if self.licenses else "false"

    @property
    def unlicensed(self) -> str:
        """SQL that is true for a row without a licence that meets all other criteria."""
        return f"{self._criteria} AND {UNLICENSED}"

    @property
    def tables(self) -> dict[str, pa.Table]:
        """The tables beside the views that the SQL of this selection refers to, by name.

        Raises:
            UsageError: A series list cannot be read; names the file, and the line if one is wrong.
        """
        if not (self.manifests or self.series):
            return {}
        return {
            _SELECTED: pa.table({_UID: self.named_series}),
            _VERSIONS: pa.table({_VERSION: self.named_versions}),
        }

    @property
    def named_series(self) -> pa.Array:
        """The UIDs in `manifests` and `series`, each once.

        Raises:
            UsageError: As `tables`.
        """
        lists = [read_series_list(path) for path in self.manifests if not is_idc(path)]
        lists.append(pa.array(self.series, pa.string()))
        return pa.chunked_array(lists).unique()

    @property
    def named_versions(self) -> pa.Array:
        """The crdc_series_uuids in manifests of the Imaging Data Commons, each once.

        Raises:
            UsageError: As `tables`.
        """
        lists = [read_version_list(path) for path in self.manifests if is_idc(path)]
        return pa.chunked_array(lists, pa.string()).unique()

    @property
    def unknown_series(self) -> str:
        """A query for listed Series that are not in `current_series`; it needs `tables`.

        Its columns are SeriesInstanceUID and `withdrawn_at`, which is null if no stored Collection
        ever listed the Series. Other criteria are ignored.
        """
        listed = self._listed or f"SELECT {_UID} FROM series WHERE false"
        return f"""
            SELECT {_UID}, max(s.withdrawn_at) AS withdrawn_at
            FROM (SELECT DISTINCT {_UID} FROM ({listed}))
            ANTI JOIN current_series USING ({_UID})
            LEFT JOIN series AS s USING ({_UID})
            GROUP BY {_UID} ORDER BY {_UID}
        """

    def quiet_note(self, now: datetime) -> str:
        """Return a line about the quiet hours at a moment; "" if there are none then."""
        until = self.quiet_hours.until(now) if self.quiet_hours else None
        if until is None:
            return ""
        return (
            f"quiet hours ({self.quiet_hours}): no images are fetched until "
            f"{until:%Y-%m-%d %H:%M} UTC"
        )

    @property
    def _criteria(self) -> str:
        """SQL of all criteria except the licence."""
        conditions = [
            _one_of("Collection", self.collections),
            _one_of("Modality", self.modalities),
            _one_of("BodyPartExamined", self.body_parts),
            # The line break, because it may end in a comment.
            f"({self.where}\n)" if self.where else "",
            f"{_UID} IN ({self._listed})" if self._listed else "",
            f"FileSize <= {self.max_series_bytes}" if self.max_series_bytes is not None else "",
        ]
        return f"({' AND '.join(condition for condition in conditions if condition)})"

    @property
    def _listed(self) -> str:
        """A query for the Series on any list; "" if no lists are given."""
        named = ""
        if self.manifests or self.series:
            named = (
                f"SELECT {_UID} FROM {_SELECTED} UNION ALL SELECT {_UID} FROM series "
                f"WHERE {_VERSION} IN (SELECT {_VERSION} FROM {_VERSIONS})"
            )
        is_chosen = _one_of("list_name", self.shared_lists)
        shared = f"SELECT {_UID} FROM shared_lists WHERE {is_chosen}" if is_chosen else ""
        return " UNION ALL ".join(query for query in (named, shared) if query)


def check_shared_lists(selection: Selection, known: Iterable[str]) -> None:
    """Raise UnknownName if a shared list of the selection is not one of the known ones."""
    known = tuple(known)
    folded = {name.strip().casefold() for name in known}
    for name in selection.shared_lists:
        if name.strip().casefold() not in folded:
            raise UnknownName("shared list that was refreshed", name, known)


def check_fetchable(selection: Selection) -> None:
    """Raise UsageError if a selection of what to fetch needs what only fetched images tell.

    A cohort, which is made of fetched images, may use it.
    """
    where = selection.where
    if not where:
        return
    try:
        tables = sql.table_names(where)
    except sql.SqlError:
        return  # such as a function that does not exist: the query says so, as of a column
    # A column of a subquery is another matter.
    words = set() if tables else set(_WORD.findall(_TEXT.sub("", where)))
    if ACQUISITION_VIEW in tables or words & _ACQUISITION_ONLY:
        what = ", ".join(sorted(words & _ACQUISITION_ONLY)) or ACQUISITION_VIEW
        raise UsageError(
            f"image selection: where uses {what}, which is known only of images that are fetched "
            f"already: it is read from their headers, into the view {ACQUISITION_VIEW}. Fetch by "
            "the columns of current_series, and narrow the cohort of a dataset"
        )


def _is_condition(where: str) -> bool:
    # A number is an expression too, and any number but 0 would select all.
    return sql.is_expression(where) and not _NUMBER.fullmatch(where)


def _one_of(column: str, values: tuple[str, ...]) -> str:
    # Ignoring case and blanks, as the servers compare.
    chosen = ", ".join(f"lower(trim({sql.literal(value)}))" for value in values)
    return f"lower(trim({sql.identifier(column)})) IN ({chosen})" if values else ""
