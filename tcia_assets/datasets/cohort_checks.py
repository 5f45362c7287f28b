"""Whether a cohort still fits its declaration, and the zips on disk."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets.datasets.cohort import IMAGE, OF_ANALYSES, Cohort, LockedZip
from tcia_assets.datasets.declaration import Declaration
from tcia_assets.datasets.volume.label_readers import UNION
from tcia_assets.errors import CohortMoved, LicenseConflict, UnknownName
from tcia_assets.images.md5_hierarchy import content_md5_sql
from tcia_assets.images.zip_files import name_at
from tcia_assets.metadata.selection import Selection
from tcia_assets.store import sql
from tcia_assets.store.warehouse import Warehouse

_MAX_SHOWN = 10
_ADVICE = {
    "changed": (
        "What changed was revised by its source, which no longer offers the frozen objects: build "
        "with --update to take the revision, or put back the earlier zips from a backup and run "
        "`tcia-assets verify`; versions that were built before stay complete"
    ),
    "missing": (
        "What is missing can be fetched again (`tcia-assets fetch`), unless it was withdrawn or "
        "revised: then build with --update, which leaves it out or takes the revision"
    ),
}

CONTENTS = f"""
    WITH contents AS (
        {content_md5_sql("SeriesInstanceUID IN (SELECT SeriesInstanceUID FROM {series})")}
    )
"""
"""SQL for a table `contents`: the `content_md5` of each Series of the table `{series}`."""

_ZIPS = """
    SELECT c.SeriesInstanceUID AS uid, a.path, a.sha256, i.content_md5,
           a.sha256 IS NULL OR a.path IS NULL AS is_absent,
           coalesce(a.sha256 = c.archive_sha256, false)
           OR coalesce(i.content_md5 = c.content_md5, false) AS is_same
    FROM cohort_series AS c LEFT JOIN image_archives AS a USING (SeriesInstanceUID)
    LEFT JOIN contents AS i USING (SeriesInstanceUID)
    WHERE c.archive_sha256 IS NOT NULL ORDER BY uid
"""


def check_cohort(
    declaration: Declaration, cohort: Cohort, warehouse: Warehouse
) -> dict[str, LockedZip]:
    """Check that a frozen cohort still fits, and return its zips as `locked_zips` does.

    Raises:
        CohortMoved: The declaration's query has changed, or zips are missing or changed.
        BadDeclaration: No Series of the cohort has a held-out value.
        LicenseConflict: The declaration refuses the licence that a Series had.
    """
    check_query(declaration, cohort)
    zips = locked_zips(cohort, warehouse)
    check_holdout(declaration, cohort)
    check_licenses(declaration, cohort, warehouse)
    return zips


def check_query(declaration: Declaration, cohort: Cohort) -> None:
    """Raise CohortMoved if the declaration's query has changed since the cohort was frozen."""
    if cohort.query != declaration.cohort_settings:
        problem = "the cohort query of its declaration has changed since its cohort was frozen"
        advice = "update the cohort (--update), or undo the change"
        raise CohortMoved(f"{declaration.name}: {problem}; {advice}")


def check_holdout(declaration: Declaration, cohort: Cohort) -> None:
    """Raise BadDeclaration if no image has a held-out value.

    A misspelt value would hold out no Patient, and the Patients meant for the test would be trained
    on.
    """
    holdout = declaration.split.holdout
    if holdout is None:
        return
    column = cohort.of_role(IMAGE)[holdout.column]
    valid = pc.drop_null(pc.unique(column)).to_pylist()
    for value in holdout.values:
        if value not in valid:
            problem = str(UnknownName(holdout.column, value, valid))
            raise declaration.error_at("split.holdout.values", problem)


def check_makers(declaration: Declaration, series: pa.Table, pairs: pa.Table) -> None:
    """Raise BadDeclaration if images have masks of several makers, and none was chosen.

    Their labels would be united without a word, such as those of the Collection itself with those
    of a model. With `target.where` or another `target.readers` than `union`, that is a choice.

    Args:
        declaration: Of the dataset.
        series: The Series of its cohort, as `cohort.SERIES`.
        pairs: Its pairs, as `cohort.PAIRS`.
    """
    target = declaration.target
    if target is None or target.where or target.readers != UNION:
        return
    makers = dict(
        zip(*(series[n].to_pylist() for n in ("SeriesInstanceUID", OF_ANALYSES[0])), strict=True)
    )
    by_image: dict[str, set[str | None]] = {}
    for pair in pairs.to_pylist():
        maker = makers[pair["target_series_instance_uid"]]
        by_image.setdefault(pair["image_series_instance_uid"], set()).add(maker)
    mixed = [found for found in by_image.values() if len(found) > 1]
    if mixed:
        found = set().union(*mixed)
        names = [f"the analysis {name!r}" for name in sorted(filter(None, found))]
        names = (["the Collection itself"] if None in found else []) + names
        example = sql.literal(max(filter(None, found)))
        reason = (
            f"{len(mixed)} of {len(by_image)} images have masks of several makers "
            f"({', '.join(names)}), whose labels would be united: choose by 'where', such as "
            f"analysis_result_id = {example} or analysis_result_id IS NULL, or combine them by "
            "'readers'; 'where: \"true\"' unites them"
        )
        raise declaration.error_at("target", reason)


def check_licenses(declaration: Declaration, cohort: Cohort, warehouse: Warehouse) -> None:
    """Raise LicenseConflict if the declaration refuses the licence of an image or a mask.

    With `allow`, a Series without a licence is refused too.
    """
    if declaration.licenses is None:
        return
    rule = Selection(where="true", licenses=declaration.licenses)
    refused = rule.denied + (f" OR {rule.unlicensed}" if declaration.licenses.allow else "")
    rows = warehouse.query(
        "SELECT SeriesInstanceUID AS uid, coalesce(LicenseName, LicenseURI, 'no licence') AS name "
        f"FROM cohort_series WHERE {refused} ORDER BY uid",
        tables={"cohort_series": cohort.series},
    )
    if rows.num_rows:
        series = dict(zip(rows["uid"].to_pylist(), rows["name"].to_pylist(), strict=True))
        raise LicenseConflict(f"the dataset {declaration.name!r}", series)


def locked_zips(cohort: Cohort, warehouse: Warehouse) -> dict[str, LockedZip]:
    """Return the zip of each Series that had one when the cohort was frozen, by UID.

    Raises:
        CohortMoved: Zips are missing or hold other objects than then; names their Series.
    """
    statement = CONTENTS.format(series="cohort_series") + _ZIPS
    rows = warehouse.query(statement, tables={"cohort_series": cohort.series}).to_pylist()
    moved = [
        f"{row['uid']} ({'missing' if row['is_absent'] else 'changed'})"
        for row in rows
        if row["is_absent"] or not row["is_same"]
    ]
    if moved:
        more = f" and {len(moved) - _MAX_SHOWN} more" if len(moved) > _MAX_SHOWN else ""
        problem = f"the zips of {len(moved)} Series have changed since its cohort was frozen"
        listed = ", ".join(moved[:_MAX_SHOWN]) + more
        kinds = {"missing" if row["is_absent"] else "changed" for row in rows if not row["is_same"]}
        advice = ". ".join(_ADVICE[kind] for kind in sorted(kinds))
        raise CohortMoved(f"{cohort.name}: {problem}: {listed}. {advice}")
    return {
        row["uid"]: LockedZip(
            archives=warehouse.archives,
            name=name_at(row["path"]),
            sha256=row["sha256"],
            content=row["content_md5"] or row["sha256"],
        )
        for row in rows
    }
