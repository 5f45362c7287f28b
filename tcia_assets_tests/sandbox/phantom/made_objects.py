"""Objects of the phantom for tests: rows, their files, and their datasets."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterator, Mapping
from datetime import date

import numpy as np
import pydicom
from numpy.typing import NDArray

from tcia_assets.sandbox import phantom
from tcia_assets.sandbox.phantom.modalities import MODALITIES as DECLARED

VOLUMES = ["CT", "MR", "PT"]


WITHOUT_PIXELS = ["RTSTRUCT", "RTPLAN", "SR", "REG"]


OTHERS = ["KO", "PR", "SM", "FUSION", "SC", "OT", "a modality of tomorrow"]


MODALITIES = [*DECLARED, *OTHERS]


WITH_PIXELS = [modality for modality in MODALITIES if modality not in WITHOUT_PIXELS]


TEXTS = [
    "PatientID",
    "PatientName",
    "PatientSex",
    "PatientAge",
    "Collection",
    "SeriesDescription",
    "StudyDescription",
    "BodyPartExamined",
    "Manufacturer",
    "ManufacturerModelName",
    "SoftwareVersions",
    "ProtocolName",
]


def row(modality: str, image_count: int = 1, **others: object) -> dict[str, object]:
    return {
        "SeriesInstanceUID": f"1.3.6.1.4.1.14519.5.2.1.{len(modality)}.{sum(map(ord, modality))}",
        "StudyInstanceUID": "1.3.6.1.4.1.14519.5.2.1.6279.6001.298806137288633453246975630178",
        "PatientID": "LIDC-IDRI-0001",
        "PatientName": "LIDC-IDRI-0001",
        "PatientSex": "F",
        "PatientAge": "061Y",
        "Collection": "LIDC-IDRI",
        "Modality": modality,
        "SeriesDate": date(2000, 1, 2),
        "StudyDate": date(2000, 1, 1),
        "SeriesDescription": "R MLO",
        "StudyDescription": "Thorax",
        "BodyPartExamined": "CHEST",
        "SeriesNumber": 3000566,
        "Manufacturer": "GE MEDICAL SYSTEMS",
        "ManufacturerModelName": "LightSpeed Plus",
        "SoftwareVersions": None,
        "ProtocolName": None,
        "ImageCount": image_count,
    } | others


def files(
    series: Mapping[str, object], source: Mapping[str, object] | None = None, revision: int = 0
) -> list[bytes]:
    return [content for _, content in phantom.objects(series, source, revision)]


def read(content: bytes) -> pydicom.Dataset:
    """The whole object, each element decoded, any doubt of pydicom's an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = pydicom.dcmread(io.BytesIO(content))
        dataset.walk(lambda _dataset, element: element.value)
        return dataset


def opened(
    series: Mapping[str, object], source: Mapping[str, object] | None = None, revision: int = 0
) -> list[pydicom.Dataset]:
    return [read(content) for content in files(series, source, revision)]


def digest() -> str:
    """A hash of one object or more of each modality; also computed in other processes."""
    source = row("PT", 20)
    total = hashlib.sha256()
    for modality in MODALITIES:
        for content in files(row(modality, 3), source, revision=1):
            total.update(content)
    return total.hexdigest()


def lesion_in(slices: list[pydicom.Dataset]) -> NDArray[np.bool_]:
    """The lesion as a PT shows it: nothing else is half as bright."""
    return np.stack([item.pixel_array * float(item.RescaleSlope) > 20_000 for item in slices])


def frames(
    seg: pydicom.Dataset, segment: int
) -> Iterator[tuple[pydicom.Dataset, NDArray[np.bool_]]]:
    for groups, mask in zip(seg.PerFrameFunctionalGroupsSequence, seg.pixel_array, strict=True):
        if groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber == segment:
            yield groups, mask.astype(bool)
