"""Our nouns: every table that this package publishes, every dialect that the archive has spoken.

What belongs here: each fact about the archive's data, once. The request, the reader, the Arrow
schema, the Parquet path, the DuckDB view, the asset, its checks, the data dictionary and the
sandbox's answers follow from it. What does not: anything that does something.

The facts about the servers were read off their source (nbia-api, CBIIT/NBIA-TCIA); those about
Bindaas, which is closed, come from its guide and its clients.
"""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from tcia_assets.errors import UnknownName
from tcia_assets.spec import Column, Dialect, Endpoint, Kind, Parameter, Parent, Table, ValueFormat

# --- Kinds --------------------------------------------------------------------------------------

uid = Kind("uid", pa.string(), "a DICOM UID: 1 to 64 digits and dots")
text = Kind("text", pa.string(), "text")
day = Kind("day", pa.date32(), "a day")
instant = Kind("instant", pa.timestamp("us", tz="UTC"), "an instant")
count = Kind("count", pa.int64(), "a count: a whole number, 0 or more")
size = Kind("size", pa.int64(), "a size in bytes: a whole number, 0 or more")
whole = Kind("whole", pa.int64(), "a whole number")
number = Kind("number", pa.float64(), "a number")
flag = Kind("flag", pa.bool_(), "true or false")
numbers = Kind("numbers", pa.list_(pa.float64()), "a list of numbers")
texts = Kind("texts", pa.list_(pa.string()), "a list of texts")

# --- Columns: DICOM attributes have their keyword, the archive's own fields their nbia-v4 name ----

COLLECTION = text("Collection", "Collection: the archive's unit of publication.", required=True)
SERIES_UID = uid(
    "SeriesInstanceUID", "Unique identifier of the Series.", tag="(0020,000E)", required=True
)
STUDY_UID = uid("StudyInstanceUID", "Unique identifier of the Study.", tag="(0020,000D)")
SOP_UID = uid("SOPInstanceUID", "Unique identifier of the DICOM object.", tag="(0008,0018)")
PATIENT_ID = text(
    "PatientID",
    "Identifier of the Patient; unique only within a Collection.",
    wire_names=("PatientId",),
    tag="(0010,0020)",
)
PATIENT_NAME = text("PatientName", "Name of the Patient, a pseudonym.", tag="(0010,0010)")
PATIENT_BIRTH_DATE = day("PatientBirthDate", "Birth date, as de-identified.", tag="(0010,0030)")
PATIENT_SEX = text("PatientSex", "Sex of the Patient: M, F or O.", tag="(0010,0040)")
PATIENT_AGE = text("PatientAge", "Age as DICOM writes it, such as 063Y.", tag="(0010,1010)")
ETHNIC_GROUP = text("EthnicGroup", "Ethnic group as the submitter wrote it.", tag="(0010,2160)")
PHANTOM = text("Phantom", "YES for a phantom; the archive says NO where nothing was recorded.")
SPECIES_CODE = text(
    "SpeciesCode", "SNOMED CT code of the species; human (337915000) where none was recorded."
)
SPECIES = text("SpeciesDescription", "Species; Homo sapiens where none was recorded.")
AUTHORIZED = flag("Authorized", "Whether the asking user may fetch the images (nbia-v4).")
MODALITY = text("Modality", "Kind of equipment that made the Series.", tag="(0008,0060)")
BODY_PART = text("BodyPartExamined", "Body part, as written in the header.", tag="(0018,0015)")
MANUFACTURER = text("Manufacturer", "Maker of the equipment, as written.", tag="(0008,0070)")
MODEL = text("ManufacturerModelName", "Model of the equipment.", tag="(0008,1090)")
SOFTWARE = text("SoftwareVersions", "Software of the equipment.", tag="(0018,1020)")
SITE = text("Site", "Site that submitted the data (nbia-v4).")
STUDY_DATE = day("StudyDate", "Date of the Study, shifted by de-identification.", tag="(0008,0020)")
STUDY_DESCRIPTION = text(
    "StudyDescription",
    "What the Study is, cut to 64 characters.",
    wire_names=("StudyDesc",),
    tag="(0008,1030)",
)
STUDY_ID = text("StudyID", "Identifier of the Study given by the site.", tag="(0020,0010)")
DIAGNOSES = text(
    "AdmittingDiagnosesDescription",
    "Diagnoses at admission.",
    wire_names=("AdmittingDiagnosisDescription",),
    tag="(0008,1080)",
)
SERIES_COUNT = count("SeriesCount", "Series of the Study that are visible.")
TEMPORAL_TYPE = text(
    "LongitudinalTemporalEventType",
    "Event that the temporal offset counts from.",
    tag="(0012,0053)",
)
TEMPORAL_OFFSET = number(
    "LongitudinalTemporalOffsetFromEvent",
    "Days from that event to the Study.",
    tag="(0012,0052)",
)
PROTOCOL = text("ProtocolName", "Protocol, cut to 64 characters.", tag="(0018,1030)")
SERIES_DATE = day("SeriesDate", "Date of the Series, shifted.", tag="(0008,0021)")
SERIES_DESCRIPTION = text(
    "SeriesDescription", "What the Series is, cut to 64 characters.", tag="(0008,103E)"
)
SERIES_NUMBER = whole("SeriesNumber", "Number of the Series in its Study.", tag="(0020,0011)")
ANNOTATIONS = text("AnnotationsFlag", "Whether annotation files lie with the Series.")
IMAGE_COUNT = count("ImageCount", "DICOM objects in the Series.")
SUBMITTED = instant(
    "MaxSubmissionTimestamp",
    "When the newest object was submitted; nbia-v4 tells only the day.",
    wire_names=("TimeStamp",),
)
LICENSE_NAME = text("LicenseName", "Licence under which the Series may be used.")
LICENSE_URI = text("LicenseURI", "Where the licence's text is.")
DESCRIPTION_URI = text(
    "DataDescriptionURI",
    "DOI of the data's description, to be cited.",
    wire_names=("CollectionURI",),
)
FILE_SIZE = size("FileSize", "Bytes of all objects of the Series, uncompressed.")
RELEASED = text("ReleasedStatus", "Whether the Series is released: Yes or No (nbia-v4).")
DATE_RELEASED = day(
    "DateReleased",
    "Day of release, typed by a curator: may be back-dated.",
    wire_names=("Date Released",),
)
THIRD_PARTY = text("ThirdPartyAnalysis", "YES for results of a third party's analysis.")
TOTAL_SIZE = size("TotalSizeInBytes", "Bytes of all objects, asked for this one Series.")
OBJECT_COUNT = count("ObjectCount", "DICOM objects, asked for this one Series.")

