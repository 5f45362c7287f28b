"""Whether a Series' zip is what the archive says it is, and what of it is good where it is not.

What belongs here: the rule by which a zip is accepted, and the making of a whole zip from a short
one. What does not: fetching, and what becomes of a zip that fails (`archive`).

The archive turns its own failures into valid but shorter zips with status 200, so that "the zip
opens and its CRCs are right" proves nothing. What does: `md5hashes.csv`, which it writes last, and
the count and byte sum that `getSeries` told beforehand. Limits come before inflation.

    directory   the zip format, strictly: what a zip claims, and that nothing hides in it
    inflate     a member -> its MD5 and its head, in bounded memory, and that nothing hides in it
    md5_list    md5hashes.csv
    rules       accept and inspect
    completion  pack
"""

from tcia_assets.images.acceptance.completion import pack
from tcia_assets.images.acceptance.rules import (
    NON_IMAGE_MEMBERS,
    Expectation,
    Inspection,
    Member,
    Proof,
    accept,
    inspect,
)

__all__ = [
    "NON_IMAGE_MEMBERS",
    "Expectation",
    "Inspection",
    "Member",
    "Proof",
    "accept",
    "inspect",
    "pack",
]
