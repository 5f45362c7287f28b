"""The cohort of a declaration, queried from the warehouse.

The query finds the images that the declaration selects, the masks that are paired with them, and
what the warehouse has about both. It sends no request to a source.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.catalog import ACQUIRED_MODALITIES, SHARED_LISTS
from tcia_assets.datasets.channel_query import (
    find_reference,
    members_of_channels,
    pair_channels,
)
from tcia_assets.datasets.class_query import query_classes
from tcia_assets.datasets.cohort import (
    CHANNEL,
    CHANNELS,
    CLASS_VALUE,
    FETCHED,
    IMAGE,
    IMPORTED_FROM,
    NOT_FETCHED,
    OF_ANALYSES,
    PAIRS,
    SERIES,
    TARGET,
    UNKNOWN,
    WITHDRAWN,
    ClassJoin,
    Cohort,
    WarehouseSnapshot,
)
from tcia_assets.datasets.cohort_checks import (
    CONTENTS,
    check_holdout,
    check_licenses,
    check_makers,
)
from tcia_assets.datasets.declaration import Declaration
from tcia_assets.datasets.declared_sql import run_declared
from tcia_assets.datasets.pairing import PAIRED, find_pairs
from tcia_assets.errors import UnknownName
from tcia_assets.metadata.licenses import unmatched_licenses
from tcia_assets.metadata.publications import read_publications
from tcia_assets.metadata.selection import check_shared_lists
from tcia_assets.sources.names import FOLDER
from tcia_assets.store.conform import replace_column
from tcia_assets.store.sql import identifier
from tcia_assets.store.warehouse import Warehouse

# Criteria that name values: the column of these values, and values that are valid in any case.
_NAMED_VALUES: Mapping[str, tuple[str, Collection[str]]] = {
    "collections": ("Collection", ()),
    "modalities": ("Modality", ACQUIRED_MODALITIES),
    "body_parts": ("BodyPartExamined", ()),
}

# How the segments of each Series were made.
_MADE = """, made AS (
    SELECT SeriesInstanceUID,
           left(string_agg(DISTINCT algorithm, ', ' ORDER BY algorithm), 500) AS algorithms
    FROM (
        SELECT SeriesInstanceUID, nullif(concat_ws(' ', algorithm_type,
            '(' || nullif(algorithm_name, '') || ')'), '') AS algorithm
        FROM targets WHERE SeriesInstanceUID IN (SELECT SeriesInstanceUID FROM chosen)
    ) GROUP BY ALL
)
"""
# Of a Series that moved, each Collection that had it has a row, and may still have its zip.
_AT_HOME = """, home AS (
    SELECT * FROM series SEMI JOIN chosen USING (SeriesInstanceUID) QUALIFY row_number() OVER (
        PARTITION BY SeriesInstanceUID ORDER BY moved_to IS NOT NULL, Collection
    ) = 1
), zips AS (
    SELECT a.* FROM image_archives AS a JOIN home AS h USING (SeriesInstanceUID)
    QUALIFY row_number() OVER (
        PARTITION BY a.SeriesInstanceUID
        ORDER BY a.path IS NULL, a.Collection <> h.Collection, a.Collection
    ) = 1
)
"""
_ROWS = f"""
    SELECT c.SeriesInstanceUID, c.role,
           CASE WHEN s.SeriesInstanceUID IS NULL THEN '{UNKNOWN}'
                WHEN s.withdrawn_at IS NOT NULL THEN '{WITHDRAWN}'
                WHEN a.path IS NULL THEN '{NOT_FETCHED}' ELSE '{FETCHED}' END AS state,
           {{columns}}
    FROM chosen AS c LEFT JOIN home AS s USING (SeriesInstanceUID)
    LEFT JOIN zips AS a USING (SeriesInstanceUID)
    LEFT JOIN contents AS i USING (SeriesInstanceUID)
    LEFT JOIN made AS m USING (SeriesInstanceUID)
    ORDER BY role, SeriesInstanceUID