SOURCE = text("source", "Which archive said so: dialect and host.")
FINGERPRINT = text(
    "fingerprint", "Hash of the archive's columns that matter; changes when one of them does."
)
FETCHED_AT = instant("fetched_at", "When the archive was asked.")
ENTRY_NAME = text("entry_name", "Name of the object in the zip.")
ARCHIVE_SHA256 = text("archive_sha256", "SHA-256 of the zip that it was read from.")

# --- Tables -------------------------------------------------------------------------------------

COLLECTIONS = Table(
    "collections",
    "Collection that the archive lists",
    key=("Collection",),
    endpoint="getCollectionValues",
    columns=(COLLECTION,),
)

_IN_COLLECTION = (Parent("collections", ("Collection",)),)


def _values(name: str, noun: str, column: Column, endpoint: str) -> Table:
    return Table(
        name,
        f"{noun} that occurs in a Collection; null where a Series has none",
        key=("Collection", column.name),
        endpoint=endpoint,
        partitioned_by="Collection",
        columns=(COLLECTION, column),
        parents=_IN_COLLECTION,
    )


MODALITY_VALUES = _values("modality_values", "Modality", MODALITY, "getModalityValues")
BODY_PART_VALUES = _values("body_part_values", "body part", BODY_PART, "getBodyPartValues")
MANUFACTURER_VALUES = _values(
    "manufacturer_values", "manufacturer", MANUFACTURER, "getManufacturerValues"
)

PATIENTS = Table(
    "patients",
    "Patient in a Collection",
    key=("Collection", "PatientID"),
    endpoint="getPatient",
    partitioned_by="Collection",
    parents=_IN_COLLECTION,
    columns=(
        replace(PATIENT_ID, required=True),
        COLLECTION,
        PATIENT_NAME,
        PATIENT_BIRTH_DATE,
        PATIENT_SEX,
        ETHNIC_GROUP,
        PHANTOM,
        SPECIES_CODE,
        SPECIES,
        AUTHORIZED,
    ),
)

STUDIES = Table(
    "studies",
    "Study in a Collection",
    key=("Collection", "StudyInstanceUID"),
    endpoint="getPatientStudy",
    partitioned_by="Collection",
    parents=(Parent("patients", ("Collection", "PatientID")),),
    columns=(
        replace(STUDY_UID, required=True),
        PATIENT_ID,
        COLLECTION,
        STUDY_DATE,
        STUDY_DESCRIPTION,
        DIAGNOSES,
        STUDY_ID,
        PATIENT_AGE,
        PATIENT_NAME,
        PATIENT_BIRTH_DATE,
        PATIENT_SEX,
        ETHNIC_GROUP,
        SERIES_COUNT,
        TEMPORAL_TYPE,
        TEMPORAL_OFFSET,
        AUTHORIZED,
    ),
)

_SERIES_OF_THE_ARCHIVE = (
    SERIES_UID,
    STUDY_UID,
    PATIENT_ID,
    COLLECTION,
    SITE,
    MODALITY,
    PROTOCOL,
    SERIES_DATE,
    SERIES_DESCRIPTION,
    BODY_PART,
    SERIES_NUMBER,
    ANNOTATIONS,
    PATIENT_SEX,
    PATIENT_AGE,
    DIAGNOSES,
    MANUFACTURER,
    MODEL,
    SOFTWARE,
    IMAGE_COUNT,
    SUBMITTED,
    LICENSE_NAME,
    LICENSE_URI,
    DESCRIPTION_URI,
    FILE_SIZE,
    RELEASED,
    DATE_RELEASED,
    STUDY_DESCRIPTION,
    STUDY_DATE,
    THIRD_PARTY,
    AUTHORIZED,
)

SERIES = Table(
    "series",
    "Series ever seen in a Collection, with its life",
    key=("SeriesInstanceUID",),
    endpoint="getSeries",
    partitioned_by="Collection",
    parents=(Parent("studies", ("Collection", "StudyInstanceUID")),),
    columns=(
        *_SERIES_OF_THE_ARCHIVE,
        SOURCE,
        FINGERPRINT,
        instant("first_seen_at", "When a snapshot first listed it.", required=True),
        instant("listed_since", "When it was first listed, or listed again after it was missing."),
        instant("changed_at", "When a snapshot last showed another fingerprint.", required=True),
        instant("missing_since", "First snapshot without it; null while it is listed."),
        count(
            "missing_snapshots",
            "Snapshots without it that count towards its withdrawal; hours lie between them.",
            required=True,
        ),
        instant("missing_counted_at", "The newest snapshot that counted."),
        instant(
            "withdrawn_at",
            "When enough snapshots had counted and the archive, asked for it alone, knew it no more.",
        ),
        text(
            "moved_to",
            "Collection that it belongs to now, where it is another; its row there is the current one.",
        ),
        count("changes", "Events of its life here, all of them in series_changes."),
    ),
)

