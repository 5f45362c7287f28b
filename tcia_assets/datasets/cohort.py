"""The Series of a dataset, frozen: who is in it, as what, under which licence, and since when.

What belongs here: asking the question, the lock file, and what has changed since. What does not:
reading images, the split, Dagster. Nothing is asked of the archive: the warehouse is what is known.

A cohort is asked for once and then locked. Asking again compares, and changes the lock file only if
that is wanted: a dataset must not change because the archive did.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import ACQUIRED, SHARED_LISTS
from tcia_assets.datasets.declaration import SPLIT_COLUMNS, Declaration
from tcia_assets.datasets.pairing import PAIRED, find_pairs
from tcia_assets.errors import (
    BadDeclaration,
    CohortMoved,
    LicenseConflict,
    UnknownName,
    UsageError,
)
from tcia_assets.images.md5_hierarchy import contents
from tcia_assets.metadata.selection import Selection, check_shared_lists, unmatched_licenses
from tcia_assets.store.files import publish_text
from tcia_assets.store.sql import identifier
from tcia_assets.store.warehouse import Warehouse

IMAGE, TARGET = "image", "target"
FETCHED, NOT_FETCHED, WITHDRAWN, UNKNOWN = "fetched", "not_fetched", "withdrawn", "unknown"
STATES = {
    FETCHED: "its zip is on disk",
    NOT_FETCHED: "the archive lists it, and its zip is not on disk",
    WITHDRAWN: "the archive lists it no more",
    UNKNOWN: "no Collection that is known here has it",
}

_FORMAT = 1
_MOST_SHOWN = 10
# Criteria that name values, the column that has these, and which of them need not be known.
_NAMED: Mapping[str, tuple[str, Collection[str]]] = {
    "collections": ("Collection", ()),
    "modalities": ("Modality", ACQUIRED),
    "body_parts": ("BodyPartExamined", ()),
}

_TEXTS = (
    "PatientID",
    "StudyInstanceUID",
    *SPLIT_COLUMNS,
    "PatientAge",
    "fingerprint",
    "archive_sha256",
    "content_md5",
    "LicenseName",
    "LicenseURI",
    "DataDescriptionURI",
)
SERIES = pa.schema(
    [
        pa.field("SeriesInstanceUID", pa.string(), nullable=False),
        pa.field("role", pa.string(), nullable=False),
        pa.field("state", pa.string(), nullable=False),
        *(pa.field(name, pa.string()) for name in _TEXTS),
        pa.field("ImageCount", pa.int64()),
    ]
)
"""A Series of a cohort: an `image`, or a `target` that is paired with one; sorted by role and UID.

`fingerprint` is that of the Series now; `archive_sha256` that of the zip on disk, null without one.
`content_md5` is over the objects in that zip, as the archive's own getMD5Hierarchy counts it: two
downloads of a Series are never the same zip, and so it is this that says what the Series was. Null
where `images` does not tell it; then the zip itself has to be the same.
"""
PAIRS = pa.schema(
    [
        pa.field("image_series_instance_uid", pa.string(), nullable=False),
        pa.field("target_series_instance_uid", pa.string(), nullable=False),
        pa.field("SOPInstanceUID", pa.string()),
        pa.field("how", pa.string(), nullable=False),
        pa.field("rank", pa.int64(), nullable=False),
    ]
)
"""Which object of a target lies on which image; see `pairing.find_pairs`.

Objects have no other name: in the next zip of a Series an entry may be another one.
"""

_ROWS = f"""
    SELECT c.SeriesInstanceUID, c.role,
           CASE WHEN s.SeriesInstanceUID IS NULL THEN '{UNKNOWN}'
                WHEN s.withdrawn_at IS NOT NULL THEN '{WITHDRAWN}'
                WHEN a.path IS NULL THEN '{NOT_FETCHED}' ELSE '{FETCHED}' END AS state,
           {{columns}}
    FROM chosen AS c LEFT JOIN series AS s USING (SeriesInstanceUID)
    LEFT JOIN image_archives AS a USING (SeriesInstanceUID)
    LEFT JOIN contents AS i USING (SeriesInstanceUID)
    ORDER BY role, SeriesInstanceUID
"""
_CONTENTS = f"""
    WITH contents AS (
        {contents("SeriesInstanceUID IN (SELECT SeriesInstanceUID FROM {series})")}
    )
"""
_SNAPSHOT = """
    SELECT SeriesInstanceUID, fingerprint, greatest(first_seen_at, changed_at) AS at
    FROM current_series ORDER BY SeriesInstanceUID
