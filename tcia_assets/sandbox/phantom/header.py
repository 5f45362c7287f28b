"""The header elements of all objects: Patient, Study, Series, equipment, and synthetic data.

They do not depend on the modality. UIDs that the catalogue lacks are made here too.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydicom.dataset import Dataset

from tcia_assets.sandbox.phantom import element_values

Row = Mapping[str, object]

SYNTHETIC = "Synthetic phantom by tcia_assets sandbox; not a patient image"  # fits an LO
CREATED = "20240101"  # the date of elements that the catalogue has no date for

_NAMESPACE = uuid.UUID("d8eff200-f576-5a4f-a9d5-fd62ed62d2de")


@dataclass(frozen=True)
class Submission:
    """A Series as it was submitted, for the first time or again."""

    series: Row
    source: Row | None  # the image Series to which it refers
    revision: int

    @property
    def patient(self) -> str:
        """The PatientID."""
        return str(self.series.get("PatientID"))

    @property
    def seed(self) -> str:
        """The seed of its noise."""
        return f"{self.series.get('SeriesInstanceUID')} {self.revision}"


@dataclass(frozen=True)
class Recipe:
    """The shared header of a Series' objects, and a function for the rest of each."""

    header: Dataset
    instance: Callable[[int], Dataset]  # from an index to the object's own elements


def no_own_elements(_index: int) -> Dataset:
    """Return an empty dataset, for objects that differ only in UID and number."""
    return Dataset()


def made_uid(*names: object) -> str:
    """Return a valid UID that depends on the names alone (PS3.5 B.2)."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, ' '.join(map(str, names))).int}"


def sop_instance_uids(series_uid: str, count: int) -> list[str]:
    """Return the SOPInstanceUIDs of a Series, in the order of InstanceNumber."""
    return [made_uid(series_uid, index) for index in range(count)]


def frame_of_reference(row: Row) -> str:
    """Return the FrameOfReferenceUID, the same for all Series of a Study."""
    study = row.get("StudyInstanceUID") or row.get("SeriesInstanceUID")
    return made_uid("frame of reference", study)


def dataset(**attributes: object) -> Dataset:
    """Return a dataset of these attributes, by keyword."""
    made = Dataset()
    add(made, **attributes)
    return made


def add(target: Dataset, **attributes: object) -> None:
    """Set attributes of a dataset, by keyword."""
    for keyword, value in attributes.items():
        setattr(target, keyword, value)


def code(value: str, scheme: str, meaning: str) -> list[Dataset]:
    """Return a code sequence of one item."""
    return [dataset(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)]


def common_header(row: Row, sop_class: str, revision: int) -> Dataset:
    """Return the elements of every object; unknown values are empty or left out.

    The revision changes the time of creation, so that objects without pixels change too.
    """
    header = dataset(
        SpecificCharacterSet="ISO_IR 192",
        SOPClassUID=sop_class,
        InstanceCreationDate=CREATED,
        InstanceCreationTime=element_values.clock(revision),
        SyntheticData="YES",
        InstitutionName="tcia_assets sandbox",
        DeviceSerialNumber="SANDBOX",
        StudyTime="",
        AccessionNumber="",
        ReferringPhysicianName="",
        PatientBirthDate="",
        StudyID="",
        Modality=element_values.code_string(row.get("Modality")) or "OT",
        StudyDate=element_values.day(row.get("StudyDate")) or "",
        PatientName=element_values.person_name(row.get("PatientName")) or "",
        PatientID=element_values.text(row.get("PatientID"), 64) or "",
        PatientSex=element_values.sex(row.get("PatientSex")) or "",
        Manufacturer=element_values.text(row.get("Manufacturer"), 64) or "",
        SeriesNumber=element_values.whole(row.get("SeriesNumber")),
    )
    add(header, **{keyword: value for keyword, value in _optional(row).items() if value})
    _add_collection(header, row)
    return header


def require_series_number(header: Dataset) -> None:
    """Set SeriesNumber if it is unknown, for SOP classes that require it."""
    if header.SeriesNumber is None:
        header.SeriesNumber = 1


def _optional(row: Row) -> dict[str, str | None]:
    texts = (
        "SeriesDescription",
        "StudyDescription",
        "ManufacturerModelName",
        "SoftwareVersions",
        "ProtocolName",
    )
    return {keyword: element_values.text(row.get(keyword), 64) for keyword in texts} | {
        "StudyInstanceUID": element_values.uid(row.get("StudyInstanceUID")),
        "SeriesInstanceUID": element_values.uid(row.get("SeriesInstanceUID")),
        "SeriesDate": element_values.day(row.get("SeriesDate")),
        "PatientAge": element_values.age(row.get("PatientAge")),
        "BodyPartExamined": element_values.code_string(row.get("BodyPartExamined")),
    }


def _add_collection(header: Dataset, row: Row) -> None:
    """Add the Collection as TCIA does: in CTP's private element (0013,xx10)."""
    if name := element_values.text(row.get("Collection"), 64):
        header.private_block(0x0013, "CTP", create=True).add_new(0x10, "LO", name)