# What makes two answers about a Series differ. `Authorized` depends on who asks, and the Study's
# and Patient's own attributes change without the images changing.
FINGERPRINT_COLUMNS = (
    "Collection",
    "PatientID",
    "StudyInstanceUID",
    "Modality",
    "SeriesDate",
    "SeriesDescription",
    "BodyPartExamined",
    "SeriesNumber",
    "ProtocolName",
    "Manufacturer",
    "ManufacturerModelName",
    "SoftwareVersions",
    "ImageCount",
    "FileSize",
    "MaxSubmissionTimestamp",
    "DateReleased",
    "LicenseName",
    "LicenseURI",
    "DataDescriptionURI",
    "ThirdPartyAnalysis",
)

# Columns of `series` that `series_changes` can restore: all but those that tell where and which
# Series it is, and those that only count.
_COUNTING = ("missing_snapshots", "missing_counted_at", "changes")
RESTORED_COLUMNS = tuple(
    n for n in SERIES.column_names if n not in (*SERIES.key, SERIES.partitioned_by, *_COUNTING)
)

SERIES_CHANGES = Table(
    "series_changes",
    "event in the life of a Series in a Collection",
    key=("Collection", "SeriesInstanceUID", "event_id"),
    partitioned_by="Collection",
    parents=(Parent("series", ("Collection", "SeriesInstanceUID")),),
    columns=(
        COLLECTION,
        SERIES_UID,
        text("event_id", "What tells this event of the Series from its others.", required=True),
        count(
            "number",
            "Place in the life of the Series, from 1; null for what became of its images.",
        ),
        text(
            "event",
            "added, changed, missing, reappeared, withdrawn, moved; of its images: fetched, refetched.",
            required=True,
        ),
        instant(
            "seen_at", "The snapshot that showed it; of images: when they came.", required=True
        ),
        text("snapshot", "The row of snapshots that showed it; null for moves and images."),
        texts("changed_columns", "What the archive now says otherwise: columns of series."),
        text("before", "JSON: what these columns and the life's were; null for added."),
        text("after", "JSON: what they became."),
        text("fingerprint_before", "Fingerprint of the Series until then."),
        text("fingerprint_after", "Fingerprint of the Series since then."),
    ),
)

SNAPSHOTS = Table(
    "snapshots",
    "complete list of a Collection that was compared with what was stored",
    key=("Collection", "taken_at"),
    partitioned_by="Collection",
    parents=_IN_COLLECTION,
    columns=(
        COLLECTION,
        instant("taken_at", "When the archive was asked.", required=True),
        text("snapshot", "Its name: when, and a hash of all that it listed.", required=True),
        count("listed", "Series that it listed.", required=True),
        count("lost", "Of the Series listed until then, those that it lacked.", required=True),
        flag(
            "plausible",
            "Whether what it lacks counts as missing; otherwise it only adds and changes.",
            required=True,
        ),
        text("reason", "Why it is not plausible, or is in spite of what it lacks; in words."),
        count("changes", "Events that it showed.", required=True),
        day("newest_release", "The newest DateReleased that it listed; null where it told none."),
        SOURCE,
    ),
)

SERIES_SIZES = Table(
    "series_sizes",
    "Series, with its size as asked for singly",
    key=("SeriesInstanceUID",),
    endpoint="getSeriesSize",
    partitioned_by="Collection",
    parents=(Parent("series", ("SeriesInstanceUID",)),),
    columns=(
        SERIES_UID,
        COLLECTION,
        TOTAL_SIZE,
        OBJECT_COUNT,
        FINGERPRINT,
        FETCHED_AT,
    ),
)

SHARED_LISTS = Table(
    "shared_lists",
    "Series on a shared list",
    key=("list_name", "SeriesInstanceUID"),
    endpoint="getContentsByName",
    partitioned_by="list_name",
    columns=(
        text("list_name", "Name of the list; the archive ignores its case.", required=True),
        SERIES_UID,
        STUDY_UID,
        PATIENT_ID,
        replace(COLLECTION, required=False),
        MODALITY,
        PROTOCOL,
        SERIES_DATE,
        SERIES_DESCRIPTION,
        BODY_PART,
        SERIES_NUMBER,
        ANNOTATIONS,
        MANUFACTURER,
        MODEL,
        SOFTWARE,
        IMAGE_COUNT,
        DATE_RELEASED,
    ),
)

IMAGE_ARCHIVES = Table(
    "image_archives",
    "Series selected for fetching: what is on disk and how far to trust it",
    key=("SeriesInstanceUID",),
    partitioned_by="Collection",
    parents=(Parent("series", ("SeriesInstanceUID",)),),
    columns=(
        SERIES_UID,
        COLLECTION,
        text("status", "complete, incomplete, unavailable or failed.", required=True),
        text("path", "Where the zip is, relative to the data root; null where there is none."),
        size("archive_bytes", "Bytes of the zip."),
        count("image_count", "DICOM objects in the zip."),
        size("image_bytes", "Bytes of these objects, inflated."),
        text("sha256", "SHA-256 of the zip."),
        text("verified_by", "md5, count+size or count: the strongest proof that the archive gave."),
        text("fingerprint", "Fingerprint of the Series row that it was last tried for."),
        text("license_name", "Licence of the Series when it was fetched."),
        DESCRIPTION_URI,
        SOURCE,
        FETCHED_AT,
        count("attempts", "How often it was tried since it was last complete."),
        text("error", "Why it is not complete, in words."),
    ),
)