"""
_ADVICE_ON_ANALYSES = (
    "what analyses by others made is listed with TCIA_SOURCE=idc and TCIA_IDC_SCOPE=all; has the "
    "Collection been refreshed so?"
)
_OTHER_COLUMNS = {
    "archive_sha256": "CASE WHEN a.path IS NOT NULL THEN a.sha256 END AS archive_sha256",
    "content_md5": "CASE WHEN a.path IS NOT NULL THEN i.content_md5 END AS content_md5",
    **{
        name: f"CASE WHEN c.role = '{TARGET}' AND s.analysis_result_id NOTNULL "
        f"THEN {'m' if name == 'algorithms' else 's'}.{name} END AS {name}"
        for name in OF_ANALYSES
    },
    CLASS_VALUE: f"NULL::VARCHAR AS {CLASS_VALUE}",
    IMPORTED_FROM: f"CASE WHEN starts_with(s.source, '{FOLDER}-') THEN s.source END "
    f"AS {IMPORTED_FROM}",
}


def query_cohort(declaration: Declaration, warehouse: Warehouse) -> Cohort:
    """Query the cohort of a declaration; equal warehouses give equal cohorts.

    Raises:
        BadDeclaration: The declaration names a Collection, a licence or the like that the warehouse
            does not have; its SQL fails, or returns no Series, or Series that are not images; no
            Series has a held-out value; its target asks for an analysis that has no masks; images
            have masks of several makers, and it does not choose among them; its classes cannot
            be joined.
        LicenseConflict: The declaration refuses the licence of a Series.
    """
    _check_names(declaration, warehouse)
    cohort = _query(declaration, warehouse)
    check_holdout(declaration, cohort)
    check_licenses(declaration, cohort, warehouse)
    return cohort


def _query(declaration: Declaration, warehouse: Warehouse) -> Cohort:
    images, channels, pairs = _query_cases(declaration, warehouse)
    targets = pc.unique(pairs["target_series_instance_uid"]).to_pylist()
    others = sorted({*pc.drop_null(channels["SeriesInstanceUID"]).to_pylist()} - {*images})
    roles = dict.fromkeys(images, IMAGE) | dict.fromkeys(others, CHANNEL)
    roles |= dict.fromkeys(targets, TARGET)
    uids, names = (pa.array(values, pa.string()) for values in (roles, roles.values()))
    chosen = pa.table({"SeriesInstanceUID": uids, "role": names})
    columns = ", ".join(_OTHER_COLUMNS.get(name, f"s.{name}") for name in SERIES.names[3:])
    statement = CONTENTS.format(series="chosen") + _MADE + _AT_HOME + _ROWS.format(columns=columns)
    rows = warehouse.query(statement, tables={"chosen": chosen})
    check_makers(declaration, rows, pairs)
    rows, class_join = _with_classes(declaration, warehouse, rows)
    return Cohort(
        name=declaration.name,
        query=declaration.cohort_settings,
        snapshot=WarehouseSnapshot.of(warehouse),
        series=rows.cast(SERIES).combine_chunks(),
        pairs=pairs,
        publications=read_publications(warehouse, rows["DataDescriptionURI"].to_pylist()),
        class_join=class_join,
        channels=channels,
        released=_released(warehouse, chosen),
    )


def _released(warehouse: Warehouse, chosen: pa.Table) -> str | None:
    """Return the newest day on which one of some Series was released; None if none is known."""
    statement = """
        SELECT max(DateReleased)::VARCHAR AS day FROM series SEMI JOIN chosen
        USING (SeriesInstanceUID)
    """
    [row] = warehouse.query(statement, tables={"chosen": chosen}).to_pylist()
    day: str | None = row["day"]
    return day


def _with_classes(
    declaration: Declaration, warehouse: Warehouse, rows: pa.Table
) -> tuple[pa.Table, ClassJoin | None]:
    """Return the Series with the values of their classes, and how these were joined."""
    if declaration.classes is None:
        return rows, None
    images = rows.filter(pc.equal(rows["role"], IMAGE))
    values, class_join = query_classes(declaration, declaration.classes, warehouse, images)
    column = [values.get(uid) for uid in rows["SeriesInstanceUID"].to_pylist()]
    return replace_column(rows, CLASS_VALUE, pa.array(column, pa.string())), class_join


def _check_names(declaration: Declaration, warehouse: Warehouse) -> None:
    """Raise BadDeclaration for a name that matches nothing: it would silently select nothing."""
    chosen = declaration.cohort.selection
    for key, (column, always_valid) in _NAMED_VALUES.items():
        valid = {*_values_of(column, warehouse), *always_valid}
        folded = {name.strip().casefold() for name in valid}
        for name in () if chosen is None else getattr(chosen, key):
            if name.strip().casefold() not in folded:
                problem = str(UnknownName(column, name, valid))
                advice = "has its Collection been refreshed?"
                raise declaration.error_at(f"cohort.{key}", f"{problem}; {advice}")
    try:
        if chosen is not None:
            check_shared_lists(chosen, warehouse.keys(SHARED_LISTS))
    except UnknownName as error:
        raise declaration.error_at("cohort.shared_lists", str(error)) from None
    try:
        unmatched_licenses(declaration.licenses, _values_of("LicenseName", warehouse))
    except UnknownName as error:
        raise declaration.error_at("licenses", str(error)) from None


def _values_of(column: str, warehouse: Warehouse) -> list[str]:
    name = identifier(column)
    rows = warehouse.query(f"SELECT DISTINCT {name} AS n FROM series WHERE {name} NOTNULL")
    return list(rows["n"].to_pylist())


def _query_cases(
    declaration: Declaration, warehouse: Warehouse
) -> tuple[list[str], pa.Table, pa.Table]:
    """Return the images, of which each is a case, their channels and their masks.

    The latter two are as `CHANNELS` and `PAIRS`.
    """
    modalities = _query_images(declaration, warehouse)
    selected = list(modalities)
    if not declaration.channels:
        _check_images(declaration, modalities)
        pairs = _query_pairs(declaration, warehouse)
        return selected, CHANNELS.empty_table(), _pairs_of(selected, pairs)
    members = members_of_channels(declaration, warehouse, selected)
    used = sorted({uid for uids in members.values() for uid in uids})
    _check_images(declaration, {uid: modalities[uid] for uid in used})
    pairs = _query_pairs(declaration, warehouse)
    drawn = pairs["image_series_instance_uid"].to_pylist()
    reference = declaration.reference or find_reference(declaration, members, drawn)
    channels = pair_channels(declaration, warehouse, members, reference)
    # A listed Series that the warehouse does not have must stay visible.
    unknown = [uid for uid, modality in modalities.items() if modality is None]
    images = sorted({*members[reference], *unknown})
    return images, channels, _pairs_of(images, pairs)


def _query_images(declaration: Declaration, warehouse: Warehouse) -> dict[str, str | None]:
    """Return the Modality of each Series that the cohort's query selects, sorted by UID.

    It is None for a Series that the warehouse does not have.
    """
    query = declaration.cohort
    statement = f"""
        SELECT q.SeriesInstanceUID::VARCHAR AS uid, s.Modality AS modality
        FROM ({query.statement}) AS q
        LEFT JOIN series AS s ON s.SeriesInstanceUID = q.SeriesInstanceUID
        WHERE q.SeriesInstanceUID IS NOT NULL ORDER BY uid
    """
    key = _key(declaration)
    rows = run_declared(declaration, key, warehouse, statement, query.tables)
    if not rows.num_rows:
        problem = "the query selects no Series; has the Collection been refreshed?"
        raise declaration.error_at(key, problem)
    return dict(zip(rows["uid"].to_pylist(), rows["modality"].to_pylist(), strict=True))


def _key(declaration: Declaration) -> str:
    """Return the key of the cohort's query, where errors are."""
    query = declaration.cohort
    return "cohort.sql" if query.sql else "cohort.where" if query.where else "cohort"


