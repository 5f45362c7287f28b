"""Which library decompresses pixels: one for each transfer syntax, always the same one.

pydicom would try all that are installed. Lossy pixels may differ between them, so the choice is
made here, and is part of what a dataset was made with.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version

from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    UID,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLETransferSyntaxes,
)

from tcia_assets.datasets.volume.series_zip import DicomObject
from tcia_assets.errors import MissingExtra

# The best one first: those that are made for DICOM, then Pillow.
_PACKAGES: Mapping[str, tuple[str, ...]] = {
    "pylibjpeg": ("pylibjpeg", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg", "pylibjpeg-rle"),
    "gdcm": ("python-gdcm", "gdcm"),
    "pyjpegls": ("pyjpegls",),
    "pillow": ("pillow",),
    "pydicom": ("pydicom",),
}
_COMPRESSED = (
    *JPEGTransferSyntaxes,
    *JPEGLSTransferSyntaxes,
    *JPEG2000TransferSyntaxes,
    *RLETransferSyntaxes,
)


def decoder_of(dicom_object: DicomObject) -> str:
    """Return the plugin of pydicom that decompresses an object; "" if its pixels are not.

    Raises:
        MissingExtra: No decoder for its transfer syntax is installed.
    """
    syntax = _syntax(dicom_object)
    if not syntax.is_compressed or syntax.is_deflated:
        return ""
    if not (found := _decoder(syntax)) and _is_decodable(syntax):
        raise MissingExtra("pylibjpeg", "codecs", f"decoding pixels as {syntax.name}")
    return found


def decoders_of(dicom_objects: Iterable[DicomObject]) -> str:
    """Return the names of the decoders of some objects, sorted; "" if there are none."""
    return ", ".join(sorted({decoder_of(each) for each in dicom_objects} - {""}))


def made_with() -> dict[str, str]:
    """Return which decoder reads which transfer syntaxes, and the versions of these libraries."""
    syntaxes: dict[str, list[str]] = defaultdict(list)
    for uid in _COMPRESSED:
        if decoder := _decoder(UID(uid)):
            syntaxes[decoder].append(UID(uid).keyword)
    packages = (package for decoder in syntaxes for package in _PACKAGES[decoder])
    texts = [f"{decoder} ({', '.join(syntaxes[decoder])})" for decoder in sorted(syntaxes)]
    return {"decoders": ", ".join(texts)} | {
        package: number for package in packages if (number := installed(package))
    }


def installed(package: str) -> str:
    """Return the version of an installed package; "" without it."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _decoder(syntax: UID) -> str:
    """Return the best decoder that is installed; "" if there is none."""
    available = get_decoder(syntax).available_plugins if _is_decodable(syntax) else ()
    return next((name for name in _PACKAGES if name in available), "")


def _is_decodable(syntax: UID) -> bool:
    try:
        get_decoder(syntax)
    except NotImplementedError:
        return False
    return True


def _syntax(dicom_object: DicomObject) -> UID:
    return UID(dicom_object.header.file_meta.get("TransferSyntaxUID", ""))