IMAGES = Table(
    "images",
    "DICOM object in a verified archive",
    key=("SOPInstanceUID",),
    partitioned_by="Collection",
    parents=(Parent("image_archives", ("SeriesInstanceUID",)),),
    columns=(
        SOP_UID,
        SERIES_UID,
        STUDY_UID,
        PATIENT_ID,
        COLLECTION,
        uid("SOPClassUID", "What kind of object it is.", tag="(0008,0016)"),
        MODALITY,
        uid("TransferSyntaxUID", "How it is encoded.", tag="(0002,0010)"),
        whole("InstanceNumber", "Number of the object in its Series.", tag="(0020,0013)"),
        count("Rows", "Rows of pixels.", tag="(0028,0010)"),
        count("Columns", "Columns of pixels.", tag="(0028,0011)"),
        count("NumberOfFrames", "Frames in the object.", tag="(0028,0008)"),
        numbers("PixelSpacing", "Row and column spacing in mm.", tag="(0028,0030)"),
        number("SliceThickness", "Thickness in mm.", tag="(0018,0050)"),
        numbers("ImagePositionPatient", "First pixel's place in mm.", tag="(0020,0032)"),
        numbers("ImageOrientationPatient", "Row and column direction.", tag="(0020,0037)"),
        uid("FrameOfReferenceUID", "Which space positions are in.", tag="(0020,0052)"),
        number("RescaleSlope", "Stored value times this ...", tag="(0028,1053)"),
        number("RescaleIntercept", "... plus this is the real value.", tag="(0028,1052)"),
        ENTRY_NAME,
        size("size_bytes", "Bytes of the object."),
        text("md5", "MD5 of the object."),
        ARCHIVE_SHA256,
        text(
            "error",
            "Why its header, or which of its values, cannot be read; null where all is well.",
        ),
    ),
)

# Modalities of which an object is what a machine took: it stands for itself. Those of all others
# (SEG, RTSTRUCT, RTDOSE, SR, PR, ...) are about images and say which.
ACQUIRED_MODALITIES = frozenset(
    {"BI", "CR", "CT", "DX", "ECG", "ES", "GM", "IO", "IVOCT", "IVUS", "MG", "MR", "NM", "OCT"}
    | {"OP", "OPT", "PT", "PX", "RF", "RG", "SM", "US", "XA", "XC"}
)

_ABOUT_IMAGES = (SOP_UID, SERIES_UID, COLLECTION, MODALITY, ENTRY_NAME)

REFERENCES = Table(
    "references",
    "reference that an object about images (SEG, RTSTRUCT, RTDOSE, SR, PR and the like) makes; "
    "one row that says so for an object that makes none or cannot be read",
    key=(
        "SeriesInstanceUID",
        "entry_name",
        "how",
        "referenced_series_instance_uid",
        "referenced_sop_instance_uid",
        "referenced_frame_of_reference_uid",
    ),
    partitioned_by="Collection",
    parents=(Parent("image_archives", ("SeriesInstanceUID",)),),
    columns=(
        *_ABOUT_IMAGES,
        text(
            "how",
            "series, sop or frame_of_reference: what is named; null where nothing is.",
        ),
        uid(
            "referenced_series_instance_uid",
            "Series that is named, or below which the object stands that is named.",
        ),
        uid("referenced_sop_instance_uid", "Object that is named."),
        uid("referenced_frame_of_reference_uid", "Frame of reference that is named."),
        ARCHIVE_SHA256,
        text("error", "Why its references cannot be read; null where all is well."),
    ),
)

TARGETS = Table(
    "targets",
    "segment of a SEG or ROI of an RTSTRUCT",
    key=("SeriesInstanceUID", "entry_name", "target_place"),
    partitioned_by="Collection",
    parents=(Parent("image_archives", ("SeriesInstanceUID",)),),
    columns=(
        *_ABOUT_IMAGES,
        count("target_place", "Its place among those of the object, from 1.", required=True),
        whole("target_number", "SegmentNumber or ROINumber."),
        text("target_name", "SegmentLabel or ROIName, as written."),
        text("target_type", "RTROIInterpretedType, or SEG's type as scheme:code."),
        text("target_type_meaning", "What the code of the type means, as written."),
        text("target_category", "SEG's category, as scheme:code."),
        count("contour_count", "Contours of an ROI; null for a segment."),
        uid("referenced_frame_of_reference_uid", "Frame of reference of an ROI."),
        ARCHIVE_SHA256,
    ),
)

TABLES = (
    COLLECTIONS,
    MODALITY_VALUES,
    BODY_PART_VALUES,
    MANUFACTURER_VALUES,
    PATIENTS,
    STUDIES,
    SERIES,
    SERIES_CHANGES,
    SNAPSHOTS,
    SERIES_SIZES,
    SHARED_LISTS,
    IMAGE_ARCHIVES,
    IMAGES,
    REFERENCES,
    TARGETS,
)


def table(name: str) -> Table:
    """The table of that name; UnknownName lists the near ones."""
    for each in TABLES:
        if each.name == name:
            return each
    raise UnknownName("table", name, (t.name for t in TABLES))


# Every column under every spelling in which it may arrive: what `wire.py` claims of a reply.
# Spellings are unambiguous over all endpoints and dialects; a test holds that.
COLUMNS_BY_WIRE_NAME = {
    spelling: column
    for each in TABLES
    if each.endpoint
    for column in each.columns
    for spelling in column.spellings
}

