"""The archive's tree of hashes, made anew: images, Series, Studies, Patients, Collection.

The hash of a node is the MD5 of its children's hashes, as hex, sorted and strung together; those of
images are the MD5s of their files (NBIA, GeneralSeriesDAOImpl.java).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def hash_of(children: Iterable[str]) -> str:
    """The hash of a node whose children have these hashes.

    >>> hash_of(["0cc175b9c0f1b6a831c399e269772661"])
    'd7afde3e7059cd0a0fe09eec4b0008cd'
    """
    joined = "".join(sorted(child.lower() for child in children))
    return hashlib.md5(joined.encode(), usedforsecurity=False).hexdigest()


def contents(which: str) -> str:
    """SQL for `SeriesInstanceUID` and `content_md5`: the hash of each Series, as `images` has it.

    Of those on disk (`a` is their row of `image_archives`) for which `which` holds and of which
    `images` has the MD5 of each object of the very zip; there is no row of others.
    """
    return f"""
        SELECT SeriesInstanceUID,
               md5(string_agg(lower(md5), '' ORDER BY lower(md5))) AS content_md5
        FROM images JOIN image_archives AS a USING (SeriesInstanceUID)
        WHERE images.archive_sha256 = a.sha256 AND {which}
        GROUP BY SeriesInstanceUID HAVING count(md5) = count(*)
    """
