"""The cohort of a declaration, queried from the warehouse."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import ACQUIRED_MODALITIES, SHARED_LISTS
from tcia_assets.datasets.cohort import (
    FETCHED,
    IMAGE,
    NOT_FETCHED,
    PAIRS,
    SERIES,
    TARGET,
    UNKNOWN,
    WITHDRAWN,
    Cohort,
    WarehouseSnapshot,
)
from tcia_assets.datasets.cohort_checks import CONTENTS, check_holdout, check_licenses
from tcia_assets.datasets.declaration import Declaration
from tcia_assets.datasets.pairing import PAIRED, find_pairs
from tcia_assets.errors import BadDeclaration, UnknownName, UsageError
from tcia_assets.metadata.licenses import unmatched_licenses
from tcia_assets.metadata.selection import check_shared_lists
from tcia_assets.store.sql import identifier
from tcia_assets.store.warehouse import Warehouse

# Criteria that name values, the column that has these, and which of them need not be known.
_NAMED: Mapping[str, tuple[str, Collection[str]]] = {
    "collections": ("Collection", ()),
    "modalities": ("Modality", ACQUIRED_MODALITIES),
    "body_parts": ("BodyPartExamined", ()),
}

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


def query_cohort(declaration: Declaration, warehouse: Warehouse) -> Cohort:
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
    statement = CONTENTS.format(series="chosen") + _ROWS.format(columns=columns)
    rows = warehouse.query(statement, tables={"chosen": chosen})
    cohort = Cohort(
        declaration.name,
        declaration.cohort_settings,
        WarehouseSnapshot.of(warehouse),
        rows.cast(SERIES).combine_chunks(),
        found_pairs,
    )
    check_holdout(declaration, cohort)
    check_licenses(declaration, cohort, warehouse)
    return cohort


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
                raise declaration.error_at(f"cohort.{key}", f"{problem}; is it refreshed?")
    try:
        if chosen is not None:
            check_shared_lists(chosen, warehouse.keys(SHARED_LISTS))
    except UnknownName as error:
        raise declaration.error_at("cohort.shared_lists", str(error)) from None
    try:
        unmatched_licenses(declaration.licenses, _known("LicenseName", warehouse))
    except UnknownName as error:
        raise declaration.error_at("licenses", str(error)) from None


def _known(column: str, warehouse: Warehouse) -> list[str]:
    name = identifier(column)
    rows = warehouse.query(f"SELECT DISTINCT {name} AS n FROM series WHERE {name} NOTNULL")
    return list(rows["n"].to_pylist())


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
        raise declaration.error_at(key, "no Series is asked for; is the Collection refreshed?")
    others = sorted(
        {m for m in rows["modality"].to_pylist() if m is not None} - ACQUIRED_MODALITIES
    )
    if others:
        count = sum(m in others for m in rows["modality"].to_pylist())
        problem = (
            f"{count} of the {rows.num_rows} Series that are asked for are no images "
            f"({', '.join(others)}): ask for modalities, such as CT; masks are found by 'target'"
        )
        raise declaration.error_at(key, problem)
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
        raise declaration.error_at(key, f"it cannot be answered: {error}") from None