# --- Dialects -----------------------------------------------------------------------------------

# What is left out, because it is no public reading of the archive: the user administration of
# nbia-api v3, QC and curation (getSeriesQCInfo, getSeriesForDeletion and whatever sets, submits or
# deletes), what only serves the search portal (simple and text searches, trees, carts, thumbnails,
# getDicomTags and the other ...ValuesAndCounts), the servers' own utilities (status,
# getKeycloakParams, getUserAgreementTxt, getAllSOPClassDefinition, wado), and
# getSeriesMetadataCombined, whose values stand under the wrong names.

# Columns of endpoints that feed no table of ours.
_COLUMNS_OF_NO_TABLE = (
    SOP_UID,
    uid(
        "SOPClassUID",
        "What kind of objects they are.",
        wire_names=("SOP Class UID",),
        tag="(0008,0016)",
    ),
    count("PatientCount", "Patients of the Collection.", wire_names=("Count",)),
    text(
        "PixelSpacingRow",
        "Row spacings of the objects in mm, each once.",
        wire_names=("PixelSpacing(mm)-Row",),
    ),
    text(
        "SliceThicknesses",
        "Thicknesses of the objects in mm, each once.",
        wire_names=("SliceThickness(mm)",),
    ),
    size("AnnotationSize", "Bytes of the annotation files.", wire_names=("Annotation Size",)),
    text("CollectionDescription", "What the Collection is, as HTML.", wire_names=("description",)),
    whole("CollectionDescriptionID", "Number of the description.", wire_names=("id",)),
    whole(
        "CollectionDescriptionTimestamp",
        "When it was written, in milliseconds since 1970.",
        wire_names=("collectionDescTimestamp",),
    ),
    text("CollectionDescriptionUser", "Who wrote it.", wire_names=("userName",)),
    whole("LicenseID", "Number of the Collection's licence.", wire_names=("licenseId",)),
)
# Spellings that only these endpoints use for columns that tables have, too.
_SPELLED_OTHERWISE = {
    # getCollectionDescriptions of nbia-v4
    "collectionName": COLLECTION,
    "descriptionURI": DESCRIPTION_URI,
    # getSeriesMetaData of nbia-v1
    "Series UID": SERIES_UID,
    "3rd Party Analysis": THIRD_PARTY,
    "Data Description URI": DESCRIPTION_URI,
    "Subject ID": PATIENT_ID,
    "Study UID": STUDY_UID,
    "Study Description": STUDY_DESCRIPTION,
    "Study Date": STUDY_DATE,
    "Series Description": SERIES_DESCRIPTION,
    "Number of Images": IMAGE_COUNT,
    "File Size": FILE_SIZE,
    "File Location": STUDY_ID,  # not a place at all
    "Series Number": SERIES_NUMBER,
    "License Name": LICENSE_NAME,
    "License URL": LICENSE_URI,
    "Series Date": SERIES_DATE,
    "Protocol Name": PROTOCOL,
    "Body Part Examined": BODY_PART,
    "Annotations Flag": ANNOTATIONS,
    "Manufacturer Model Name": MODEL,
    "Software Versions": SOFTWARE,
}
COLUMNS_BY_WIRE_NAME |= _SPELLED_OTHERWISE | {
    spelling: column for column in _COLUMNS_OF_NO_TABLE for spelling in column.spellings
}

FORMATS = ("json", "csv", "xml", "html")


def _asks(*names: str, required: tuple[str, ...] = (), **spelled: str) -> tuple[Parameter, ...]:
    """Parameters spelled as our columns are, then those that the dialect spells otherwise."""
    plain = tuple(Parameter(n, n, n in required) for n in names)
    return plain + tuple(Parameter(n, wire, n in required) for n, wire in spelled.items())


_SERIES_FILTERS = (
    "Collection",
    "PatientID",
    "StudyInstanceUID",
    "Modality",
    "BodyPartExamined",
    "ManufacturerModelName",
    "Manufacturer",
    "SeriesInstanceUID",
)
_ONE_SERIES = _asks("SeriesInstanceUID", required=("SeriesInstanceUID",))
_ONE_IMAGE = _asks(
    "SeriesInstanceUID", "SOPInstanceUID", required=("SeriesInstanceUID", "SOPInstanceUID")
)

