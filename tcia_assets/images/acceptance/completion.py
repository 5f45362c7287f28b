"""Write a whole zip from an incomplete one and the images that it lacks.

How a zip is written is in `formats/series_zip.py`, where the images come from in `images.download`.
The result must pass `accept` like any other zip.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile

from tcia_assets.errors import BadArchive
from tcia_assets.formats.series_zip import LICENSE, write_series_zip
from tcia_assets.images.acceptance.directory import MalformedZip, Zip, check_member_name, open_zip
from tcia_assets.images.acceptance.inflate import inflate
from tcia_assets.images.acceptance.rules import MAX_MEMBERS, NON_IMAGE_MEMBERS, Member


def pack(source: Path, keep: Sequence[Member], extra: Mapping[str, Path], target: Path) -> None:
    """Write a zip with kept members of another zip, its LICENSE, and more images.

    Kept members are copied in the order of `source`; each is compressed, or not, as it was there.
    The images of `extra` follow, sorted by name, and a list of all MD5s ends the zip. The same
    input gives the same bytes. The MD5s of `extra` are those of its files, so that list proves
    nothing about what the source has.

    Args:
        source: The incomplete zip.
        keep: Its good images.
        extra: The files of further images, by the name that each gets in the zip.
        target: The file to write.

    Raises:
        BadArchive: `source` is malformed or lacks a member of `keep`, its LICENSE is damaged, or
            two members would have the same name.
        OSError: A file cannot be read or written.
    """
    try:
        with open_zip(source, MAX_MEMBERS) as zip_file:
            _check_names(zip_file, keep, extra)
            _check_license(zip_file)
        _write(source, {member.name: member.md5 for member in keep}, extra, target)
    except (MalformedZip, BadZipFile) as error:
        raise BadArchive(str(error), table="image_archives", key=source.name) from error


def _check_names(zip_file: Zip, keep: Sequence[Member], extra: Mapping[str, Path]) -> None:
    images = {entry.name for entry in zip_file.entries} - NON_IMAGE_MEMBERS
    for member in keep:
        if member.name not in images:
            raise MalformedZip(f"the zip has no image {member.name!r} to keep")
    names = [name.casefold() for name in [*(m.name for m in keep), *extra, *NON_IMAGE_MEMBERS]]
    if len(set(names)) < len(names):
        raise MalformedZip("two members of the new zip would have the same name")
    for name in extra:
        check_member_name(name)


def _check_license(zip_file: Zip) -> None:
    for entry in zip_file.entries:
        if entry.name == LICENSE:
            inflate(zip_file.compressed(entry), entry)


def _write(source: Path, kept: Mapping[str, str], extra: Mapping[str, Path], target: Path) -> None:
    """Write the members; `kept` are the MD5s of kept images by name."""
    with ZipFile(source) as old, write_series_zip(target) as new:
        for member in old.infolist():
            name, size, method = member.filename, member.file_size, member.compress_type
            if name == LICENSE:
                with old.open(member) as content:
                    new.add(name, content, size, method=method)
            elif name in kept:
                with old.open(member) as content:
                    new.add_image(name, content, size, kept[name], method=method)
        for name, path in sorted(extra.items()):
            with path.open("rb") as content:
                md5 = hashlib.file_digest(content, partial(hashlib.md5, usedforsecurity=False))
                content.seek(0)
                size = path.stat().st_size
                new.add_image(name, content, size, md5.hexdigest(), method=ZIP_DEFLATED)
