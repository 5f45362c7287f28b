"""Whether a frozen cohort still fits its declaration and the zips on disk."""

from __future__ import annotations

import pyarrow.compute as pc

from tcia_assets.datasets.cohort import IMAGE, Cohort, SeriesZip
from tcia_assets.datasets.declaration import Declaration
from tcia_assets.errors import CohortMoved, LicenseConflict, UnknownName
from tcia_assets.images.md5_hierarchy import content_md5_sql
from tcia_assets.metadata.selection import Selection
from tcia_assets.store.warehouse import Warehouse

_MOST_SHOWN = 10

CONTENTS = f"""
    WITH contents AS (
        {content_md5_sql("SeriesInstanceUID IN (SELECT SeriesInstanceUID FROM {series})")}
    )
"""


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
            raise declaration.error_at("split.holdout.values", problem)


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


def check_query(declaration: Declaration, cohort: Cohort) -> None:
    """Raises CohortMoved where the declaration asks another question than the cohort answers."""
    if cohort.query != declaration.cohort_settings:
        problem = "its declaration asks another question than its cohort answers"
        advice = "update the cohort (--update), or undo the change"
        raise CohortMoved(f"{declaration.name}: {problem}; {advice}")


def locked_zips(cohort: Cohort, warehouse: Warehouse) -> dict[str, SeriesZip]:
    """The zip of each Series that had one when the cohort was frozen, with the same objects in it.

    Raises:
        CohortMoved: some are not there as they were; says which.
    """
    rows = warehouse.query(
        CONTENTS.format(series="cohort_series")
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
        row["uid"]: SeriesZip(
            warehouse.root / row["path"], row["sha256"], row["content_md5"] or row["sha256"]
        )
        for row in rows
    }