_COLLECTION_VALUES = Endpoint(
    "getCollectionValues",
    "getCollectionValues",
    "Names of all Collections.",
    columns=("Collection",),
    formats=FORMATS,
    is_never_empty=True,
)
_VALUES = (
    _COLLECTION_VALUES,
    Endpoint(
        "getModalityValues",
        "getModalityValues",
        "Modalities, by Collection or body part.",
        _asks("Collection", "BodyPartExamined"),
        ("Modality",),
        FORMATS,
    ),
    Endpoint(
        "getBodyPartValues",
        "getBodyPartValues",
        "Body parts, by Collection or Modality.",
        _asks("Collection", "Modality"),
        ("BodyPartExamined",),
        FORMATS,
    ),
    Endpoint(
        "getManufacturerValues",
        "getManufacturerValues",
        "Manufacturers, by Collection, Modality or body part.",
        _asks("Collection", "Modality", "BodyPartExamined"),
        ("Manufacturer",),
        FORMATS,
    ),
)
_SERIES_SIZE = Endpoint(
    "getSeriesSize",
    "getSeriesSize",
    "Bytes and number of objects of one Series.",
    _ONE_SERIES,
    ("TotalSizeInBytes", "ObjectCount"),
    FORMATS,
)
_SOP_UIDS = Endpoint(
    "getSOPInstanceUIDs",
    "getSOPInstanceUIDs",
    "Identifiers of the objects of one Series; answers for hidden Series too.",
    _ONE_SERIES,
    ("SOPInstanceUID",),
    FORMATS,
)
_IMAGE = Endpoint(
    "getImage",
    "getImage",
    "The objects of one Series as a zip, with its licence.",
    (*_ONE_SERIES, *_asks("NewFileNames")),
    returns="zip",
    zip_proof="count",
)
_IMAGE_WITH_MD5 = Endpoint(
    "getImageWithMD5Hash",
    "getImageWithMD5Hash",
    "The objects of one Series as a zip that ends with their MD5s.",
    _ONE_SERIES,
    returns="zip",
    zip_proof="md5",
)
# Not a route: it proves no more than the one above, whose objects it has in another order.
_DCM_IMAGE = Endpoint(
    "getDCMImage",
    "getDCMImage",
    "The objects of one Series as a zip, with their annotation files and MD5s where asked for.",
    (*_ONE_SERIES, *_asks("IncludeAnnotation", "MD5Verification")),
    returns="zip",
    fixed_parameters=(("MD5Verification", "true"),),
)
_SINGLE_IMAGE = Endpoint(
    "getSingleImage",
    "getSingleImage",
    "One DICOM object.",
    _ONE_IMAGE,
    returns="dicom",
)

# nbia-api v1 and v2: Hibernate entities, so days travel as java.sql.Timestamp.toString().
_V1_PATIENT = (
    "PatientId",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "EthnicGroup",
    "Collection",
    "Phantom",
    "SpeciesCode",
    "SpeciesDescription",
)
_V1_STUDY = (
    "StudyInstanceUID",
    "StudyDate",
    "StudyDescription",
    "AdmittingDiagnosesDescription",
    "StudyID",
    "PatientAge",
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "EthnicGroup",
    "Collection",
    "SeriesCount",
    "LongitudinalTemporalEventType",
    "LongitudinalTemporalOffsetFromEvent",
)
_V1_SERIES = (
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "Modality",
    "ProtocolName",
    "SeriesDate",
    "SeriesDescription",
    "BodyPartExamined",
    "SeriesNumber",
    "AnnotationsFlag",
    "Collection",
    "PatientID",
    "Manufacturer",
    "ManufacturerModelName",
    "SoftwareVersions",
    "ImageCount",
    "TimeStamp",
    "LicenseName",
    "LicenseURI",
    "CollectionURI",
    "FileSize",
    "DateReleased",
    "StudyDesc",
    "StudyDate",
    "ThirdPartyAnalysis",
)
_V1_METADATA = (
    "Series UID",
    "Collection",
    "3rd Party Analysis",
    "Data Description URI",
    "Subject ID",
    "Study UID",
    "Study Description",
    "Study Date",
    "Series Description",
    "Manufacturer",
    "Modality",
    "SOP Class UID",
    "Number of Images",
    "File Size",
    "File Location",
    "Series Number",
    "License Name",
    "License URL",
    "Annotation Size",
    "Date Released",
    "Series Date",
    "Protocol Name",
    "Body Part Examined",
    "Annotations Flag",
    "Manufacturer Model Name",
    "Software Versions",
    "TimeStamp",
)
# java.util.Date.toString(), of a server whose clock is in UTC as the archive's is.
_JAVA_DATE = "%a %b %d %H:%M:%S UTC %Y"
_V1_WIRE = ValueFormat("%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%d %H:%M:%S.%f")
_V1_ENDPOINTS = (
    *_VALUES,
    Endpoint(
        "getPatient",
        "getPatient",
        "Patients, by Collection. PatientId cannot match lower-case letters in nbia-v1.",
        _asks("Collection", PatientID="PatientId"),
        _V1_PATIENT,
        FORMATS,
    ),
    Endpoint(
        "getPatientByCollectionAndModality",
        "getPatientByCollectionAndModality",
        "Patients of a Collection who have a Modality.",
        _asks("Collection", "Modality", required=("Collection", "Modality")),
        ("PatientId",),
        FORMATS,
    ),
    Endpoint(
        "getPatientStudy",
        "getPatientStudy",
        "Studies, by Collection, Patient or Study.",
        _asks("Collection", "PatientID", "StudyInstanceUID"),
        _V1_STUDY,
        FORMATS,
    ),
    Endpoint("getSeries", "getSeries", "Series.", _asks(*_SERIES_FILTERS), _V1_SERIES, FORMATS),
    _SERIES_SIZE,
    _SOP_UIDS,
    Endpoint(
        "getUpdatedSeries",
        "getUpdatedSeries",
        "Series released after a day.",
        _asks(since="fromDate"),
        (*_V1_SERIES[:15], "DateReleased"),
        FORMATS,
        since_format="%d/%m/%Y",
        may_be_empty=True,
    ),
    Endpoint(
        "NewPatientsInCollection",
        "NewPatientsInCollection",
        "Patients of a Collection with a Series released after a day.",
        _asks("Collection", since="Date", required=("Collection", "since")),
        _V1_PATIENT,
        FORMATS,
        since_format="%Y/%m/%d",
        may_be_empty=True,
    ),
    Endpoint(
        "NewStudiesInPatientCollection",
        "NewStudiesInPatientCollection",
        "Studies of a Collection with a Series released after a day.",
        _asks("Collection", "PatientID", since="Date", required=("Collection", "since")),
        _V1_STUDY,
        FORMATS,
        since_format="%Y/%m/%d",
        may_be_empty=True,
    ),
    Endpoint(
        "getContentsByName",
        "getContentsByName",
        "Visible Series on a shared list; always JSON.",
        _asks(list_name="name", required=("list_name",)),
        (*_V1_SERIES[:15], "Date Released"),
    ),
    Endpoint(
        "getSeriesMetadata",
        "getSeriesMetaData",
        "What a downloader needs to know of one Series; all values are texts.",
        _ONE_SERIES,
        _V1_METADATA,
        FORMATS,
        date_formats=(
            ("Study Date", "%m-%d-%Y"),
            ("Date Released", _JAVA_DATE),
            ("Series Date", _JAVA_DATE),
            ("TimeStamp", _JAVA_DATE),
        ),
    ),
    Endpoint(
        "getDeniedSeries",
        "getDeniedSeries",
        "Those of the Series asked for that a user may not have.",
        (
            Parameter("SeriesInstanceUID", "seriesList", required=True, is_list=True),
            *_asks("userName"),
        ),
        ("SeriesInstanceUID",),
        FORMATS,
        may_be_empty=True,
    ),
    _IMAGE,
    _IMAGE_WITH_MD5,
    _DCM_IMAGE,
    _SINGLE_IMAGE,
    Endpoint(
        "getMD5HashForImage",
        "getM5HashForImage",  # sic, and so is the parameter
        "MD5 of one DICOM object.",
        _asks(SOPInstanceUID="SOPInstanceUid", required=("SOPInstanceUID",)),
        returns="text",
    ),
)