"""


@dataclass(frozen=True)
class Snapshot:
    """What was known when a cohort was asked for.

    `sha256` is over UID and fingerprint of each current Series of all Collections; `newest_change`
    is when the newest of them was first seen or last changed.
    """

    series: int
    sha256: str
    newest_change: str | None

    @classmethod
    def of(cls, warehouse: Warehouse) -> Snapshot:
        found = warehouse.query(_SNAPSHOT)
        digest = hashlib.sha256()
        for batch in found.to_batches():
            uids, marks = (batch[name].to_pylist() for name in ("SeriesInstanceUID", "fingerprint"))
            lines = (f"{uid} {mark}\n" for uid, mark in zip(uids, marks, strict=True))
            digest.update("".join(lines).encode())
        newest = pc.max(found["at"]).as_py()
        return cls(found.num_rows, digest.hexdigest(), newest.isoformat() if newest else None)


@dataclass(frozen=True, eq=False)
class Cohort:
    """The Series of a dataset and their pairs, as `SERIES` and `PAIRS` say.

    `question` is what the declaration asked: its cohort and, of its target, which masks count.
    """

    name: str
    question: Mapping[str, Any]
    snapshot: Snapshot
    series: pa.Table
    pairs: pa.Table

    @property
    def content(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return {
            "format": _FORMAT,
            "name": self.name,
            "question": self.question,
            "snapshot": vars(self.snapshot),
            "series": self.series.to_pylist(),
            "pairs": self.pairs.to_pylist(),
        }

    @property
    def sha256(self) -> str:
        """Over the Series and pairs; not over the question, nor when it was asked.

        Nor over a zip of which its `content_md5` is told: the same Series fetched by others is the
        same cohort.
        """
        series = [_without_zip(row) for row in self.series.to_pylist()]
        told = {"series": series, "pairs": self.pairs.to_pylist()}
        return hashlib.sha256(_json(told).encode()).hexdigest()

    @property
    def text(self) -> str:
        """The lock file; equal cohorts are equal bytes."""
        return _json({**self.content, "sha256": self.sha256}, indent=1) + "\n"

    def of_role(self, role: str) -> pa.Table:
        return self.series.filter(pc.equal(self.series["role"], role))

    @property
    def not_fetched(self) -> tuple[str, ...]:
        """Series without a zip on disk."""
        absent = pc.is_null(self.series["archive_sha256"])
        return tuple(self.series.filter(absent)["SeriesInstanceUID"].to_pylist())


@dataclass(frozen=True)
class Zip:
    """A zip on disk, as `image_archives` has it; `content` names what is in it, on any machine."""

    path: Path
    sha256: str
    content: str


@dataclass(frozen=True)
class Diff:
    """What is otherwise in a later cohort: Series by UID, pairs by their UIDs.

    `changed` has for each Series its columns that differ, as they were and as they are.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: Mapping[str, Mapping[str, tuple[Any, Any]]] | None = None
    pairs_added: tuple[str, ...] = ()
    pairs_removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return any(vars(self).values())

    def __str__(self) -> str:
        return "\n".join(self._lines()) or "nothing has changed"

    def _lines(self) -> Iterator[str]:
        for sign, what, uids in (
            ("+", "Series", self.added),
            ("-", "Series", self.removed),
            ("+", "pair", self.pairs_added),
            ("-", "pair", self.pairs_removed),
        ):
            yield from (f"{sign} {what} {uid}" for uid in uids)
        for uid, columns in (self.changed or {}).items():
            told = ", ".join(f"{n} {old!r} -> {new!r}" for n, (old, new) in columns.items())
            yield f"~ Series {uid}: {told}"


# --- Asking ---------------------------------------------------------------------------------------


def freeze(declaration: Declaration, warehouse: Warehouse) -> Cohort:
    """The cohort that is declared, as the warehouse knows it now; equal for equal warehouses.

    Raises:
        BadDeclaration: it names a Collection, a licence or the like that nobody knows; its SQL
            cannot be answered, or answers with no Series, or with some that are no images; no
            Series has a value that is held out.
        LicenseConflict: its licenses refuse some of these Series.
    """
    _check_names(declaration, warehouse)
    images = _images(declaration, warehouse)
    found_pairs = _pairs(declaration, warehouse, images)
    targets = pc.unique(found_pairs["target_series_instance_uid"])
    roles = [IMAGE] * len(images) + [TARGET] * len(targets)
    chosen = pa.table(
        {
            "SeriesInstanceUID": pa.concat_arrays([images, _array(targets)]),
            "role": pa.array(roles, pa.string()),
        }
    )
    columns = ", ".join(map(_told, SERIES.names[3:]))
    statement = _CONTENTS.format(series="chosen") + _ROWS.format(columns=columns)
    rows = warehouse.query(statement, tables={"chosen": chosen})
    cohort = Cohort(
        declaration.name,
        _asked(declaration),
        Snapshot.of(warehouse),
        rows.cast(SERIES).combine_chunks(),
        found_pairs,
    )
    check_holdout(declaration, cohort)
    check_licenses(declaration, cohort, warehouse)
    return cohort


