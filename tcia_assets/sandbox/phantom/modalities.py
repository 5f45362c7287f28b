"""How each modality is made: its SOP class, the size of its objects, and its recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pydicom import uid
from pydicom.dataset import Dataset

from tcia_assets.sandbox.phantom import (
    documents,
    element_values,
    projections,
    radiotherapy,
    segmentation,
    volumes,
)
from tcia_assets.sandbox.phantom.header import Recipe, Submission

KIB = 1024


@dataclass(frozen=True)
class Modality:
    """How the objects of a modality are made; `object_bytes` is the size of each."""

    sop_class: str
    object_bytes: int
    recipe: Callable[[Dataset, Submission], Recipe]


# 8 KiB of pixels leave 4 KiB for a header, whose texts may need 4 bytes per character.
MODALITIES = {
    "CT": Modality(uid.CTImageStorage, 12 * KIB, volumes.ct),
    "MR": Modality(uid.MRImageStorage, 12 * KIB, volumes.mr),
    "PT": Modality(uid.PositronEmissionTomographyImageStorage, 13 * KIB, volumes.pt),
    "CR": Modality(uid.ComputedRadiographyImageStorage, 12 * KIB, projections.cr),
    "DX": Modality(uid.DigitalXRayImageStorageForPresentation, 12 * KIB, projections.dx),
    "MG": Modality(uid.DigitalMammographyXRayImageStorageForPresentation, 12 * KIB, projections.mg),
    "XA": Modality(uid.XRayAngiographicImageStorage, 12 * KIB, projections.xa),
    "RF": Modality(uid.XRayRadiofluoroscopicImageStorage, 12 * KIB, projections.rf),
    "US": Modality(uid.UltrasoundImageStorage, 8 * KIB, projections.us),
    "NM": Modality(uid.NuclearMedicineImageStorage, 12 * KIB, projections.nm),
    "SEG": Modality(uid.SegmentationStorage, 32 * KIB, segmentation.seg),
    "RTSTRUCT": Modality(uid.RTStructureSetStorage, 32 * KIB, radiotherapy.rtstruct),
    "RTDOSE": Modality(uid.RTDoseStorage, 12 * KIB, radiotherapy.rtdose),
    "RTPLAN": Modality(uid.RTPlanStorage, 8 * KIB, radiotherapy.rtplan),
    "SR": Modality(uid.BasicTextSRStorage, 8 * KIB, documents.sr),
    "REG": Modality(uid.SpatialRegistrationStorage, 8 * KIB, documents.reg),
}

_OTHER = Modality(uid.SecondaryCaptureImageStorage, 12 * KIB, projections.secondary_capture)


def modality_of(modality: object) -> Modality:
    """Return how a modality is made; unknown ones are Secondary Captures."""
    return MODALITIES.get(element_values.code_string(modality) or "", _OTHER)
