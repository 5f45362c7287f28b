"""Names of sources, as in the column `source`: software and version, then the host.

    nbia-v4@nbia.cancerimagingarchive.net
    idc-v25@s3.amazonaws.com
    local-folder@localhost

The first word is the family. Sources of one family list the same Series, wherever they are and
whichever version they have; those of two families may know different ones.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from tcia_assets import catalog

IDC = "idc"
# The family of folders that were imported. No server lists what only they have.
FOLDER = catalog.FOLDER
FOLDER_NAME = f"{FOLDER}-folder@localhost"


def family_of(name: str) -> str:
    """Return the family of a source.

    >>> family_of("nbia-v4@nbia.cancerimagingarchive.net")
    'nbia'
    """
    return name.partition("@")[0].partition("-")[0]


def families_of(names: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the family of each source; null if the source is not known."""
    return pc.replace_substring_regex(names, "[-@].*", "")


def is_of_family(names: pa.ChunkedArray, source: str) -> pa.ChunkedArray:
    """Return whether each source is of this one's family; a source that is not known is."""
    return pc.fill_null(pc.equal(families_of(names), family_of(source)), fill_value=True)


def systems_of(names: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return what answers: the software and its version, or the family alone if it has releases.

    It is the same under a different host or port, and in the next release.
    """
    return pc.replace_substring_regex(names, f"^({IDC})-.*|@.*", "\\1")


def releases_of(names: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the version of the release that each row is from, as a number; null for a server."""
    found = pc.extract_regex(names, f"^{IDC}-v(?P<version>[0-9]+)@")
    return pc.struct_field(found, "version").cast(pa.int64())