def check_holdout(declaration: Declaration, cohort: Cohort) -> None:
    """Raises BadDeclaration where no image has a value that is held out.

    A misspelt one would hold nobody out, and train on those who should be kept for the test.
    """
    holdout = declaration.split.holdout
    if holdout is None:
        return
    known = pc.drop_null(pc.unique(cohort.of_role(IMAGE)[holdout.column])).to_pylist()
    for value in holdout.values:
        if value not in known:
            problem = str(UnknownName(f"{holdout.column} of the cohort", value, known))
            raise declaration.refuse("split.holdout.values", problem)


def check_licenses(declaration: Declaration, cohort: Cohort, warehouse: Warehouse) -> None:
    """Raises LicenseConflict where the declaration refuses the licence of a Series, image or not.

    With `allow`, a Series whose licence is not told is refused, too.
    """
    if declaration.licenses is None:
        return
    rule = Selection(where="true", licenses=declaration.licenses)
    refused = rule.denied + (f" OR {rule.unlicensed}" if declaration.licenses.allow else "")
    rows = warehouse.query(
        "SELECT SeriesInstanceUID AS uid, coalesce(LicenseName, LicenseURI, 'none told') AS said "
        f"FROM cohort_series WHERE {refused} ORDER BY uid",
        tables={"cohort_series": cohort.series},
    )
    if rows.num_rows:
        series = dict(zip(rows["uid"].to_pylist(), rows["said"].to_pylist(), strict=True))
        raise LicenseConflict(f"the dataset {declaration.name!r}", series)


def _check_names(declaration: Declaration, warehouse: Warehouse) -> None:
    """Raises BadDeclaration for a name that nothing bears: it would be passed over in silence."""
    chosen = declaration.cohort.selection
    named = {} if chosen is None else {n: getattr(chosen, n) for n in _NAMED}
    for key, names in named.items():
        column, others = _NAMED[key]
        known = {*_known(column, warehouse), *others}
        folded = {name.strip().casefold() for name in known}
        for name in names:
            if name.strip().casefold() not in folded:
                problem = str(UnknownName(f"{column} that is known here", name, known))
                raise declaration.refuse(f"cohort.{key}", f"{problem}; is it refreshed?")
    try:
        if chosen is not None:
            check_shared_lists(chosen, warehouse.keys(SHARED_LISTS))
    except UnknownName as error:
        raise declaration.refuse("cohort.shared_lists", str(error)) from None
    licences = Selection(where="true", licenses=declaration.licenses)
    try:
        unmatched_licenses(licences, _known("LicenseName", warehouse))
    except UnknownName as error:
        raise declaration.refuse("licenses", str(error)) from None


def _known(column: str, warehouse: Warehouse) -> list[str]:
    name = identifier(column)
    rows = warehouse.query(f"SELECT DISTINCT {name} AS n FROM series WHERE {name} NOTNULL")
    return list(rows["n"].to_pylist())


def _asked(declaration: Declaration) -> dict[str, Any]:
    settings, target = declaration.settings, declaration.target
    masks = {} if target is None else {n: settings["target"][n] for n in ("kind", "where", "ways")}
    return {"cohort": settings["cohort"], "target": masks or None}


def _told(name: str) -> str:
    if name == "archive_sha256":
        return "CASE WHEN a.path IS NOT NULL THEN a.sha256 END AS archive_sha256"
    if name == "content_md5":
        return "CASE WHEN a.path IS NOT NULL THEN i.content_md5 END AS content_md5"
    return f"s.{name}"