# nbia-api v4: native SQL behind a strict list of parameters; dates as %m-%d-%Y, no birth dates.
_V4_PATIENT = (
    "PatientId",
    "PatientName",
    "PatientSex",
    "EthnicGroup",
    "Collection",
    "Phantom",
    "SpeciesCode",
    "SpeciesDescription",
    "Authorized",
)
_V4_STUDY = (*(c for c in _V1_STUDY if c != "PatientBirthDate"), "Authorized")
_V4_SERIES = (
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "Modality",
    "ProtocolName",
    "SeriesDate",
    "SeriesDescription",
    "BodyPartExamined",
    "SeriesNumber",
    "AnnotationsFlag",
    "Collection",
    "Site",
    "PatientID",
    "PatientSex",
    "PatientAge",
    "AdmittingDiagnosisDescription",
    "Manufacturer",
    "ManufacturerModelName",
    "SoftwareVersions",
    "ImageCount",
    "MaxSubmissionTimestamp",
    "LicenseName",
    "LicenseURI",
    "DataDescriptionURI",
    "FileSize",
    "ReleasedStatus",
    "DateReleased",
    "StudyDesc",
    "StudyDate",
    "ThirdPartyAnalysis",
    "Authorized",
)
_V4_METADATA = (
    "PatientID",
    "PatientName",
    "PatientSex",
    "EthnicGroup",
    "Phantom",
    "SpeciesCode",
    "SpeciesDescription",
    "StudyInstanceUID",
    "StudyDate",
    "StudyDesc",
    "AdmittingDiagnosisDescription",
    "StudyID",
    "PatientAge",
    "LongitudinalTemporalEventType",
    "LongitudinalTemporalOffsetFromEvent",
    "SeriesInstanceUID",
    "Collection",
    "Site",
    "Modality",
    "ProtocolName",
    "SeriesDate",
    "SeriesDescription",
    "BodyPartExamined",
    "SeriesNumber",
    "AnnotationsFlag",
    "Manufacturer",
    "ManufacturerModelName",
    "PixelSpacing(mm)-Row",
    "SliceThickness(mm)",
    "SoftwareVersions",
    "ImageCount",
    "MaxSubmissionTimestamp",
    "LicenseName",
    "LicenseURI",
    "DataDescriptionURI",
    "FileSize",
    "ReleasedStatus",
    "DateReleased",
    "ThirdPartyAnalysis",
    "Authorized",
)
_V4_DAY = "%m-%d-%Y"
_V4_CHANGED = {
    "getPatient": {"columns": _V4_PATIENT, "description": "Patients, by Collection or Patient."},
    "getPatientByCollectionAndModality": {"columns": ("PatientId", "Authorized")},
    "getPatientStudy": {"columns": _V4_STUDY},
    "getSeries": {"columns": _V4_SERIES},
    "getUpdatedSeries": {"columns": _V4_SERIES, "since_format": _V4_DAY},
    "NewPatientsInCollection": {
        "columns": _V4_PATIENT,
        "since_format": _V4_DAY,
        "parameters": _asks("Collection", since="fromDate", required=("Collection", "since")),
    },
    "NewStudiesInPatientCollection": {
        "columns": _V4_STUDY,
        "since_format": _V4_DAY,
        "parameters": _asks(
            "Collection", "PatientID", since="fromDate", required=("Collection", "since")
        ),
    },
    "getSeriesMetadata": {
        "path": "getSeriesMetadata",
        "description": "All that is known of many Series; nearly all values are texts.",
        "parameters": (Parameter("SeriesInstanceUID", "list", required=True, is_list=True),),
        "columns": _V4_METADATA,
        "method": "POST",
        "date_formats": (),
    },
    # IncludeMD5 puts md5hashes.csv last into the zip: the only mark that it is whole.
    "getImage": {
        "parameters": (*_ONE_SERIES, *_asks("NewFileNames", "IncludeMD5")),
        "fixed_parameters": (("IncludeMD5", "Yes"),),
        "zip_proof": "md5",
    },
    "getMD5HashForImage": {
        "path": "getMD5HashForImage",
        # a format is taken, and without effect
        "parameters": _asks("SOPInstanceUID", "format", required=("SOPInstanceUID",)),
    },
}
_V4_ENDPOINTS = (
    *(
        replace(endpoint, **_V4_CHANGED.get(endpoint.name, {}))  # type: ignore[arg-type]
        for endpoint in _V1_ENDPOINTS
        if endpoint.name != "getContentsByName"
    ),
    Endpoint(
        "getMD5Hierarchy",
        "getMD5Hierarchy",
        "Hash over the MD5s of a Series, Study, Patient or Collection.",
        _asks("SeriesInstanceUID", "StudyInstanceUID", "PatientID", "Collection"),
        method="POST",
        returns="text",
    ),
    Endpoint(
        "getCollectionDescriptions",
        "getCollectionDescriptions",
        "What Collections are, in words; always JSON.",
        _asks(Collection="collectionName"),
        (
            "collectionName",
            "description",
            "descriptionURI",
            "id",
            "collectionDescTimestamp",
            "userName",
            "licenseId",
        ),
        may_be_empty=True,
    ),
    Endpoint(
        "getCollectionValuesAndCounts",
        "getCollectionValuesAndCounts",
        "Collections with their number of Patients; always JSON, and looks at no parameter.",
        columns=("Collection", "Count", "Authorized"),
    ),
    Endpoint(
        "getManifestForCollection",
        "getManifestForCollection",
        "The Series of a Collection as a manifest for TCIA's downloader.",
        _asks("visibility", "includeAnnotation", Collection="collection"),
        method="POST",
        returns="manifest",
    ),
)