def _check_images(declaration: Declaration, modalities: Mapping[str, str | None]) -> None:
    """Raise BadDeclaration if selected Series are not images."""
    others = sorted({name for name in modalities.values() if name} - ACQUIRED_MODALITIES)
    if others:
        count = sum(name in others for name in modalities.values())
        problem = (
            f"{count} of the {len(modalities)} selected Series are not images "
            f"({', '.join(others)}): select modalities, such as CT; 'target' finds the masks"
        )
        raise declaration.error_at(_key(declaration), problem)


def _query_pairs(declaration: Declaration, warehouse: Warehouse) -> pa.Table:
    """Return the masks of the target that are paired with any image, as `PAIRS`."""
    target = declaration.target
    if target is None:
        return PAIRS.empty_table()
    condition = f"({target.where}\n)" if target.where else "true"
    statement = f"""
        SELECT SeriesInstanceUID AS uid FROM current_series
        WHERE Modality = '{target.kind}' AND {condition} ORDER BY uid
    """
    masks = run_declared(declaration, "target.where", warehouse, statement, {})
    # Most often the mirror has no Series of any analysis.
    if not masks.num_rows and OF_ANALYSES[0] in target.where:
        problem = f"the condition selects no {target.kind} Series of the warehouse"
        raise declaration.error_at("target.where", f"{problem}; {_ADVICE_ON_ANALYSES}")
    pairs = find_pairs(warehouse, masks["uid"].to_pylist())
    is_wanted = pc.and_(
        pc.and_(pc.equal(pairs["state"], PAIRED), pc.equal(pairs["Modality"], target.kind)),
        pc.is_in(pairs["how"], value_set=pa.array(target.ways)),
    )
    renamed = {"SeriesInstanceUID": "target_series_instance_uid"}
    pairs = pairs.filter(is_wanted)
    pairs = pairs.rename_columns([renamed.get(name, name) for name in pairs.column_names])
    order = [(name, "ascending") for name in PAIRS.names[:3]]
    return pairs.select(PAIRS.names).cast(PAIRS).sort_by(order).combine_chunks()


def _pairs_of(images: Sequence[str], pairs: pa.Table) -> pa.Table:
    uids = pa.array(images, pa.string())
    return pairs.filter(pc.is_in(pairs["image_series_instance_uid"], value_set=uids))
