"""The MD5 hierarchy of NBIA in SQL: objects, Series, Studies, Patients, Collection.

The hash of a node is the MD5 of its children's hashes in hexadecimal, sorted and concatenated; the
hashes of objects are the MD5s of their files (NBIA, GeneralSeriesDAOImpl.java). In Python it is
`formats.md5_list.combined_md5`.
"""

from __future__ import annotations


def content_md5_sql(condition: str) -> str:
    """Return SQL for `SeriesInstanceUID` and `content_md5`: the hash of Series on disk.

    A Series has a row only if `images` has the MD5 of each object in its present zip.

    Args:
        condition: Which Series; `a` is their row of `image_archives`.
    """
    return f"""
        SELECT SeriesInstanceUID,
               md5(string_agg(lower(md5), '' ORDER BY lower(md5))) AS content_md5
        FROM images JOIN image_archives AS a USING (SeriesInstanceUID)
        WHERE images.archive_sha256 = a.sha256 AND {condition}
        GROUP BY SeriesInstanceUID HAVING count(md5) = count(*)
    """