# Bindaas: the API of the document that this project implements, and its successors v3 and v4.
_BINDAAS_PATIENT = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "EthnicGroup",
    "Collection",
)
_BINDAAS_STUDY = (*_V1_STUDY[:6], *_BINDAAS_PATIENT, "SeriesCount")
_BINDAAS_SERIES = tuple(c for c in _V1_SERIES[:15] if c != "PatientID")
_BINDAAS_CHANGED = {
    "getPatient": {
        "columns": _BINDAAS_PATIENT,
        "parameters": _asks("Collection"),
        "description": "Patients, by Collection.",
    },
    "getPatientByCollectionAndModality": {
        "path": "PatientsByModality",
        "columns": _BINDAAS_PATIENT,
    },
    "getPatientStudy": {"columns": _BINDAAS_STUDY},
    "getSeries": {"columns": _BINDAAS_SERIES},
    "getImage": {"parameters": _ONE_SERIES},
    "NewPatientsInCollection": {
        "columns": _BINDAAS_PATIENT,
        "since_format": "%Y-%m-%d",
    },
    "NewStudiesInPatientCollection": {
        "columns": _BINDAAS_STUDY,
        "since_format": "%Y-%m-%d",
    },
}
_BINDAAS_HAS_NOT = {
    "getUpdatedSeries",
    "getContentsByName",
    "getSeriesMetadata",
    "getDeniedSeries",
    "getImageWithMD5Hash",
    "getDCMImage",
    "getMD5HashForImage",
}


def _in_bindaas(endpoint: Endpoint) -> Endpoint:
    changed = replace(endpoint, **_BINDAAS_CHANGED.get(endpoint.name, {}))  # type: ignore[arg-type]
    return replace(changed, path=f"TCIA/query/{changed.path}")


_BINDAAS_ENDPOINTS = (
    *(_in_bindaas(e) for e in _V1_ENDPOINTS if e.name not in _BINDAAS_HAS_NOT),
    Endpoint(
        "getContentsByName",
        "SharedList/query/ContentsByName",
        "Series on a shared list; always JSON. SharedList is a sibling of TCIA, not below it.",
        _asks(list_name="name", required=("list_name",)),
        _BINDAAS_SERIES,
    ),
)
# How Bindaas writes a day is not documented; its clients send and expect ISO days.
_BINDAAS_WIRE = ValueFormat("%Y-%m-%d", "%Y-%m-%d %H:%M:%S.%f", decimals_in_text=True)

DIALECTS = (
    Dialect(
        "nbia-v4",
        "the current API of NBIA, open",
        "https://nbia.cancerimagingarchive.net/nbia-api/services/v4",
        ValueFormat(_V4_DAY, _V4_DAY, decimals_in_text=True),
        _V4_ENDPOINTS,
        delegate="nbia-v1",
        delegated_endpoints=("getContentsByName",),
    ),
    Dialect(
        "nbia-v1",
        "the first API of NBIA, open, deprecated",
        "https://services.cancerimagingarchive.net/nbia-api/services/v1",
        _V1_WIRE,
        _V1_ENDPOINTS,
    ),
    Dialect(
        "nbia-v2",
        "nbia-v1 behind a bearer token",
        "https://services.cancerimagingarchive.net/nbia-api/services/v2",
        _V1_WIRE,
        _V1_ENDPOINTS,
        auth="bearer",
    ),
    Dialect(
        "bindaas-v4",
        "the last Bindaas API, open, frozen since 2022",
        "https://services.cancerimagingarchive.net/services/v4",
        _BINDAAS_WIRE,
        _BINDAAS_ENDPOINTS,
    ),
    Dialect(
        "bindaas-v3",
        "the Bindaas API that asks for a key",
        "https://services.cancerimagingarchive.net/services/v3",
        _BINDAAS_WIRE,
        _BINDAAS_ENDPOINTS,
        auth="api_key",
    ),
)


def dialect(name: str) -> Dialect:
    """The dialect of that name; UnknownName lists the valid ones."""
    for each in DIALECTS:
        if each.name == name:
            return each
    raise UnknownName("dialect", name, (d.name for d in DIALECTS))
