"""Which modality is made how, as which SOP class, and how large each of its objects is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pydicom import uid
from pydicom.dataset import Dataset

from tcia_assets.sandbox.phantom import (
    documents,
    projections,
    radiotherapy,
    segmentation,
    values,
    volumes,
)
from tcia_assets.sandbox.phantom.header import Recipe, Submission

KIB = 1024


@dataclass(frozen=True)
class Kind:
    """How the objects of a modality are made."""

    sop_class: str
    object_bytes: int
    recipe: Callable[[Dataset, Submission], Recipe]


# 8 KiB of pixels leave 4 for a header, whose texts may need 4 bytes a character
KINDS = {
    "CT": Kind(uid.CTImageStorage, 12 * KIB, volumes.ct),
    "MR": Kind(uid.MRImageStorage, 12 * KIB, volumes.mr),
    "PT": Kind(uid.PositronEmissionTomographyImageStorage, 13 * KIB, volumes.pt),
    "CR": Kind(uid.ComputedRadiographyImageStorage, 12 * KIB, projections.cr),
    "DX": Kind(uid.DigitalXRayImageStorageForPresentation, 12 * KIB, projections.dx),
    "MG": Kind(uid.DigitalMammographyXRayImageStorageForPresentation, 12 * KIB, projections.mg),
    "XA": Kind(uid.XRayAngiographicImageStorage, 12 * KIB, projections.xa),
    "RF": Kind(uid.XRayRadiofluoroscopicImageStorage, 12 * KIB, projections.rf),
    "US": Kind(uid.UltrasoundImageStorage, 8 * KIB, projections.us),
    "NM": Kind(uid.NuclearMedicineImageStorage, 12 * KIB, projections.nm),
    "SEG": Kind(uid.SegmentationStorage, 32 * KIB, segmentation.seg),
    "RTSTRUCT": Kind(uid.RTStructureSetStorage, 32 * KIB, radiotherapy.rtstruct),
    "RTDOSE": Kind(uid.RTDoseStorage, 12 * KIB, radiotherapy.rtdose),
    "RTPLAN": Kind(uid.RTPlanStorage, 8 * KIB, radiotherapy.rtplan),
    "SR": Kind(uid.BasicTextSRStorage, 8 * KIB, documents.sr),
    "REG": Kind(uid.SpatialRegistrationStorage, 8 * KIB, documents.reg),
}

_OTHER = Kind(uid.SecondaryCaptureImageStorage, 12 * KIB, projections.secondary_capture)


def kind_of(modality: object) -> Kind:
    """The kind of a modality; what we do not know is a Secondary Capture."""
    return KINDS.get(values.code_string(modality) or "", _OTHER)