def _array(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


def _images(declaration: Declaration, warehouse: Warehouse) -> pa.Array:
    """The Series that the question answers with, sorted."""
    question = declaration.cohort
    statement = f"""
        SELECT q.SeriesInstanceUID::VARCHAR AS uid, s.Modality AS modality
        FROM ({question.statement}) AS q
        LEFT JOIN series AS s ON s.SeriesInstanceUID = q.SeriesInstanceUID
        WHERE q.SeriesInstanceUID IS NOT NULL ORDER BY uid
    """
    key = "cohort.sql" if question.sql else "cohort"
    if question.selection is not None and question.selection.where:
        key = "cohort.where"
    rows = _answer(declaration, key, warehouse, statement, question.tables)
    if not rows.num_rows:
        raise declaration.refuse(key, "no Series is asked for; is the Collection refreshed?")
    others = sorted({m for m in rows["modality"].to_pylist() if m is not None} - ACQUIRED)
    if others:
        count = sum(m in others for m in rows["modality"].to_pylist())
        problem = (
            f"{count} of the {rows.num_rows} Series that are asked for are no images "
            f"({', '.join(others)}): ask for modalities, such as CT; masks are found by 'target'"
        )
        raise declaration.refuse(key, problem)
    return _array(rows["uid"].cast(pa.string()))


def _pairs(declaration: Declaration, warehouse: Warehouse, images: pa.Array) -> pa.Table:
    """The masks that count and lie on these images."""
    target = declaration.target
    if target is None:
        return PAIRS.empty_table()
    chosen = f"({target.where}\n)" if target.where else "true"
    statement = f"""
        SELECT SeriesInstanceUID AS uid FROM current_series
        WHERE Modality = '{target.kind}' AND {chosen} ORDER BY uid
    """
    masks = _answer(declaration, "target.where", warehouse, statement, {})
    found = find_pairs(warehouse, masks["uid"].to_pylist())
    wanted = pc.and_(
        pc.and_(pc.equal(found["state"], PAIRED), pc.equal(found["Modality"], target.kind)),
        pc.and_(
            pc.is_in(found["how"], value_set=pa.array(target.ways)),
            pc.is_in(found["image_series_instance_uid"], value_set=images),
        ),
    )
    found = found.filter(wanted).rename_columns(
        [
            "target_series_instance_uid" if n == "SeriesInstanceUID" else n
            for n in found.column_names
        ]
    )
    order = [(name, "ascending") for name in PAIRS.names[:3]]
    return found.select(PAIRS.names).cast(PAIRS).sort_by(order).combine_chunks()


def _answer(
    declaration: Declaration,
    key: str,
    warehouse: Warehouse,
    statement: str,
    tables: Mapping[str, pa.Table],
) -> pa.Table:
    try:
        return warehouse.query(statement, tables=tables)
    except BadDeclaration:
        raise
    except UsageError as error:
        raise declaration.refuse(key, f"it cannot be answered: {error}") from None


# --- The lock file --------------------------------------------------------------------------------


def ask(
    declaration: Declaration, warehouse: Warehouse, lock: Path, *, update: bool = False
) -> tuple[Cohort, Diff]:
    """The cohort of the lock file, and what is otherwise if it is asked for again now.

    Where there is no lock file, or `update` is wanted and something is otherwise, the new cohort is
    written and returned. Where nothing is otherwise, the file stays as it is, byte for byte.

    Raises:
        BadDeclaration, LicenseConflict: see `freeze`.
        CohortMoved: the lock file is not one of this dataset.
        StorageError: the disk refuses. The lock file is as it was.
    """
    now = freeze(declaration, warehouse)
    if not lock.exists():
        write(now, lock)
        return now, Diff()
    before = read(lock, declaration.name)
    changes = diff(before, now)
    if update and (changes or before.question != now.question):
        write(now, lock)
        return now, changes
    return before, changes


def locked(declaration: Declaration, warehouse: Warehouse, lock: Path) -> Cohort:
    """The cohort of the lock file, whose zips are all on disk as they were.

    Raises:
        CohortMoved: there is no such file, the declaration asks another question by now, or a zip
            is not there as it was; says which.
        BadDeclaration: no Series of it has a value that is held out.
        LicenseConflict: the declaration refuses the licence that a Series had.
    """
    cohort = read(lock, declaration.name)
    check_question(declaration, cohort)
    archives(cohort, warehouse)
    check_holdout(declaration, cohort)
    check_licenses(declaration, cohort, warehouse)
    return cohort


def check_question(declaration: Declaration, cohort: Cohort) -> None:
    """Raises CohortMoved where the declaration asks another question than the cohort answers."""
    if cohort.question != _asked(declaration):
        problem = "its declaration asks another question than its cohort answers"
        advice = "update the cohort (--update), or undo the change"
        raise CohortMoved(f"{declaration.name}: {problem}; {advice}")


def archives(cohort: Cohort, warehouse: Warehouse) -> dict[str, Zip]:
    """The zip of each Series that had one when the cohort was frozen, with the same objects in it.

    Raises:
        CohortMoved: some are not there as they were; says which.
    """
    rows = warehouse.query(
        _CONTENTS.format(series="cohort_series")
        + """
        SELECT c.SeriesInstanceUID AS uid, a.path, a.sha256, i.content_md5,
               a.sha256 IS NULL OR a.path IS NULL AS is_absent,
               coalesce(a.sha256 = c.archive_sha256, false)
               OR coalesce(i.content_md5 = c.content_md5, false) AS is_same
        FROM cohort_series AS c LEFT JOIN image_archives AS a USING (SeriesInstanceUID)
        LEFT JOIN contents AS i USING (SeriesInstanceUID)
        WHERE c.archive_sha256 IS NOT NULL ORDER BY uid
        """,
        tables={"cohort_series": cohort.series},
    ).to_pylist()
    told = [
        f"{row['uid']} ({'absent' if row['is_absent'] else 'another zip'})"
        for row in rows
        if row["is_absent"] or not row["is_same"]
    ]
    if told:
        more = f" and {len(told) - _MOST_SHOWN} more" if len(told) > _MOST_SHOWN else ""
        listed = ", ".join(told[:_MOST_SHOWN]) + more
        problem = f"{len(told)} Series are not on disk as in its cohort: {listed}"
        raise CohortMoved(f"{cohort.name}: {problem}; fetch them, or update the cohort (--update)")
    return {
        row["uid"]: Zip(
            warehouse.root / row["path"], row["sha256"], row["content_md5"] or row["sha256"]
        )
        for row in rows
    }


def write(cohort: Cohort, lock: Path) -> bool:
    """The lock file holds this cohort, whole; whether it is another file than before.

    Raises:
        StorageError: the disk refuses. The file is as it was.
    """
    return publish_text(lock, cohort.text)


def read(lock: Path, name: str) -> Cohort:
    """The cohort of a lock file of the dataset of that name.

    Raises:
        CohortMoved: it is not there, not readable, of another dataset, or not as it was written.
    """
    try:
        content = json.loads(lock.read_text(encoding="utf-8"))
        told = content.pop("sha256")
        cohort = _cohort(content)
    except FileNotFoundError:
        raise CohortMoved(f"{lock}: there is no such lock file; ask for the cohort first") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CohortMoved(f"{lock}: it is no lock file: {error}") from None
    if cohort.sha256 != told:
        raise CohortMoved(f"{lock}: it has been edited: its Series do not have its sha256")
    if cohort.name != name:
        raise CohortMoved(f"{lock}: it is of the dataset {cohort.name!r}, not of {name!r}")
    return cohort


def _cohort(content: dict[str, Any]) -> Cohort:
    if content["format"] != _FORMAT:
        raise ValueError(f"format {content['format']!r}, and {_FORMAT} can be read")
    return Cohort(
        str(content["name"]),
        dict(content["question"]),
        Snapshot(**content["snapshot"]),
        pa.Table.from_pylist(content["series"], schema=SERIES),
        pa.Table.from_pylist(content["pairs"], schema=PAIRS),
    )


def diff(before: Cohort, after: Cohort) -> Diff:
    """What is otherwise in the later one."""
    old, new = _by_uid(before), _by_uid(after)
    changed = {uid: _otherwise(old[uid], new[uid]) for uid in sorted(old.keys() & new.keys())}
    old_pairs, new_pairs = _pair_names(before), _pair_names(after)
    return Diff(
        tuple(sorted(new.keys() - old.keys())),
        tuple(sorted(old.keys() - new.keys())),
        {uid: columns for uid, columns in changed.items() if columns},
        tuple(sorted(new_pairs - old_pairs)),
        tuple(sorted(old_pairs - new_pairs)),
    )


def _otherwise(old: dict[str, Any], new: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    if old["content_md5"] == new["content_md5"]:
        old, new = _without_zip(old), _without_zip(new)
    return {name: (old[name], new[name]) for name in new if old[name] != new[name]}


def _without_zip(row: dict[str, Any]) -> dict[str, Any]:
    """A Series without the hash of its zip, if the objects in that are known."""
    is_zip = row["content_md5"] is None
    return {name: value for name, value in row.items() if is_zip or name != "archive_sha256"}


def _by_uid(cohort: Cohort) -> dict[str, dict[str, Any]]:
    return {row["SeriesInstanceUID"]: row for row in cohort.series.to_pylist()}


def _pair_names(cohort: Cohort) -> set[str]:
    return {
        f"{row['target_series_instance_uid']} {row['SOPInstanceUID']} on "
        f"{row['image_series_instance_uid']} by {row['how']}, rank {row['rank']}"
        for row in cohort.pairs.to_pylist()
    }


def _json(content: Any, indent: int | None = None) -> str:
    return json.dumps(content, indent=indent, sort_keys=True, ensure_ascii=False)
