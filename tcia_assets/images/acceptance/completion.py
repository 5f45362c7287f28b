"""Write a whole zip from an incomplete one and the images that it lacks.

Writing the zip belongs here. Where the images come from is in `images.download`. The result
must pass `accept` like any other zip.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile, ZipInfo

from tcia_assets.errors import BadArchive
from tcia_assets.images.acceptance import md5_list
from tcia_assets.images.acceptance.directory import MalformedZip, Zip, check_member_name, open_zip
from tcia_assets.images.acceptance.inflate import inflate
from tcia_assets.images.acceptance.rules import LICENSE, MAX_MEMBERS, NON_IMAGE_MEMBERS, Member

_PIECE_BYTES = 1 << 20


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
    md5s: dict[str, str] = {}
    with ZipFile(source) as old, ZipFile(target, "w") as new:
        for member in old.infolist():
            name = member.filename
            if name == LICENSE or name in kept:
                with old.open(member) as content:
                    _add(new, name, content, member.file_size, method=member.compress_type)
            if name in kept:
                md5s[name] = kept[name]
        for name, path in sorted(extra.items()):
            with path.open("rb") as content:
                _add(new, name, content, path.stat().st_size)
                content.seek(0)
                md5 = hashlib.file_digest(content, partial(hashlib.md5, usedforsecurity=False))
            md5s[name] = md5.hexdigest()
        new.writestr(ZipInfo(md5_list.FILE_NAME), md5_list.format_list(md5s.items()), ZIP_DEFLATED)


def _add(
    new: ZipFile, name: str, content: IO[bytes], size: int, *, method: int = ZIP_DEFLATED
) -> None:
    # The time of a new ZipInfo is fixed, so that the same images give the same zip.
    member = ZipInfo(name)
    member.compress_type, member.file_size = method, size
    with new.open(member, "w") as file:
        shutil.copyfileobj(content, file, _PIECE_BYTES)
