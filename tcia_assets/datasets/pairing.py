"""Find the image Series that a SEG or RTSTRUCT belongs to, from `references` and `images`.

The ways from an object to image Series belong here, and their order. References are read in
`images.headers.references`; which pairs a dataset takes is decided in `cohort_query.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from tcia_assets.catalog import ACQUIRED_MODALITIES
from tcia_assets.images.headers.references import FRAME_OF_REFERENCE, SERIES, SOP
from tcia_assets.store import sql
from tcia_assets.store.warehouse import Warehouse

WAYS = (SERIES, SOP, FRAME_OF_REFERENCE)
"""How a pair was found, the most reliable way first."""

PAIRED, NOT_FETCHED, UNKNOWN, NOTHING, UNREADABLE = (
    "paired",
    "not_fetched",
    "unknown",
    "nothing",
    "unreadable",
)
STATES = {
    PAIRED: "the image Series is on disk",
    NOT_FETCHED: "the image Series is listed, but its images are not on disk",
    UNKNOWN: "it refers to a Series or objects that are not known as images",
    NOTHING: "nothing that it refers to leads to an image",
    UNREADABLE: "the object cannot be read",
}

SCHEMA = pa.schema(
    [
        pa.field("SeriesInstanceUID", pa.string(), nullable=False),
        pa.field("entry_name", pa.string()),
        pa.field("SOPInstanceUID", pa.string()),
        pa.field("Collection", pa.string(), nullable=False),
        pa.field("Modality", pa.string()),
        pa.field("state", pa.string(), nullable=False),
        pa.field("how", pa.string()),
        pa.field("rank", pa.int64()),
        pa.field("image_series_instance_uid", pa.string()),
        pa.field("image_collection", pa.string()),
        pa.field("image_modality", pa.string()),
        pa.field("referenced_images", pa.int64(), nullable=False),
    ]
)

# An image Series has an acquired Modality, and has images on disk or is listed by the source.
# `named` counts, by object and image Series, the images of the Series that the object refers to.
_PAIRS = """
WITH refs AS (
    SELECT * FROM "references" WHERE SeriesInstanceUID IN (SELECT uid FROM wanted_series)
), objects AS (
    SELECT SeriesInstanceUID AS series, entry_name AS entry, any_value(Collection) AS collection,
           any_value(SOPInstanceUID) AS sop, any_value(Modality) AS modality,
           bool_and(how IS NULL AND error IS NOT NULL) AS unreadable
    FROM refs GROUP BY ALL
), fetched AS (
    SELECT SeriesInstanceUID AS image, any_value(Collection) AS collection,
           mode(Modality) AS modality
    FROM images WHERE Modality IN ({acquired}) GROUP BY ALL
), listed AS (
    SELECT SeriesInstanceUID AS image, Collection AS collection, Modality AS modality
    FROM current_series WHERE Modality IN ({acquired})
), named AS (
    SELECT r.SeriesInstanceUID AS series, r.entry_name AS entry, i.SeriesInstanceUID AS image,
           count(DISTINCT i.SOPInstanceUID) AS named
    FROM refs AS r JOIN images AS i ON r.referenced_sop_instance_uid = i.SOPInstanceUID
    WHERE r.how = 'sop' AND i.Modality IN ({acquired}) GROUP BY ALL
), by_series AS (
    SELECT SeriesInstanceUID AS series, entry_name AS entry,
           referenced_series_instance_uid AS image, 'series' AS how
    FROM refs WHERE how = 'series'
), by_sop AS (
    SELECT series, entry, image, 'sop' AS how FROM named
    ANTI JOIN by_series USING (series, entry, image)
), by_name AS (
    SELECT * FROM by_series UNION ALL SELECT * FROM by_sop
), strays AS (
    -- References without a Series to objects that are not in `images`.
    SELECT DISTINCT r.SeriesInstanceUID AS series, r.entry_name AS entry,
           NULL::VARCHAR AS image, 'sop' AS how
    FROM refs AS r ANTI JOIN images AS i ON r.referenced_sop_instance_uid = i.SOPInstanceUID
    WHERE r.how = 'sop' AND r.referenced_series_instance_uid IS NULL
), found AS (
    SELECT * FROM by_name JOIN fetched USING (image)
), by_frame AS (
    SELECT DISTINCT o.series, o.entry, i.SeriesInstanceUID AS image, 'frame_of_reference' AS how
    FROM (SELECT * FROM objects ANTI JOIN found USING (series, entry)) AS o
    JOIN refs AS r ON r.SeriesInstanceUID = o.series AND r.entry_name = o.entry
         AND r.how = 'frame_of_reference'
    JOIN images AS me ON me.SeriesInstanceUID = o.series AND me.entry_name = o.entry
    JOIN images AS i ON i.FrameOfReferenceUID = r.referenced_frame_of_reference_uid
         AND i.StudyInstanceUID = me.StudyInstanceUID
    WHERE i.Modality IN ({acquired})
), ways AS (
    SELECT * FROM by_name UNION ALL SELECT * FROM by_frame UNION ALL
    SELECT * FROM strays ANTI JOIN found USING (series, entry)
), pairs AS (
    SELECT o.series, o.entry, o.sop, o.collection, o.modality, o.unreadable, w.how, w.image,
           coalesce(f.collection, l.collection) AS image_collection,
           coalesce(f.modality, l.modality) AS image_modality,
           coalesce(n.named, 0) AS named,
           CASE WHEN o.unreadable THEN 'unreadable' WHEN f.image IS NOT NULL THEN 'paired'
                WHEN l.image IS NOT NULL THEN 'not_fetched' WHEN w.how IS NOT NULL THEN 'unknown'
                ELSE 'nothing' END AS state
    FROM objects AS o LEFT JOIN ways AS w ON w.series = o.series
         AND w.entry IS NOT DISTINCT FROM o.entry
    LEFT JOIN fetched AS f ON f.image = w.image
    LEFT JOIN listed AS l ON l.image = w.image
    LEFT JOIN named AS n ON n.series = o.series AND n.entry = o.entry AND n.image = w.image
)
SELECT series AS SeriesInstanceUID, entry AS entry_name, sop AS SOPInstanceUID,
       collection AS Collection, modality AS Modality, state, how,
       CASE WHEN state = 'paired' THEN row_number() OVER (
           PARTITION BY series, entry ORDER BY state <> 'paired',
           list_position(['series', 'sop', 'frame_of_reference'], how), named DESC,
           list_position(['CT', 'MR', 'PT'], image_modality) NULLS LAST, image
       ) END AS rank,
       image AS image_series_instance_uid, image_collection, image_modality,
       named AS referenced_images
FROM pairs ORDER BY SeriesInstanceUID, entry_name NULLS FIRST, rank NULLS LAST, how, image
"""


def find_pairs(warehouse: Warehouse, series: Sequence[str]) -> pa.Table:
    """Return each object of some Series with each image Series that it belongs to.

    Args:
        warehouse: Where `references` and `images` are.
        series: The SeriesInstanceUIDs of the objects.

    Returns:
        A table with `SCHEMA`: a row for each object and image Series, and a row for an object
        without any. `state` is a key of `STATES`, `how` is one of `WAYS`. `rank` orders the image
        Series of an object that are `paired`, from 1: first by way (a reference to the Series,
        then to its images; the frame of reference, within the object's Study, counts only if these
        find nothing), then by `referenced_images`, then CT, MR, PT, then by UID.
        `referenced_images` is the number of images of that Series that the object refers to.

    Raises:
        UsageError: DuckDB rejects the query.
    """
    wanted = {"wanted_series": pa.table({"uid": pa.array(series, pa.string())})}
    acquired = ", ".join(map(sql.literal, sorted(ACQUIRED_MODALITIES)))
    return warehouse.query(_PAIRS.format(acquired=acquired), tables=wanted).cast(SCHEMA)
