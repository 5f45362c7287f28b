"""The declarations: every table that this package publishes, and every dialect of TCIA's API.

Each fact about the data is stated here, once. Requests, the reader, Arrow schemas, Parquet paths,
DuckDB views, assets, checks, the data dictionary and the sandbox follow from it. What only a server
needs is in `sandbox/endpoints.py`.

The facts about the APIs were read from the servers' source (nbia-api, CBIIT/NBIA-TCIA); those about
Bindaas, which is closed, come from its guide and its clients.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pyarrow as pa

from tcia_assets.errors import UnknownName
from tcia_assets.spec import (
    Check,
    Column,
    Dialect,
    Endpoint,
    IndexFile,
    IndexRows,
    Kind,
    Parameter,
    Parent,
    Table,
    ValueFormat,
)


def _names(text: str) -> tuple[str, ...]:
    """Split a text at its commas."""
    return tuple(name.strip() for name in text.split(","))


# --- Kinds --------------------------------------------------------------------------------------

uid = Kind("uid", pa.string(), "a DICOM UID: 1 to 64 digits and dots")
text = Kind("text", pa.string(), "text")
day = Kind("day", pa.date32(), "a date")
instant = Kind("instant", pa.timestamp("us", tz="UTC"), "a date and time")
count = Kind("count", pa.int64(), "a count: a whole number, 0 or more")
size = Kind("size", pa.int64(), "a size in bytes: a whole number, 0 or more")
whole = Kind("whole", pa.int64(), "a whole number")
number = Kind("number", pa.float64(), "a number")
flag = Kind("flag", pa.bool_(), "true or false")
numbers = Kind("numbers", pa.list_(pa.float64()), "a list of numbers")
whole_numbers = Kind("whole_numbers", pa.list_(pa.int64()), "a list of whole numbers")
texts = Kind("texts", pa.list_(pa.string()), "a list of texts")

# --- Columns: DICOM attributes have their keyword, TCIA's own fields their nbia-v4 name ----------

COLLECTION = text(
    "Collection", "Name of the Collection, TCIA's unit of publication.", required=True
)
SERIES_UID = uid("SeriesInstanceUID", "UID of the Series.", "(0020,000E)", required=True)
STUDY_UID = uid("StudyInstanceUID", "UID of the Study.", "(0020,000D)")
SOP_UID = uid("SOPInstanceUID", "UID of the DICOM object.", "(0008,0018)")
SOP_CLASS_UID = uid("SOPClassUID", "SOP class: the type of the object.", "(0008,0016)")
PATIENT_ID = text(
    "PatientID",
    "ID of the patient. Unique only within a Collection.",
    "(0010,0020)",
    wire_names=("PatientId",),
)
PATIENT_NAME = text("PatientName", "Pseudonym of the patient.", "(0010,0010)")
PATIENT_BIRTH_DATE = day(
    "PatientBirthDate", "Birth date of the patient, shifted by de-identification.", "(0010,0030)"
)
PATIENT_SEX = text("PatientSex", "Sex of the patient: M, F or O.", "(0010,0040)")
PATIENT_AGE = text("PatientAge", "Age as a DICOM age string: 063Y is 63 years.", "(0010,1010)")
ETHNIC_GROUP = text("EthnicGroup", "Ethnic group, as written by the submitter.", "(0010,2160)")
PHANTOM = text("Phantom", "YES if a phantom was scanned; NO also if nothing was recorded.")
SPECIES_CODE = text(
    "SpeciesCode", "SNOMED CT code of the species; human (337915000) also if none was recorded."
)
SPECIES = text("SpeciesDescription", "Name of the species; Homo sapiens also if none was recorded.")
AUTHORIZED = flag("Authorized", "Whether the user may download the images (nbia-v4 only).")
MODALITY = text("Modality", "Type of equipment or data, such as CT, MR or SEG.", "(0008,0060)")
BODY_PART = text("BodyPartExamined", "Body part, as in the DICOM header.", "(0018,0015)")
MANUFACTURER = text("Manufacturer", "Manufacturer, as in the DICOM header.", "(0008,0070)")
MODEL = text("ManufacturerModelName", "Model name of the equipment.", "(0008,1090)")
SOFTWARE = text("SoftwareVersions", "Software version of the equipment.", "(0018,1020)")
SITE = text("Site", "Site that submitted the data (nbia-v4 only).")
STUDY_DATE = day("StudyDate", "Date of the Study, shifted by de-identification.", "(0008,0020)")
STUDY_DESCRIPTION = text(
    "StudyDescription",
    "Description of the Study, truncated to 64 characters.",
    "(0008,1030)",
    wire_names=("StudyDesc",),
)
STUDY_ID = text("StudyID", "ID of the Study, assigned by the site.", "(0020,0010)")
DIAGNOSES = text(
    "AdmittingDiagnosesDescription",
    "Diagnoses of the patient at admission.",
    "(0008,1080)",
    wire_names=("AdmittingDiagnosisDescription",),
)
SERIES_COUNT = count("SeriesCount", "Number of public Series in the Study.")
TEMPORAL_TYPE = text(
    "LongitudinalTemporalEventType",
    "Event from which LongitudinalTemporalOffsetFromEvent counts.",
    "(0012,0053)",
)
TEMPORAL_OFFSET = number(
    "LongitudinalTemporalOffsetFromEvent",
    "Days from the event in LongitudinalTemporalEventType to the Study.",
    "(0012,0052)",
)
PROTOCOL = text("ProtocolName", "Scan protocol, truncated to 64 characters.", "(0018,1030)")
SERIES_DATE = day("SeriesDate", "Date of the Series, shifted by de-identification.", "(0008,0021)")
SERIES_DESCRIPTION = text(
    "SeriesDescription", "Description of the Series, truncated to 64 characters.", "(0008,103E)"
)
SERIES_NUMBER = whole("SeriesNumber", "Number of the Series within its Study.", "(0020,0011)")
ANNOTATIONS = text("AnnotationsFlag", "Whether annotation files belong to the Series.")
IMAGE_COUNT = count("ImageCount", "Number of DICOM objects in the Series.")
SUBMITTED = instant(
    "MaxSubmissionTimestamp",
    "When the newest object was submitted; nbia-v4 returns only the date.",
    wire_names=("TimeStamp",),
)
LICENSE_NAME = text("LicenseName", "Name of the licence of the Series.")
LICENSE_URI = text("LicenseURI", "URL of the licence.")
DESCRIPTION_URI = text(
    "DataDescriptionURI", "DOI of the data, to be cited.", wire_names=("CollectionURI",)
)
FILE_SIZE = size("FileSize", "Total bytes of all objects of the Series, uncompressed.")
RELEASED = text("ReleasedStatus", "Whether the Series is released: Yes or No (nbia-v4 only).")
DATE_RELEASED = day(
    "DateReleased",
    "Release date, typed by a curator; it may be earlier than the true date.",
    wire_names=("Date Released",),
)
THIRD_PARTY = text("ThirdPartyAnalysis", "YES if a third party derived the Series by an analysis.")
CRDC_SERIES_UUID = text(
    "crdc_series_uuid",
    "ID of the version of the Series in the Imaging Data Commons; a revision has a new one.",
)
TRANSFER_SYNTAX_UID = uid(
    "TransferSyntaxUID", "Transfer syntax: the encoding of the object.", "(0002,0010)"
)
TOTAL_SIZE = size("TotalSizeInBytes", "Total bytes of the Series, by a request for it alone.")
OBJECT_COUNT = count("ObjectCount", "Number of objects of the Series, by a request for it alone.")

SOURCE = text("source", "Source of the row, as dialect@host.")
FINGERPRINT = text("fingerprint", "Hash of the columns that define a version; see series_changes.")
FETCHED_AT = instant("fetched_at", "When the source was queried.")
ENTRY_NAME = text("entry_name", "Name of the object within the zip.")
ARCHIVE_SHA256 = text("archive_sha256", "SHA-256 of the zip that the row was read from.")

# Columns that follow each other in several tables.
_PERSON = (PATIENT_NAME, PATIENT_BIRTH_DATE, PATIENT_SEX, ETHNIC_GROUP)
_SCAN = (PROTOCOL, SERIES_DATE, SERIES_DESCRIPTION, BODY_PART, SERIES_NUMBER, ANNOTATIONS)
_EQUIPMENT = (MANUFACTURER, MODEL, SOFTWARE, IMAGE_COUNT)

# --- Tables -------------------------------------------------------------------------------------

# A Collection rarely loses a larger part of its rows by curation.
MAX_PLAUSIBLE_LOSS = 0.1
_DAYS_OF_SUBMISSION_CHECK = 30

_EACH_REFRESH = (
    "Queried by each refresh of a Collection. Plots: the rows, bytes and requests of each refresh."
)

FOLDER = "local"
"""The first word of `source` in rows of folders that were imported."""

# SQL for the first word of `source`; for whether the row is of a folder that was imported, which no
# server lists; and for the Series that the source in use has listed: what only another one has
# listed is in none of its lists.
_FAMILY = "split_part(source, '-', 1)"
OF_FOLDER = f"starts_with(coalesce(source, ''), '{FOLDER}-')"
_SERIES_OF_THE_SOURCE = (
    f"(SELECT * FROM current_series WHERE NOT {OF_FOLDER} AND coalesce({_FAMILY} = "
    f"(SELECT split_part(arg_max(source, taken_at), '-', 1) FROM snapshots WHERE NOT {OF_FOLDER}), "
    "true))"
)

# DOIs of what TCIA itself published; those of others' analyses are different.
TCIA_DOI = "10.7937/"
IDC_DOI_URL = "https://doi.org/"
# The end of the release of a listing that has Series with other DOIs too.
IDC_WIDE = "+all"


def _release_of(source: str) -> str:
    """Return SQL for the number of the release that is a row's source; null for a server."""
    return f"TRY_CAST(regexp_extract({source}, '^idc-v([0-9]+)@', 1) AS INTEGER)"


COLLECTIONS = Table(
    "collections",
    "Collection in TCIA's list",
    key=("Collection",),
    endpoint="getCollectionValues",
    columns=(COLLECTION,),
    updates=(
        "Its rows become the partitions `{prefix}_collections`. The sensor `{prefix}_new_series` "
        "adds new ones. Collections removed from the source's list (`gone`) stay stored."
    ),
    checks=(
        Check(
            "collections_still_listed",
            "Each Collection that has Series is still in the source's list.",
            f"SELECT DISTINCT Collection FROM {_SERIES_OF_THE_SOURCE} "
            "WHERE Collection NOT IN (SELECT Collection FROM collections)",
        ),
        Check(
            "collections_kept",
            "At least nine tenths of the Collections that have Series are in the source's list.",
            "SELECT * FROM (SELECT count(*) AS stored, "
            "count(*) FILTER (Collection NOT IN (SELECT Collection FROM collections)) AS gone "
            f"FROM (SELECT DISTINCT Collection FROM {_SERIES_OF_THE_SOURCE})) "
            # If there are few Collections, a single one is more than a tenth.
            f"WHERE gone > greatest(1, stored * {MAX_PLAUSIBLE_LOSS})",
            is_error=True,
        ),
    ),
)

_IN_COLLECTION = (Parent("collections", ("Collection",)),)


def _values(name: str, noun: str, column: Column, endpoint: str) -> Table:
    return Table(
        name,
        f"{noun} that occurs in a Collection (null for Series without one)",
        key=("Collection", column.name),
        endpoint=endpoint,
        partitioned_by="Collection",
        columns=(COLLECTION, column),
        parents=_IN_COLLECTION,
        refreshed_after=("series",),  # they are compared with its values
        updates=_EACH_REFRESH,
        # The replies do not contain the Collection: a filter that the server ignored shows here.
        checks=(
            Check(
                "values_occur",
                "Each value occurs in a Series of its Collection.",
                f"SELECT DISTINCT v.Collection, v.{column.name} FROM {name} AS v "
                "ANTI JOIN series AS s ON v.Collection = s.Collection "
                f"AND upper(v.{column.name}) = upper(s.{column.name}) "
                f"WHERE v.{column.name} IS NOT NULL "
                "AND v.Collection IN (SELECT DISTINCT Collection FROM series)",
                is_error=True,
            ),
        ),
    )


MODALITY_VALUES = _values("modality_values", "modality", MODALITY, "getModalityValues")
BODY_PART_VALUES = _values("body_part_values", "body part", BODY_PART, "getBodyPartValues")
MANUFACTURER_VALUES = _values(
    "manufacturer_values", "manufacturer", MANUFACTURER, "getManufacturerValues"
)
VALUE_TABLES = (MODALITY_VALUES, BODY_PART_VALUES, MANUFACTURER_VALUES)

# Longer descriptions are truncated. Those of TCIA have a few thousand characters.
MAX_DESCRIPTION = 100_000

COLLECTION_DESCRIPTIONS = Table(
    "collection_descriptions",
    "publication of data in a Collection: what it is, and how to cite it (no row where the source "
    "describes none)",
    key=("Collection", "doi"),
    endpoint="getCollectionDescriptions",
    partitioned_by="Collection",
    parents=_IN_COLLECTION,
    refreshed_after=("series",),  # whose licences and DOIs complete them
    updates=(
        f"{_EACH_REFRESH} A source that describes nothing, or has no descriptions at all, leaves "
        "what is stored. The runs link to the DOI."
    ),
    columns=(
        COLLECTION,
        text("doi", 'DOI in lower case; "" if the publication has none.', required=True),
        text("title", "Title of the publication; NBIA has none."),
        text(
            "description",
            f"Description as plain text, truncated to {MAX_DESCRIPTION:,} characters.",
        ),
        replace(LICENSE_NAME, description="Licence of its Series; null if they have several."),
        text("citation", "How to cite it; from NBIA the address of the publication alone."),
        text("cancer_types", "Types of cancer (IDC only)."),
        text("tumor_locations", "Locations of tumours (IDC only)."),
        text("species", "Species of the subjects (IDC only)."),
        text("program", "Research program that the Collection belongs to (IDC only)."),
        text("status", "Whether the Collection is complete (IDC only)."),
        day("updated_on", "When the description was written."),
        SOURCE,
    ),
)

PATIENTS = Table(
    "patients",
    "patient in a Collection",
    key=("Collection", "PatientID"),
    endpoint="getPatient",
    partitioned_by="Collection",
    updates=_EACH_REFRESH,
    parents=_IN_COLLECTION,
    columns=(
        replace(PATIENT_ID, required=True),
        COLLECTION,
        *_PERSON,
        *(PHANTOM, SPECIES_CODE, SPECIES, AUTHORIZED),
    ),
)

STUDIES = Table(
    "studies",
    "Study in a Collection",
    key=("Collection", "StudyInstanceUID"),
    endpoint="getPatientStudy",
    partitioned_by="Collection",
    updates=_EACH_REFRESH,
    parents=(Parent("patients", ("Collection", "PatientID")),),
    columns=(
        replace(STUDY_UID, required=True),
        *(PATIENT_ID, COLLECTION, STUDY_DATE, STUDY_DESCRIPTION, DIAGNOSES, STUDY_ID, PATIENT_AGE),
        *_PERSON,
        *(SERIES_COUNT, TEMPORAL_TYPE, TEMPORAL_OFFSET, AUTHORIZED),
    ),
)

_SERIES_OF_THE_ARCHIVE = (
    *(SERIES_UID, STUDY_UID, PATIENT_ID, COLLECTION, SITE, MODALITY),
    *_SCAN,
    *(PATIENT_SEX, PATIENT_AGE, DIAGNOSES),
    *_EQUIPMENT,
    *(SUBMITTED, LICENSE_NAME, LICENSE_URI, DESCRIPTION_URI, FILE_SIZE, RELEASED, DATE_RELEASED),
    *(STUDY_DESCRIPTION, STUDY_DATE, THIRD_PARTY, AUTHORIZED),
)

_SERIES_OF_THE_IDC = (
    CRDC_SERIES_UUID,
    text("aws_bucket", "Bucket that has its objects (IDC only)."),
    text("analysis_result_id", "ID of the analysis that derived the Series (IDC only)."),
    *(SOP_CLASS_UID, TRANSFER_SYNTAX_UID),
)

FILES_MD5 = text(
    "files_md5",
    "MD5 of SOPInstanceUID, size and time of modification of each of its files (folders only).",
)

# SQL for the Series that listings have shown, without those that were stored one by one since.
COMPARED_SERIES = (
    "(SELECT s.* FROM series AS s JOIN "
    "(SELECT Collection, max(taken_at) AS taken_at FROM snapshots GROUP BY Collection) AS newest "
    "ON s.Collection = newest.Collection "
    "AND coalesce(s.listed_since, s.first_seen_at) <= newest.taken_at)"
)

# SQL for the Series that a Study of the newest listing may count. A wider scope of the IDC, or a
# newer release, has listed Series that the newest listing cannot have.
_COUNTED_SERIES = (
    "(SELECT Collection, StudyInstanceUID, source FROM series LEFT JOIN "
    "(SELECT Collection, arg_max(coalesce(release, ''), taken_at) AS release, "
    "arg_max(source, taken_at) AS listed_by FROM snapshots "
    "GROUP BY Collection) AS newest USING (Collection) WHERE missing_since IS NULL "
    f"AND (coalesce(release, '') = '' OR release LIKE '%{IDC_WIDE}' "
    f"OR starts_with(DataDescriptionURI, '{IDC_DOI_URL}{TCIA_DOI}')) "
    f"AND (source = listed_by OR coalesce({_release_of('source')} <= "
    f"{_release_of('listed_by')}, true)))"
)
# SQL for the Collections where SeriesCount of a Study may be wrong: the sum of the hashes of its
# Studies, each as often as it counts Series, is not the one over the Series. That takes a number a
# Collection, and not a set of all Studies. Wrong counts have equal sums once in 10^18 times.
_MAX_COUNT = 1 << 30  # so that no sum overflows
_MISCOUNTED = (
    "(SELECT Collection FROM (SELECT Collection, "
    f"hash(StudyInstanceUID)::HUGEINT * least(SeriesCount, {_MAX_COUNT}) AS number FROM studies "
    "UNION ALL SELECT Collection, -hash(StudyInstanceUID)::HUGEINT "
    f"FROM {_COUNTED_SERIES}) GROUP BY Collection HAVING sum(number) <> 0)"
)

_SERIES_CHECKS = (
    Check(
        "series_count_agrees",
        "SeriesCount of each Study is the number of its listed Series.",
        "SELECT Collection, StudyInstanceUID, SeriesCount, listed FROM studies JOIN "
        "(SELECT Collection, StudyInstanceUID, count(*) AS listed "
        f"FROM {_COUNTED_SERIES} WHERE Collection IN {_MISCOUNTED} "
        # No source counts the Series of a Study that another one has listed.
        f"GROUP BY ALL HAVING count(DISTINCT {_FAMILY}) = 1) "
        "USING (Collection, StudyInstanceUID) WHERE SeriesCount <> listed",
    ),
    Check(
        "none_missing",
        "The newest listings contain every Series of earlier ones.",
        "SELECT Collection, SeriesInstanceUID, missing_since FROM series "
        "WHERE missing_since IS NOT NULL AND withdrawn_at IS NULL AND moved_to IS NULL",
    ),
    Check(
        "lists_plausible",
        "The newest listing of each Collection is plausible: few Series are missing.",
        "SELECT Collection, newest.* FROM (SELECT Collection, arg_max({"
        "'taken_at': taken_at, 'listed': listed, 'lost': lost, 'reason': reason, "
        "'plausible': plausible}, taken_at) AS newest FROM snapshots GROUP BY Collection) "
        "WHERE NOT newest.plausible",
    ),
    # Listings of an outdated server are plausible, but their newest dates are older.
    Check(
        "releases_not_older",
        "The newest release in each Collection's newest listing is not older than the stored one.",
        "SELECT Collection, taken_at, listed.newest_release AS listed, stored FROM "
        "(SELECT Collection, max(taken_at) AS taken_at, arg_max({'newest_release': "
        "newest_release}, taken_at) AS listed FROM snapshots GROUP BY Collection) JOIN "
        f"(SELECT Collection, max(DateReleased) AS stored FROM {COMPARED_SERIES} "
        "WHERE withdrawn_at IS NULL AND moved_to IS NULL GROUP BY Collection) "
        "USING (Collection) WHERE listed.newest_release < stored",
        is_error=True,
    ),
    Check(
        "submissions_not_older",
        f"In the last {_DAYS_OF_SUBMISSION_CHECK} days, the submission time of no Series became "
        "earlier.",
        "SELECT Collection, SeriesInstanceUID, newest.* FROM "
        "(SELECT Collection, SeriesInstanceUID, arg_max({'seen_at': seen_at, "
        "'before': (before->>'MaxSubmissionTimestamp')::TIMESTAMPTZ, "
        "'after': (after->>'MaxSubmissionTimestamp')::TIMESTAMPTZ}, number) AS newest "
        "FROM series_changes WHERE list_contains(changed_columns, 'MaxSubmissionTimestamp') "
        f"AND seen_at > now() - INTERVAL {_DAYS_OF_SUBMISSION_CHECK} DAY "
        "GROUP BY Collection, SeriesInstanceUID) "
        # Only some dialects return the time of day. Of a folder it is the time of a file, which an
        # older one may replace.
        "WHERE newest.after::DATE < newest.before::DATE "
        "AND Collection NOT IN (SELECT Collection FROM imports)",
        is_error=True,
    ),
    Check(
        "history_whole",
        "series_changes contains as many events as the Series count.",
        "SELECT Collection, counted, recorded FROM "
        "(SELECT Collection, sum(changes)::BIGINT AS counted FROM series GROUP BY ALL) "
        "LEFT JOIN (SELECT Collection, count(number) AS recorded FROM series_changes GROUP BY ALL) "
        "USING (Collection) WHERE counted IS DISTINCT FROM coalesce(recorded, 0)",
    ),
    Check(
        "licences_known",
        "Each Series has a licence, unless it is from Bindaas or a folder, which have none.",
        "SELECT Collection, count(*) AS series FROM current_series WHERE LicenseName IS NULL "
        f"AND {_FAMILY} NOT IN ('bindaas', 'local') GROUP BY Collection",
    ),
)

SERIES = Table(
    "series",
    "Series that is or was in a Collection",
    key=("SeriesInstanceUID",),
    endpoint="getSeries",
    partitioned_by="Collection",
    parents=(Parent("studies", ("Collection", "StudyInstanceUID")),),
    refreshed_after=("studies",),  # which may have the PatientIDs that Series lack
    updates=(
        "Updated by the sensor `{prefix}_new_series` when the source reports a release, and by "
        "the schedule `{prefix}_compare`, which compares each Collection completely. No row is "
        "ever deleted: a Series removed from the source is first marked missing, then "
        "withdrawn.\n\n"
        "Plots of each refresh: `known` Series; `new`, `changed`, `missing`, `reappeared`, "
        "`withdrawn` and `moved` ones; whether the listing was `plausible`."
    ),
    checks=_SERIES_CHECKS,
    columns=(
        *_SERIES_OF_THE_ARCHIVE,
        *_SERIES_OF_THE_IDC,
        FILES_MD5,
        SOURCE,
        FINGERPRINT,
        instant("first_seen_at", "When the Series was first seen.", required=True),
        instant("listed_since", "When it was first seen, or seen again after it was missing."),
        instant("changed_at", "When a changed fingerprint was last seen.", required=True),
        instant("missing_since", "When it was first missing from a listing; null while listed."),
        count(
            "missing_snapshots", "Listings without it that count towards withdrawal.", required=True
        ),
        instant("missing_counted_at", "When the newest of these listings was taken."),
        instant(
            "withdrawn_at",
            "When it was withdrawn: missing from enough listings and from a request for it alone.",
        ),
        text(
            "withdrawn_in_release",
            "Version of the Imaging Data Commons that it was withdrawn in (IDC only).",
        ),
        text("moved_to", "Collection to which the Series moved; its current row is there."),
        count("changes", "Number of its change events in this Collection; see series_changes."),
    ),
)

# The columns of a Series whose change is a new version of it. `Authorized` depends on the user, and
# attributes of the Study and the patient change without the images.
FINGERPRINT_COLUMNS = _names(
    "Collection, PatientID, StudyInstanceUID, Modality, SeriesDate, SeriesDescription, "
    "BodyPartExamined, SeriesNumber, ProtocolName, Manufacturer, ManufacturerModelName, "
    "SoftwareVersions, ImageCount, FileSize, MaxSubmissionTimestamp, DateReleased, LicenseName, "
    "LicenseURI, DataDescriptionURI, ThirdPartyAnalysis, crdc_series_uuid, "
    "files_md5"
)

# Columns of `series` that `series_changes` can restore to an earlier moment: all except the key,
# the partition and mere counts.
_COUNTING = ("missing_snapshots", "missing_counted_at", "changes")
RESTORED_COLUMNS = tuple(
    n for n in SERIES.column_names if n not in (*SERIES.key, SERIES.partitioned_by, *_COUNTING)
)

# As rows in memory, 30 MB.
_EVENTS_PER_PART, _ZIPS_PER_PART = 1 << 16, 1 << 15

SERIES_CHANGES = Table(
    "series_changes",
    "change event of a Series in a Collection",
    key=("Collection", "SeriesInstanceUID", "event_id"),
    partitioned_by="Collection",
    rows_per_part=_EVENTS_PER_PART,
    made_from="series",
    updates=(
        "Written together with `series`, so it has no runs and events of its own. "
        "`tcia-assets changes` prints it. The SQL macro series_as_of(moment) returns the Series "
        "at an earlier moment."
    ),
    parents=(Parent("series", ("Collection", "SeriesInstanceUID")),),
    columns=(
        COLLECTION,
        SERIES_UID,
        text("event_id", "ID of the event, unique within the Series.", required=True),
        count("number", "Number of the event within the Series, from 1; null for image events."),
        text(
            "event",
            "added, changed, missing, reappeared, withdrawn, moved; of images: fetched, refetched.",
            required=True,
        ),
        instant("seen_at", "When the listing was taken, or the images downloaded.", required=True),
        text("snapshot", "ID of the listing that revealed it; null for moves and images."),
        texts("changed_columns", "Columns of series whose values changed."),
        text("before", "JSON of these and the tracking columns before the event; null for added."),
        text("after", "JSON of the same columns after the event."),
        text("fingerprint_before", "Fingerprint before the event."),
        text("fingerprint_after", "Fingerprint after the event."),
    ),
)

SNAPSHOTS = Table(
    "snapshots",
    "complete listing of a Collection that was compared with the stored Series",
    key=("Collection", "taken_at"),
    partitioned_by="Collection",
    made_from="series",
    updates=(
        "Written together with `series`, as the last step, so it has no runs and events of its "
        "own. It shows when each Collection was last compared, and what was implausible."
    ),
    parents=_IN_COLLECTION,
    columns=(
        COLLECTION,
        instant("taken_at", "When the source was queried.", required=True),
        text("snapshot", "ID of the listing: its time, and a hash of its rows.", required=True),
        count("listed", "Number of Series in the listing.", required=True),
        count("lost", "Number of earlier Series missing from this listing.", required=True),
        flag(
            "plausible",
            "Whether missing Series count for withdrawal; if not, it only adds and changes Series.",
            required=True,
        ),
        text("reason", "Why the listing is implausible, or plausible despite missing Series."),
        count("changes", "Number of change events that the listing revealed.", required=True),
        day("newest_release", "Newest DateReleased in the listing; null if it has none."),
        SOURCE,
        text("release", "Release that the listing is from (IDC only)."),
    ),
)

SERIES_SIZES = Table(
    "series_sizes",
    "Series with its size from a request for it alone",
    key=("SeriesInstanceUID",),
    endpoint="getSeriesSize",
    partitioned_by="Collection",
    made_from="series",
    parents=(Parent("series", ("SeriesInstanceUID",)),),
    refreshed_after=("series",),
    updates=(
        "Needs one request for each Series, so only new and changed Series are queried, up to a "
        "limit per run. Plots: how many Series were `asked` and how many are `remaining`."
    ),
    checks=(
        Check(
            "sizes_agree",
            "getSeriesSize and getSeries return the same bytes and counts of a Series.",
            "SELECT SeriesInstanceUID, TotalSizeInBytes, FileSize, ObjectCount, ImageCount "
            "FROM series_sizes JOIN series USING (SeriesInstanceUID, fingerprint) "
            "WHERE TotalSizeInBytes <> FileSize OR ObjectCount <> ImageCount",
        ),
        Check(
            "sizes_known",
            "The source returned a size for each Series that was queried.",
            "SELECT Collection, SeriesInstanceUID FROM series_sizes WHERE TotalSizeInBytes IS NULL",
        ),
    ),
    columns=(SERIES_UID, COLLECTION, TOTAL_SIZE, OBJECT_COUNT, FINGERPRINT, FETCHED_AT),
)

# What is stored of a value that cannot be read.
MAX_UNREADABLE_TEXT = 200

SHARED_LISTS = Table(
    "shared_lists",
    "Series on a shared list",
    key=("list_name", "SeriesInstanceUID"),
    endpoint="getContentsByName",
    partitioned_by="list_name",
    updates=(
        "Queried by each refresh of a shared list. A Series that the list no longer shows, because "
        "it was taken off or is not public any more, keeps its row with `missing_since`.\n\n"
        "Plots: Series `listed` and `missing`, rows, bytes and requests."
    ),
    columns=(
        text("list_name", "Name of the list; the source ignores case.", required=True),
        *(SERIES_UID, STUDY_UID, PATIENT_ID),
        replace(COLLECTION, required=False),
        MODALITY,
        *_SCAN,
        *_EQUIPMENT,
        DATE_RELEASED,
        instant(
            "missing_since", "When the list was first seen without it; null while it is shown."
        ),
    ),
)

UNREADABLE_VALUES = Table(
    "unreadable_values",
    "value that the source sent and that cannot be read, so that it is null in its table",
    key=("Collection", "table_name", "column_name", "row_key"),
    partitioned_by="Collection",
    made_from="series",
    updates=(
        "Written together with the tables that it is about, so it has no runs and events of its "
        "own. A row is removed when its value can be read, or is not sent any more."
    ),
    parents=_IN_COLLECTION,
    columns=(
        COLLECTION,
        text("table_name", "Table in which the value is null.", required=True),
        text("column_name", "Column in which it is null.", required=True),
        text("row_key", "JSON of the row's key.", required=True),
        text(
            "value_text",
            f"The value as it was sent, truncated to {MAX_UNREADABLE_TEXT} characters.",
        ),
        instant("first_seen_at", "When it was first seen.", required=True),
        text(
            "last_value_text",
            "The value before it, the last that could be read, as text; null if there was none.",
        ),
    ),
)

IMAGE_ARCHIVES = Table(
    "image_archives",
    "Series selected for download, with its zip on disk and the proof that it is complete",
    key=("SeriesInstanceUID",),
    partitioned_by="Collection",
    rows_per_part=_ZIPS_PER_PART,
    made_from="series",
    parents=(Parent("series", ("SeriesInstanceUID",)),),
    updates=(
        "Filled by the sensor `{prefix}_new_series` with the images of TCIA_IMAGE_SELECTION. A zip "
        "counts as complete only after it was verified.\n\n"
        "Plots of each run that changed it: Series and bytes `to_fetch`, `fetched`, `remaining` "
        "and `given_up`; the bytes received and on disk; megabytes per second."
    ),
    checks=(
        Check(
            "archives_complete",
            "The zip of each selected Series is on disk and verified.",
            "SELECT Collection, SeriesInstanceUID, status, error FROM image_archives "
            "WHERE status <> 'complete'",
        ),
        Check(
            "sources_equal",
            "No Series that `tcia-assets verify --against` compared differs between two sources.",
            "SELECT Collection, SeriesInstanceUID, left_source, right_source, compared_at, reason "
            "FROM source_equality WHERE state = 'differs'",
            is_error=True,
        ),
    ),
    columns=(
        SERIES_UID,
        COLLECTION,
        text("status", "complete, incomplete, unavailable or failed.", required=True),
        text("path", "Path of the zip below the data directory; null if there is none."),
        size("archive_bytes", "Size of the zip in bytes."),
        count("image_count", "Number of DICOM objects in the zip."),
        size("image_bytes", "Total bytes of these objects, uncompressed."),
        text("sha256", "SHA-256 of the zip."),
        text("verified_by", "Proof that the zip is complete, best first: md5, count+size, count."),
        text("fingerprint", "Fingerprint of the Series at the latest download."),
        CRDC_SERIES_UUID,
        text("license_name", "Licence of the Series at the download."),
        DESCRIPTION_URI,
        SOURCE,
        FETCHED_AT,
        count("attempts", "Number of downloads tried since the zip was last complete."),
        text("error", "Why the zip is not complete."),
    ),
)

# RadiopharmaceuticalInformationSequence.
_TRACER = "(0054,0016)"

# How an object was acquired. Texts of several values are joined as DICOM writes them. Counts in ms
# or mA are a `number`, because scanners write decimals there too.
_ACQUISITION = (
    text("ImageType", r"Type of the image, such as ORIGINAL\PRIMARY\AXIAL.", "(0008,0008)"),
    *(BODY_PART, MODEL, SOFTWARE, PATIENT_AGE),
    number("patient_age_years", "PatientAge in years; null if it is not an age string."),
    text("Laterality", "Laterality of the paired body part: L or R.", "(0020,0060)"),
    text("ViewPosition", "View relative to the patient, such as AP or MLO.", "(0018,5101)"),
    whole("AcquisitionNumber", "Number of the acquisition within the Study.", "(0020,0012)"),
    day("AcquisitionDate", "Date of the acquisition, shifted by de-identification.", "(0008,0022)"),
    text("AcquisitionTime", "Time of the acquisition as written: HHMMSS.FFFFFF.", "(0008,0032)"),
    text("ContrastBolusAgent", "Contrast agent, as written.", "(0018,0010)"),
    number("KVP", "Peak voltage of the X-ray tube in kV.", "(0018,0060)"),
    number("ExposureTime", "Time of the exposure in ms.", "(0018,1150)"),
    number("XRayTubeCurrent", "Current of the X-ray tube in mA.", "(0018,1151)"),
    text(
        "ConvolutionKernel",
        "Reconstruction kernel, such as B30f; several are joined by a backslash.",
        "(0018,1210)",
    ),
    number("ReconstructionDiameter", "Diameter of the reconstruction in mm.", "(0018,1100)"),
    number("SpacingBetweenSlices", "Distance between the centres of slices in mm.", "(0018,0088)"),
    text(
        "ScanningSequence",
        r"Type of MR data, such as SE or SE\IR.",
        "(0018,0020)",
    ),
    text("SequenceName", "Name of the MR sequence, as the manufacturer writes it.", "(0018,0024)"),
    number("EchoTime", "Echo time of MR in ms.", "(0018,0081)"),
    number("RepetitionTime", "Repetition time of MR in ms.", "(0018,0080)"),
    number("InversionTime", "Inversion time of MR in ms.", "(0018,0082)"),
    number("FlipAngle", "Flip angle of MR in degrees.", "(0018,1314)"),
    number("MagneticFieldStrength", "Field strength of MR in T.", "(0018,0087)"),
    number("DiffusionBValue", "Diffusion weighting of MR in s/mm2.", "(0018,9087)"),
    whole("TemporalPositionIdentifier", "Number of the position in time.", "(0020,0100)"),
    text("PhotometricInterpretation", "Meaning of pixels, such as MONOCHROME2.", "(0028,0004)"),
    count("BitsAllocated", "Bits that a sample of a pixel takes.", "(0028,0100)"),
    count("BitsStored", "Bits of these that are used.", "(0028,0101)"),
    numbers("WindowCenter", "Centres of windows for display, in real values.", "(0028,1050)"),
    numbers("WindowWidth", "Widths of the same windows, in real values.", "(0028,1051)"),
    text("LossyImageCompression", "01 if lossy compression was ever applied.", "(0028,2110)"),
    text("Units", "Units of pixels, such as BQML or CNTS (PT only).", "(0054,1001)"),
    text("DecayCorrection", "Time that decay is corrected to: NONE, START, ADMIN.", "(0054,1102)"),
    number("DecayFactor", "Factor by which decay was corrected (PT only).", "(0054,1321)"),
    text("Radiopharmaceutical", "Name of the tracer (PT and NM).", "(0018,0031)", inside=_TRACER),
    number(
        "RadionuclideTotalDose",
        "Dose of the tracer in Bq; a few write MBq.",
        "(0018,1074)",
        inside=_TRACER,
    ),
    number("RadionuclideHalfLife", "Half life in s.", "(0018,1075)", inside=_TRACER),
    text(
        "RadiopharmaceuticalStartTime",
        "Time of the injection as written: HHMMSS.FFFFFF.",
        "(0018,1072)",
        inside=_TRACER,
    ),
    text(
        "RadiopharmaceuticalStartDateTime",
        "Date and time of the injection as written.",
        "(0018,1078)",
        inside=_TRACER,
    ),
)

# Modalities of acquired images. Objects of other modalities (SEG, RTSTRUCT, RTDOSE, SR, PR, ...)
# refer to images.
ACQUIRED_MODALITIES = frozenset(
    {"BI", "CR", "CT", "DX", "ECG", "ES", "GM", "IO", "IVOCT", "IVUS", "MG", "MR", "NM", "OCT"}
    | {"OP", "OPT", "PT", "PX", "RF", "RG", "SM", "US", "XA", "XC"}
)

DESCRIBED_ZIPS = """\
    SELECT Collection, SeriesInstanceUID FROM indexed_zips
    UNION ALL SELECT Collection, SeriesInstanceUID FROM "references"
    UNION ALL SELECT Collection, SeriesInstanceUID FROM targets"""
"""SQL for the zips that the tables made from them describe; one may occur several times."""

# Zips on disk that a table made from them does not describe, or whose event the history lacks: a
# run that is killed, or fails, leaves them, and the next run of their Collection completes them.
# The event of a Series that moved may be in the Collection that it left. The rows that tables have
# of its zip there are removed by the next run of the Collection that has the zip now.
#
# Only numbers are compared, hashes of Series and SHA-256: of 200,000 zips, the texts take 300 MB
# and twice the time. That a missing one has the hash of any other happens once in 10^14 times. Rows
# are read again if one is missing. The complete zips of Series that moved are found with IN: for a
# join, DuckDB would hold all complete zips.
UNINDEXED_ZIPS = f"""\
WITH zips AS MATERIALIZED (
    SELECT hash(Collection, SeriesInstanceUID, sha256) AS zip,
        hash(SeriesInstanceUID, sha256) AS zip_anywhere, status = 'complete' AS is_complete
    FROM image_archives WHERE path IS NOT NULL
),
indexed AS MATERIALIZED (
    SELECT hash(Collection, SeriesInstanceUID, archive_sha256) AS zip,
        referring_count > 0 AS is_referring FROM indexed_zips
),
lacking AS (
    SELECT zip, 1 AS place, 'images' AS name FROM (
        SELECT zip FROM zips EXCEPT SELECT zip FROM indexed
    )
    UNION ALL
    SELECT zip, 2, 'references' FROM zips WHERE zip IN (
        SELECT zip FROM indexed WHERE is_referring EXCEPT
        SELECT hash(Collection, SeriesInstanceUID, archive_sha256) FROM "references"
    )
    UNION ALL
    SELECT zip, 3, 'series_changes' FROM zips WHERE is_complete AND zip_anywhere IN (
        SELECT zip_anywhere FROM zips WHERE is_complete EXCEPT
        SELECT hash(SeriesInstanceUID, split_part(event_id, ' ', 2))
        FROM series_changes WHERE event IN ('fetched', 'refetched')
    )
),
moved AS (
    SELECT Collection, SeriesInstanceUID, moved_to FROM series WHERE moved_to IS NOT NULL
)
SELECT a.Collection, a.SeriesInstanceUID,
    'not in ' || string_agg(l.name, ', ' ORDER BY l.place) AS problem
FROM image_archives AS a JOIN lacking AS l
    ON l.zip = hash(a.Collection, a.SeriesInstanceUID, a.sha256)
GROUP BY a.Collection, a.SeriesInstanceUID
UNION ALL
SELECT DISTINCT moved_to, SeriesInstanceUID, 'still described in ' || Collection FROM moved
    SEMI JOIN (
        SELECT Collection AS moved_to, SeriesInstanceUID FROM image_archives
        WHERE status = 'complete' AND hash(Collection, SeriesInstanceUID) IN (
            SELECT hash(moved_to, SeriesInstanceUID) FROM moved
        )
    ) USING (moved_to, SeriesInstanceUID)
    SEMI JOIN (
        SELECT Collection, SeriesInstanceUID FROM (
{DESCRIBED_ZIPS}
        ) SEMI JOIN moved USING (Collection, SeriesInstanceUID)
    ) USING (Collection, SeriesInstanceUID)
    ANTI JOIN (
        SELECT Collection, SeriesInstanceUID FROM image_archives
        SEMI JOIN moved USING (Collection, SeriesInstanceUID)
    ) USING (Collection, SeriesInstanceUID)
"""

HEADERS_READ_FOR = text("header_version", "Version of the columns that the header was read for.")

# As rows in memory, 50 MB of `images`, and about as much of the narrower tables.
_IMAGES_PER_PART, _REFERENCES_PER_PART = 50_000, 250_000
# To write a row of `images` again takes 12 us, and a fetch makes six queries that open each of
# the files of `indexed_zips`, 0.2 ms a file.
_IMAGES_AGAIN, _REFERENCES_AGAIN = 6_000, 30_000

IMAGES = Table(
    "images",
    "DICOM object in a complete zip",
    key=("SOPInstanceUID",),
    partitioned_by="Collection",
    rows_per_part=_IMAGES_PER_PART,
    rows_written_again=_IMAGES_AGAIN,
    summary="indexed_zips",
    made_from="image_archives",
    parents=(Parent("image_archives", ("SeriesInstanceUID",)),),
    checks=(
        Check(
            "zips_indexed",
            "Each zip on disk is described by images and references, and its fetch by "
            "series_changes, and none of a Series that moved is described in the Collection that "
            "it left; the next run of its Collection completes them.",
            UNINDEXED_ZIPS,
        ),
    ),
    columns=(
        *(SOP_UID, SERIES_UID, STUDY_UID, PATIENT_ID, COLLECTION, SOP_CLASS_UID, MODALITY),
        TRANSFER_SYNTAX_UID,
        whole("InstanceNumber", "Number of the object within its Series.", "(0020,0013)"),
        count("Rows", "Number of pixel rows.", "(0028,0010)"),
        count("Columns", "Number of pixel columns.", "(0028,0011)"),
        count("NumberOfFrames", "Number of frames in the object.", "(0028,0008)"),
        numbers("PixelSpacing", "Spacing of rows and of columns, in mm.", "(0028,0030)"),
        number("SliceThickness", "Thickness of the slice in mm.", "(0018,0050)"),
        numbers(
            "ImagePositionPatient", "Position (x, y, z) of the first pixel in mm.", "(0020,0032)"
        ),
        numbers(
            "ImageOrientationPatient", "Directions of rows and columns: six cosines.", "(0020,0037)"
        ),
        uid("FrameOfReferenceUID", "Coordinate system of the positions.", "(0020,0052)"),
        number("RescaleSlope", "real = stored * RescaleSlope + RescaleIntercept.", "(0028,1053)"),
        number("RescaleIntercept", "Offset to real values; see RescaleSlope.", "(0028,1052)"),
        *_ACQUISITION,
        ENTRY_NAME,
        size("size_bytes", "Size of the object in bytes."),
        text("md5", "MD5 of the object."),
        ARCHIVE_SHA256,
        text("error", "Why the header or a value cannot be read; null without an error."),
        HEADERS_READ_FOR,
    ),
)

# The columns of `images` that a header fills. Zips whose rows have another version are read again.
HEADER_COLUMNS = tuple(column for column in IMAGES.columns if column.tag)
HEADER_VERSION = hashlib.sha256(
    repr([(c.name, c.tag, c.inside, c.kind.name) for c in HEADER_COLUMNS]).encode()
).hexdigest()[:12]

INDEXED_ZIPS = Table(
    "indexed_zips",
    "zip that images describes",
    key=("SeriesInstanceUID",),
    partitioned_by="Collection",
    rows_per_part=_IMAGES_PER_PART,
    made_from="images",
    updates=(
        "Written together with `images`, so it has no runs and events of its own. Each of its "
        "files describes the file of `images` with the same number, and shows what is in it "
        "without reading it."
    ),
    columns=(
        *(SERIES_UID, COLLECTION, ARCHIVE_SHA256),
        count("row_count", "Number of rows of images.", required=True),
        count("object_count", "Number of objects; 0 if the zip cannot be read.", required=True),
        count("referring_count", "Number of objects that may refer to images.", required=True),
        count("unidentified_count", "Number of rows without SOPInstanceUID.", required=True),
        count("error_count", "Number of rows with an error.", required=True),
        count(
            "repeated_count",
            "Number of objects that a different zip of the Collection has too; they have no "
            "SOPInstanceUID in images.",
            required=True,
        ),
        count(
            "shared_count",
            "Number of objects that images of a different Collection had too when it was read.",
            required=True,
        ),
        whole_numbers(
            "uid_numbers",
            "A number for each SOPInstanceUID that images has of the zip, sorted: DuckDB's "
            "md5_number_lower, shifted right by one bit; null without one.",
        ),
        HEADERS_READ_FOR,
    ),
)

# The view that summarizes them by Series. It leaves out what identifies an object, or places it.
ACQUISITION_VIEW = "series_acquisition"
ACQUISITION_COLUMNS = tuple(
    column
    for column in (*HEADER_COLUMNS, IMAGES.column("patient_age_years"))
    if column.name
    not in _names(
        "SOPInstanceUID, SeriesInstanceUID, StudyInstanceUID, PatientID, InstanceNumber, "
        "ImagePositionPatient"
    )
)

_OBJECT_COLUMNS = (SOP_UID, SERIES_UID, COLLECTION, MODALITY, ENTRY_NAME)

REFERENCES = Table(
    "references",
    "reference to images from a SEG, RTSTRUCT, RTDOSE, SR, PR or similar object (one row with "
    "nulls if the object has no references or cannot be read)",
    key=_names(
        "SeriesInstanceUID, entry_name, how, referenced_series_instance_uid, "
        "referenced_sop_instance_uid, referenced_frame_of_reference_uid"
    ),
    partitioned_by="Collection",
    rows_per_part=_REFERENCES_PER_PART,
    rows_written_again=_REFERENCES_AGAIN,
    made_from="images",
    parents=(Parent("image_archives", ("SeriesInstanceUID",)),),
    checks=(
        Check(
            "references_readable",
            "The header of each object that refers to images can be read.",
            "SELECT DISTINCT Collection, SeriesInstanceUID, entry_name, error "
            'FROM "references" WHERE error IS NOT NULL',
        ),
        Check(
            "masks_refer",
            "Each SEG and RTSTRUCT refers to images.",
            "SELECT Collection, SeriesInstanceUID, entry_name "
            "FROM \"references\" WHERE Modality IN ('SEG', 'RTSTRUCT') "
            "AND how IS NULL AND error IS NULL",
        ),
    ),
    columns=(
        *_OBJECT_COLUMNS,
        text("how", "Type of reference: series, sop or frame_of_reference; null if none."),
        uid(
            "referenced_series_instance_uid",
            "UID of the referenced Series, or of the referenced object's Series.",
        ),
        uid("referenced_sop_instance_uid", "UID of the referenced object."),
        uid("referenced_frame_of_reference_uid", "UID of the referenced frame of reference."),
        ARCHIVE_SHA256,
        text("error", "Why the references cannot be read; null without an error."),
    ),
)

TARGETS = Table(
    "targets",
    "segment of a SEG or ROI of an RTSTRUCT",
    key=("SeriesInstanceUID", "entry_name", "target_place"),
    partitioned_by="Collection",
    rows_per_part=_REFERENCES_PER_PART,
    rows_written_again=_REFERENCES_AGAIN,
    made_from="images",
    parents=(Parent("image_archives", ("SeriesInstanceUID",)),),
    checks=(
        Check(
            "targets_named",
            "Each segment and ROI has a name.",
            "SELECT Collection, SeriesInstanceUID, entry_name, target_place FROM targets "
            "WHERE target_name IS NULL",
        ),
    ),
    columns=(
        *_OBJECT_COLUMNS,
        count("target_place", "Position of the segment or ROI, from 1.", required=True),
        whole("target_number", "SegmentNumber of the segment, or ROINumber of the ROI."),
        text("target_name", "SegmentLabel of the segment, or ROIName of the ROI, as written."),
        text("target_type", "RTROIInterpretedType, or the segment's type as scheme:code."),
        text("target_type_meaning", "Meaning of the type's code, as written."),
        text("target_category", "Category of the segment as scheme:code."),
        text(
            "algorithm_type",
            "SegmentAlgorithmType of the segment, or ROIGenerationAlgorithm of the ROI: AUTOMATIC, "
            "SEMIAUTOMATIC or MANUAL, as written.",
        ),
        text("algorithm_name", "SegmentAlgorithmName of the segment."),
        count("contour_count", "Number of contours of the ROI; null for a segment."),
        uid("referenced_frame_of_reference_uid", "UID of the ROI's frame of reference."),
        ARCHIVE_SHA256,
    ),
)

ZIP_READS = Table(
    "zip_reads",
    "part of a Collection's zips, with when they were last read again and compared with their "
    "SHA-256",
    key=("Collection", "part"),
    partitioned_by="Collection",
    made_from="image_archives",
    updates=(
        "Written by the job `{prefix}_verify`, by the check `archives_intact` of image_archives "
        "and by `tcia-assets verify`, so it has no runs and events of its own."
    ),
    parents=_IN_COLLECTION,
    columns=(
        COLLECTION,
        text(
            "part",
            "First three hex digits of the MD5 of the SeriesInstanceUID of each of its zips.",
            required=True,
        ),
        instant("read_at", "When the reading of its zips began.", required=True),
        count("zips", "Number of zips that were read.", required=True),
        size("zip_bytes", "Total bytes of these zips.", required=True),
        count("damaged", "Number of them that were not as they were verified.", required=True),
    ),
)

SOURCE_EQUALITY = Table(
    "source_equality",
    "comparison of the images of a Series in two places: the mirror, NBIA, the IDC",
    key=("SeriesInstanceUID", "left_source", "right_source"),
    partitioned_by="Collection",
    made_from="images",
    parents=(Parent("series", ("SeriesInstanceUID",)),),
    updates=(
        "Written by `tcia-assets verify --against`, so it has no runs and events of its own; what "
        "differs is shown by the check `sources_equal` of image_archives. Only hashes are "
        "compared; no image is downloaded for it."
    ),
    columns=(
        SERIES_UID,
        COLLECTION,
        text("left_source", "What is compared: mirror, nbia or idc.", required=True),
        text("right_source", "What it is compared with: nbia or idc.", required=True),
        text(
            "state",
            "equal; differs; lag, if the IDC does not have this version yet; absent, if one of "
            "them has no or fewer objects for a known reason; unknown, if there is no hash.",
            required=True,
        ),
        text("left_hash", "MD5 over the sorted MD5s of the objects on the left."),
        text("right_hash", "The same of those on the right."),
        count("left_objects", "Number of objects on the left; null if not known."),
        count("right_objects", "Number of objects on the right; null if not known."),
        count("idc_version", "Version of the IDC that was compared."),
        instant("compared_at", "When they were compared.", required=True),
        text("reason", "Why the state is not equal, as far as it is known."),
    ),
)

CLINICAL_TABLES = Table(
    "clinical_tables",
    "clinical table of a Collection in the Imaging Data Commons; its rows are in a view of its own",
    key=("Collection", "table_name"),
    partitioned_by="Collection",
    updates=(
        "Written by the job `{prefix}_clinical`, each Sunday where its schedule is on, and by "
        "`tcia-assets clinical`. The rows of each table are in "
        "`warehouse/clinical/<table_name>/` and in the view `clinical_<table_name>`, with "
        "Collection and PatientID as the first columns."
    ),
    columns=(
        COLLECTION,
        text("table_name", "Name of the table in the Imaging Data Commons.", required=True),
        text("title", "What it is about."),
        texts("columns", "Names of its columns in the view."),
        texts("labels", "What each of these columns means, in the same order."),
        count("rows", "Number of its rows.", required=True),
        SOURCE,
        FETCHED_AT,
    ),
)

IMPORTS = Table(
    "imports",
    "Collection that was imported from a folder, with its newest import",
    key=("Collection",),
    partitioned_by="Collection",
    updates=(
        "Written by `tcia-assets import`, so it has no runs and events of its own. Refreshes, "
        "sensors and schedules leave these Collections as they are."
    ),
    columns=(
        COLLECTION,
        text("folder", "The folder.", required=True),
        instant("imported_at", "When the folder was read.", required=True),
        count("files", "Number of files in it.", required=True),
        count("objects", "Number of DICOM objects in these, each once.", required=True),
        size("object_bytes", "Total bytes of these objects.", required=True),
        count(
            "repeated_files",
            "Number of files whose object another file has too, with the same bytes.",
            required=True,
        ),
        count("not_dicom", "Number of files that are not DICOM.", required=True),
        count("directories", "Number of DICOMDIR files, which hold no object.", required=True),
        count(
            "without_uid",
            "Number of DICOM files without SOPInstanceUID or SeriesInstanceUID, which are left "
            "out.",
            required=True,
        ),
    ),
)

# The tables that the fetch of a Collection makes, with an asset and events of their own.
IMAGE_TABLES = (IMAGE_ARCHIVES, IMAGES, REFERENCES, TARGETS)

TABLES = (
    *(COLLECTIONS, *VALUE_TABLES, PATIENTS, STUDIES, SERIES, SERIES_CHANGES, SNAPSHOTS),
    *(SERIES_SIZES, COLLECTION_DESCRIPTIONS, SHARED_LISTS, UNREADABLE_VALUES),
    *IMAGE_TABLES,
    INDEXED_ZIPS,
    ZIP_READS,
    SOURCE_EQUALITY,
    CLINICAL_TABLES,
    IMPORTS,
)


def table(name: str) -> Table:
    """Return the table of that name.

    Raises:
        UnknownName: There is none; the message suggests similar names.
    """
    for each in TABLES:
        if each.name == name:
            return each
    raise UnknownName("table", name, (t.name for t in TABLES))


# --- Dialects -----------------------------------------------------------------------------------

# Endpoints that are not declared, because they are not for reading public data: the user
# administration of nbia-api v3; QC and curation (getSeriesQCInfo, getSeriesForDeletion and all that
# set, submit or delete); those of the search portal (searches, trees, carts, thumbnails,
# getDicomTags and the other ...ValuesAndCounts); utilities (status, getKeycloakParams,
# getUserAgreementTxt, getAllSOPClassDefinition, wado); and getSeriesMetadataCombined, which returns
# values under wrong names.

FORMATS = ("json", "csv", "xml", "html")

# java.util.Date.toString() of a server in UTC, like TCIA's.
_JAVA_DATE = "%a %b %d %H:%M:%S UTC %Y"
# Every way in which some server is known to write a date or a time. No text can be read in two of
# them, so each is read from every server, whichever way its dialect declares.
DATE_FORMATS = (
    "%Y-%m-%d",
    "%Y-%m-%d %H:%M:%S.%f",
    "%Y-%m-%d %H:%M:%S",
    "%m-%d-%Y",
    "%Y%m%d",  # as in DICOM headers; the examples of nbia-v4's guide have it
    _JAVA_DATE,
)


def _parameters(*names: str, **wire_names: str) -> tuple[Parameter, ...]:
    """Return parameters named like our columns, then those with a `wire_name` of their own.

    A `*` marks a required one.
    """
    sent = dict(zip(names, names, strict=True)) | wire_names
    return tuple(
        Parameter(name.rstrip("*"), wire_name.rstrip("*"), wire_name.endswith("*"))
        for name, wire_name in sent.items()
    )


def _rows(
    name: str, description: str, parameters: tuple[Parameter, ...], columns: str, **facts: Any
) -> Endpoint:
    """Declare an endpoint that returns rows in any of the formats."""
    return Endpoint(name, description, parameters, _names(columns), FORMATS, **facts)


_ONE_SERIES = _parameters("SeriesInstanceUID*")

# nbia-api v1 and v2: Hibernate entities; dates are written by java.sql.Timestamp.toString().
_V1_PATIENT = (
    "PatientId, PatientName, PatientBirthDate, PatientSex, EthnicGroup, Collection, Phantom, "
    "SpeciesCode, SpeciesDescription"
)
_V1_STUDY_START = (
    "StudyInstanceUID, StudyDate, StudyDescription, AdmittingDiagnosesDescription, StudyID, "
    "PatientAge"
)
_V1_STUDY = (
    f"{_V1_STUDY_START}, PatientID, PatientName, PatientBirthDate, PatientSex, EthnicGroup, "
    "Collection, SeriesCount, LongitudinalTemporalEventType, LongitudinalTemporalOffsetFromEvent"
)
_V1_SERIES_START = (
    "SeriesInstanceUID, StudyInstanceUID, Modality, ProtocolName, SeriesDate, SeriesDescription, "
    "BodyPartExamined, SeriesNumber, AnnotationsFlag, Collection, PatientID, Manufacturer, "
    "ManufacturerModelName, SoftwareVersions, ImageCount"
)
_V1_SERIES = (
    f"{_V1_SERIES_START}, TimeStamp, LicenseName, LicenseURI, CollectionURI, FileSize, "
    "DateReleased, StudyDesc, StudyDate, ThirdPartyAnalysis"
)
_V1_METADATA = (
    "Series UID, Collection, 3rd Party Analysis, Data Description URI, Subject ID, Study UID, "
    "Study Description, Study Date, Series Description, Manufacturer, Modality, SOP Class UID, "
    "Number of Images, File Size, File Location, Series Number, License Name, License URL, "
    "Annotation Size, Date Released, Series Date, Protocol Name, Body Part Examined, "
    "Annotations Flag, Manufacturer Model Name, Software Versions, TimeStamp"
)
_V1_WIRE = ValueFormat("%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%d %H:%M:%S.%f")
_V1_ENDPOINTS = (
    _rows(
        "getCollectionValues", "Names of all Collections.", (), "Collection", is_never_empty=True
    ),
    _rows(
        "getModalityValues",
        "Modalities, by Collection or body part.",
        _parameters("Collection", "BodyPartExamined"),
        "Modality",
    ),
    _rows(
        "getBodyPartValues",
        "Body parts, by Collection or modality.",
        _parameters("Collection", "Modality"),
        "BodyPartExamined",
    ),
    _rows(
        "getManufacturerValues",
        "Manufacturers, by Collection, modality or body part.",
        _parameters("Collection", "Modality", "BodyPartExamined"),
        "Manufacturer",
    ),
    _rows(
        "getPatient",
        "Patients, by Collection. In nbia-v1, PatientId never matches lower-case letters.",
        _parameters("Collection", PatientID="PatientId"),
        _V1_PATIENT,
    ),
    _rows(
        "getPatientByCollectionAndModality",
        "Patients of a Collection who have Series of a modality.",
        _parameters("Collection*", "Modality*"),
        "PatientId",
    ),
    _rows(
        "getPatientStudy",
        "Studies, by Collection, patient or Study.",
        _parameters("Collection", "PatientID", "StudyInstanceUID"),
        _V1_STUDY,
    ),
    _rows(
        "getSeries",
        "Series.",
        _parameters(
            *("Collection", "PatientID", "StudyInstanceUID", "Modality", "BodyPartExamined"),
            *("ManufacturerModelName", "Manufacturer", "SeriesInstanceUID"),
        ),
        _V1_SERIES,
    ),
    _rows(
        "getSeriesSize",
        "Total bytes and number of objects of one Series.",
        _ONE_SERIES,
        "TotalSizeInBytes, ObjectCount",
    ),
    _rows(
        "getSOPInstanceUIDs",
        "SOPInstanceUIDs of one Series, also of a hidden one.",
        _ONE_SERIES,
        "SOPInstanceUID",
    ),
    _rows(
        "getUpdatedSeries",
        "Series released after a date.",
        _parameters(since="fromDate"),
        f"{_V1_SERIES_START}, DateReleased",
        since_format="%d/%m/%Y",
        may_be_empty=True,
    ),
    _rows(
        "NewPatientsInCollection",
        "Patients of a Collection with a Series released after a date.",
        _parameters("Collection*", since="Date*"),
        _V1_PATIENT,
        since_format="%Y/%m/%d",
        may_be_empty=True,
    ),
    _rows(
        "NewStudiesInPatientCollection",
        "Studies of a Collection with a Series released after a date.",
        _parameters("Collection*", "PatientID", since="Date*"),
        _V1_STUDY,
        since_format="%Y/%m/%d",
        may_be_empty=True,
    ),
    Endpoint(
        "getContentsByName",
        "Public Series on a shared list; always JSON.",
        _parameters(list_name="name*"),
        _names(f"{_V1_SERIES_START}, Date Released"),
    ),
    _rows(
        "getSeriesMetadata",
        "Metadata of one Series for a downloader; all values are texts.",
        _ONE_SERIES,
        _V1_METADATA,
        path="getSeriesMetaData",
        date_formats=(
            ("Study Date", "%m-%d-%Y"),
            *((name, _JAVA_DATE) for name in ("Date Released", "Series Date", "TimeStamp")),
        ),
    ),
    _rows(
        "getDeniedSeries",
        "Those of the requested Series that the user may not download.",
        (
            Parameter("SeriesInstanceUID", "seriesList", required=True, is_list=True),
            *_parameters("userName"),
        ),
        "SeriesInstanceUID",
        may_be_empty=True,
    ),
    Endpoint(
        "getImage",
        "Zip of the objects of one Series, with its licence.",
        _parameters("SeriesInstanceUID*", "NewFileNames"),
        returns="zip",
        zip_proof="count",
    ),
    Endpoint(
        "getImageWithMD5Hash",
        "Zip of the objects of one Series, with their MD5s as the last entry.",
        _ONE_SERIES,
        returns="zip",
        zip_proof="md5",
    ),
    # Not used for downloads: its proof is not stronger than that of getImageWithMD5Hash.
    Endpoint(
        "getDCMImage",
        "Zip of the objects of one Series, optionally with annotation files and MD5s.",
        _parameters("SeriesInstanceUID*", "IncludeAnnotation", "MD5Verification"),
        returns="zip",
        fixed_parameters=(("MD5Verification", "true"),),
    ),
    Endpoint(
        "getSingleImage",
        "One DICOM object.",
        _parameters("SeriesInstanceUID*", "SOPInstanceUID*"),
        returns="dicom",
    ),
    Endpoint(
        "getMD5HashForImage",
        "MD5 of one DICOM object.",
        _parameters(SOPInstanceUID="SOPInstanceUid*"),
        path="getM5HashForImage",  # sic, and so is the parameter
        returns="text",
    ),
)

# nbia-api v4: native SQL; dates as %m-%d-%Y, no birth dates.
_V4_PATIENT = _names(_V1_PATIENT.replace("PatientBirthDate, ", "") + ", Authorized")
_V4_STUDY = _names(_V1_STUDY.replace("PatientBirthDate, ", "") + ", Authorized")
_V4_SERIES = _names(
    "SeriesInstanceUID, StudyInstanceUID, Modality, ProtocolName, SeriesDate, SeriesDescription, "
    "BodyPartExamined, SeriesNumber, AnnotationsFlag, Collection, Site, PatientID, PatientSex, "
    "PatientAge, AdmittingDiagnosisDescription, Manufacturer, ManufacturerModelName, "
    "SoftwareVersions, ImageCount, MaxSubmissionTimestamp, LicenseName, LicenseURI, "
    "DataDescriptionURI, FileSize, ReleasedStatus, DateReleased, StudyDesc, StudyDate, "
    "ThirdPartyAnalysis, Authorized"
)
_V4_METADATA = _names(
    "PatientID, PatientName, PatientSex, EthnicGroup, Phantom, SpeciesCode, SpeciesDescription, "
    "StudyInstanceUID, StudyDate, StudyDesc, AdmittingDiagnosisDescription, StudyID, PatientAge, "
    "LongitudinalTemporalEventType, LongitudinalTemporalOffsetFromEvent, SeriesInstanceUID, "
    "Collection, Site, Modality, ProtocolName, SeriesDate, SeriesDescription, BodyPartExamined, "
    "SeriesNumber, AnnotationsFlag, Manufacturer, ManufacturerModelName, PixelSpacing(mm)-Row, "
    "SliceThickness(mm), SoftwareVersions, ImageCount, MaxSubmissionTimestamp, LicenseName, "
    "LicenseURI, DataDescriptionURI, FileSize, ReleasedStatus, DateReleased, ThirdPartyAnalysis, "
    "Authorized"
)
_V4_DAY = "%m-%d-%Y"
_V4_CHANGED: dict[str, dict[str, Any]] = {
    "getPatient": {"columns": _V4_PATIENT, "description": "Patients, by Collection or patient."},
    "getPatientByCollectionAndModality": {"columns": ("PatientId", "Authorized")},
    "getPatientStudy": {"columns": _V4_STUDY},
    "getSeries": {"columns": _V4_SERIES},
    "getUpdatedSeries": {"columns": _V4_SERIES, "since_format": _V4_DAY},
    "NewPatientsInCollection": {
        "columns": _V4_PATIENT,
        "since_format": _V4_DAY,
        "parameters": _parameters("Collection*", since="fromDate*"),
    },
    "NewStudiesInPatientCollection": {
        "columns": _V4_STUDY,
        "since_format": _V4_DAY,
        "parameters": _parameters("Collection*", "PatientID", since="fromDate*"),
    },
    "getSeriesMetadata": {
        "path": "getSeriesMetadata",
        "description": "All metadata of many Series; nearly all values are texts.",
        "parameters": (Parameter("SeriesInstanceUID", "list", required=True, is_list=True),),
        "columns": _V4_METADATA,
        "method": "POST",
        "date_formats": (),
    },
    # IncludeMD5 adds md5hashes.csv as the last entry, the only sign that the zip is complete.
    "getImage": {
        "parameters": _parameters("SeriesInstanceUID*", "NewFileNames", "IncludeMD5"),
        "fixed_parameters": (("IncludeMD5", "Yes"),),
        "zip_proof": "md5",
    },
    "getMD5HashForImage": {
        "path": "getMD5HashForImage",
        # The parameter format is accepted but has no effect.
        "parameters": _parameters("SOPInstanceUID*", "format"),
    },
}
_V4_ENDPOINTS = (
    *(
        replace(endpoint, **_V4_CHANGED.get(endpoint.name, {}))
        for endpoint in _V1_ENDPOINTS
        if endpoint.name != "getContentsByName"
    ),
    Endpoint(
        "getMD5Hierarchy",
        "Hash over the MD5s of a Series, Study, patient or Collection.",
        _parameters("SeriesInstanceUID", "StudyInstanceUID", "PatientID", "Collection"),
        method="POST",
        returns="text",
    ),
    Endpoint(
        "getCollectionDescriptions",
        "Descriptions of Collections; always JSON.",
        _parameters(Collection="collectionName"),
        _names(
            "collectionName, description, descriptionURI, id, collectionDescTimestamp, userName, "
            "licenseId"
        ),
        may_be_empty=True,
    ),
    Endpoint(
        "getCollectionValuesAndCounts",
        "Collections with their number of patients; always JSON; ignores all parameters.",
        columns=("Collection", "Count", "Authorized"),
    ),
    Endpoint(
        "getManifestForCollection",
        "Series list of a Collection for TCIA's downloader.",
        _parameters("visibility", "includeAnnotation", Collection="collection"),
        method="POST",
        returns="manifest",
    ),
)

# Bindaas: the API before NBIA's own.
_BINDAAS_PATIENT = "PatientID, PatientName, PatientBirthDate, PatientSex, EthnicGroup, Collection"
_BINDAAS_PATIENTS = {"columns": _names(_BINDAAS_PATIENT)}
_BINDAAS_STUDIES = {"columns": _names(f"{_V1_STUDY_START}, {_BINDAAS_PATIENT}, SeriesCount")}
_BINDAAS_SERIES = _names(_V1_SERIES_START.replace("PatientID, ", ""))
_BINDAAS_SINCE = {"since_format": "%Y-%m-%d"}
_BINDAAS_CHANGED: dict[str, dict[str, Any]] = {
    "getPatient": _BINDAAS_PATIENTS
    | {"parameters": _parameters("Collection"), "description": "Patients, by Collection."},
    "getPatientByCollectionAndModality": _BINDAAS_PATIENTS | {"path": "PatientsByModality"},
    "getPatientStudy": _BINDAAS_STUDIES,
    "getSeries": {"columns": _BINDAAS_SERIES, "optional_columns": ("PatientID",)},
    "getImage": {"parameters": _ONE_SERIES},
    "NewPatientsInCollection": _BINDAAS_PATIENTS | _BINDAAS_SINCE,
    "NewStudiesInPatientCollection": _BINDAAS_STUDIES | _BINDAAS_SINCE,
}
_BINDAAS_HAS_NOT = _names(
    "getUpdatedSeries, getContentsByName, getSeriesMetadata, getDeniedSeries, getImageWithMD5Hash, "
    "getDCMImage, getMD5HashForImage"
)


def _in_bindaas(endpoint: Endpoint) -> Endpoint:
    changed = replace(endpoint, **_BINDAAS_CHANGED.get(endpoint.name, {}))
    return replace(changed, path=f"TCIA/query/{changed.path}")


_BINDAAS_ENDPOINTS = (
    *(_in_bindaas(e) for e in _V1_ENDPOINTS if e.name not in _BINDAAS_HAS_NOT),
    Endpoint(
        "getContentsByName",
        "Series on a shared list; always JSON. SharedList is beside TCIA in the path, not below.",
        _parameters(list_name="name*"),
        _BINDAAS_SERIES,
        optional_columns=("PatientID",),
        path="SharedList/query/ContentsByName",
    ),
)
# The date format of Bindaas is not documented: its clients send and expect ISO dates, and there are
# replies with a time of day behind them. All of DATE_FORMATS are read.
_BINDAAS_WIRE = ValueFormat("%Y-%m-%d", "%Y-%m-%d %H:%M:%S.%f", decimals_in_text=True)

# TCIA serves this Collection alone from a host of its own, and no other host has it.
NLST = "NLST"
_NLST_SERVICES = "https://nlst.cancerimagingarchive.net/nbia-api/services"
_SERVICES = "https://services.cancerimagingarchive.net"
DIALECTS = (
    Dialect(
        "nbia-v4",
        "current API of NBIA, public",
        "https://nbia.cancerimagingarchive.net/nbia-api/services/v4",
        ValueFormat(_V4_DAY, _V4_DAY, decimals_in_text=True),
        _V4_ENDPOINTS,
        delegate="nbia-v1",
        delegated_endpoints=("getContentsByName",),
        is_strict=True,
        nlst_base_url=f"{_NLST_SERVICES}/v4",
    ),
    Dialect(
        "nbia-v1",
        "first API of NBIA, public, deprecated",
        f"{_SERVICES}/nbia-api/services/v1",
        _V1_WIRE,
        _V1_ENDPOINTS,
        nlst_base_url=f"{_NLST_SERVICES}/v1",
    ),
    Dialect(
        "nbia-v2",
        "nbia-v1 with a bearer token",
        f"{_SERVICES}/nbia-api/services/v2",
        _V1_WIRE,
        _V1_ENDPOINTS,
        auth="bearer",
        nlst_base_url=f"{_NLST_SERVICES}/v2",
    ),
    Dialect(
        "bindaas-v4",
        "last Bindaas API, public, not updated since 2022",
        f"{_SERVICES}/services/v4",
        _BINDAAS_WIRE,
        _BINDAAS_ENDPOINTS,
    ),
    Dialect(
        "bindaas-v3",
        "Bindaas API with an API key",
        f"{_SERVICES}/services/v3",
        _BINDAAS_WIRE,
        _BINDAAS_ENDPOINTS,
        auth="api_key",
    ),
)


def dialect(name: str) -> Dialect:
    """Return the dialect of that name.

    Raises:
        UnknownName: There is none; the message lists the valid ones.
    """
    for each in DIALECTS:
        if each.name == name:
            return each
    raise UnknownName("dialect", name, (d.name for d in DIALECTS))


# --- Names of columns in replies ----------------------------------------------------------------

# Columns of endpoints from which no table is made.
_COLUMNS_OF_NO_TABLE = (
    SOP_UID,
    replace(SOP_CLASS_UID, wire_names=("SOP Class UID",)),
    count("PatientCount", "Number of patients in the Collection.", wire_names=("Count",)),
    text("PixelSpacingRow", "Distinct row spacings, in mm.", wire_names=("PixelSpacing(mm)-Row",)),
    text("SliceThicknesses", "Distinct thicknesses, in mm.", wire_names=("SliceThickness(mm)",)),
    size("AnnotationSize", "Total bytes of the annotation files.", wire_names=("Annotation Size",)),
    whole("CollectionDescriptionID", "ID of the description.", wire_names=("id",)),
    whole(
        "CollectionDescriptionTimestamp",
        "When the description was written, in milliseconds since 1970.",
        wire_names=("collectionDescTimestamp",),
    ),
    text("CollectionDescriptionUser", "User who wrote the description.", wire_names=("userName",)),
    whole("LicenseID", "ID of the Collection's licence.", wire_names=("licenseId",)),
)

# Every column under each of its names in replies. A name means the same column in all endpoints and
# dialects, which a test checks.
COLUMNS_BY_WIRE_NAME = {
    spelling: column
    for columns in (*(t.columns for t in TABLES if t.endpoint), _COLUMNS_OF_NO_TABLE)
    for column in columns
    for spelling in column.spellings
} | {
    # getCollectionDescriptions of nbia-v4
    "collectionName": COLLECTION,
    "descriptionURI": DESCRIPTION_URI,
    # getSeriesMetaData of nbia-v1
    "Series UID": SERIES_UID,
    "3rd Party Analysis": THIRD_PARTY,
    "Subject ID": PATIENT_ID,
    "Study UID": STUDY_UID,
    "Number of Images": IMAGE_COUNT,
    "File Location": STUDY_ID,  # despite its name
    "License URL": LICENSE_URI,
}
# The other names of getSeriesMetaData are ours with blanks between the words.
COLUMNS_BY_WIRE_NAME |= {
    name: COLUMNS_BY_WIRE_NAME[name.replace(" ", "")]
    for name in _names(_V1_METADATA)
    if name not in COLUMNS_BY_WIRE_NAME
}


# --- The index of the Imaging Data Commons ------------------------------------------------------

# Facts about it: docs/sources.md. One release is a complete list of everything.
IDC_INDEX = IndexFile(
    "idc_index",
    _names(
        "collection_id, analysis_result_id, PatientID, SeriesInstanceUID, StudyInstanceUID, "
        "source_DOI, PatientAge, PatientSex, StudyDate, StudyDescription, BodyPartExamined, "
        "Modality, SOPClassUID, TransferSyntaxUID, Manufacturer, ManufacturerModelName, "
        "SeriesDate, SeriesDescription, SeriesNumber, instanceCount, license_short_name, "
        "aws_bucket, crdc_series_uuid, series_size_MB"
    ),
    numbers=_names("instanceCount, series_size_MB"),
)
IDC_PRIOR_VERSIONS = IndexFile(
    "prior_versions_index",
    _names("SeriesInstanceUID, collection_id, crdc_series_uuid, min_idc_version, max_idc_version"),
    numbers=_names("min_idc_version, max_idc_version"),
)
IDC_COLLECTIONS = IndexFile(
    "collections_index",
    _names(
        "collection_name, collection_id, cancer_types, tumor_locations, species, sources, "
        "program_id, status, updated, description"
    ),
    lists=("sources",),
)
IDC_ANALYSES = IndexFile("analysis_results_index", _names("source_DOI, updated, description"))
# When each release was made; older packages lack it.
IDC_VERSIONS = IndexFile("version_metadata_index", _names("idc_version, version_timestamp"))
IDC_FILES = (IDC_INDEX, IDC_PRIOR_VERSIONS, IDC_COLLECTIONS, IDC_ANALYSES)

# TCIA's name and URI of each licence, by its short name. CC BY 3.0 is from captured rows, with
# http; the others have Creative Commons' own title and URL.
LICENSES = {
    "CC BY 3.0": (
        "Creative Commons Attribution 3.0 Unported License",
        "http://creativecommons.org/licenses/by/3.0/",
    ),
    "CC BY 4.0": (
        "Creative Commons Attribution 4.0 International License",
        "https://creativecommons.org/licenses/by/4.0/",
    ),
    "CC BY-NC 3.0": (
        "Creative Commons Attribution-NonCommercial 3.0 Unported License",
        "http://creativecommons.org/licenses/by-nc/3.0/",
    ),
    "CC BY-NC 4.0": (
        "Creative Commons Attribution-NonCommercial 4.0 International License",
        "https://creativecommons.org/licenses/by-nc/4.0/",
    ),
}

# By the short name, because a row of the index has one that belongs to another licence's address.
_CC_URI = """
    CASE WHEN license_short_name SIMILAR TO 'CC (BY|BY-NC|BY-SA|BY-ND|BY-NC-SA|BY-NC-ND) [0-9.]+'
    THEN 'https://creativecommons.org/licenses/' || lower(split_part(license_short_name, ' ', 2))
        || '/' || split_part(license_short_name, ' ', 3) || '/' END
"""


def _as_of_tcia(short_name: str, place: int, other: str) -> str:
    """Return SQL for what TCIA writes of a licence, `other` if it has none of that short name."""
    cases = (f"WHEN '{short}' THEN '{texts[place]}'" for short, texts in LICENSES.items())
    return f"CASE {short_name} {' '.join(cases)} ELSE {other} END"


_IDC_SAME = _names(
    "SeriesInstanceUID, StudyInstanceUID, PatientID, Modality, SeriesDescription, "
    "BodyPartExamined, PatientSex, PatientAge, Manufacturer, ManufacturerModelName, SeriesDate, "
    "SeriesNumber, StudyDate, StudyDescription, aws_bucket, analysis_result_id, SOPClassUID, "
    "TransferSyntaxUID, crdc_series_uuid"
)
IDC_SERIES = IndexRows(
    SERIES,
    {
        **{name: f"i.{name}" for name in _IDC_SAME},
        # TCIA's spelling; that of the index is in lower case.
        "Collection": "coalesce(c.collection_name, i.collection_id)",
        "ImageCount": "i.instanceCount",
        "FileSize": "round(i.series_size_MB * 1e6)",
        "LicenseName": _as_of_tcia("i.license_short_name", 0, "i.license_short_name"),
        "LicenseURI": _as_of_tcia("i.license_short_name", 1, _CC_URI),
        "DataDescriptionURI": f"'{IDC_DOI_URL}' || i.source_DOI",
        "ThirdPartyAnalysis": "CASE WHEN i.analysis_result_id IS NULL THEN 'NO' ELSE 'YES' END",
    },
    f"{IDC_INDEX.name} AS i LEFT JOIN {IDC_COLLECTIONS.name} AS c USING (collection_id)",
    doi="i.source_DOI",
)


# One row a DOI of a Collection; of an analysis over several Collections, one in each.
IDC_DESCRIPTIONS = IndexRows(
    COLLECTION_DESCRIPTIONS,
    {
        "Collection": "c.collection_name",
        "doi": "coalesce(lower(source.source_doi), '')",
        "title": "source.source_title",
        # The text of an analysis, where it has one of its own.
        "description": "coalesce(a.description, c.description)",
        "LicenseName": _as_of_tcia(
            "source.license.license_short_name", 0, "source.license.license_short_name"
        ),
        "citation": "source.citation",
        "cancer_types": "c.cancer_types",
        "tumor_locations": "c.tumor_locations",
        "species": "c.species",
        "program": "c.program_id",
        "status": "c.status",
        "updated_on": "coalesce(a.updated, c.updated)",
    },
    f"{IDC_COLLECTIONS.name} AS c, unnest(c.sources) AS each(source) "
    f"LEFT JOIN {IDC_ANALYSES.name} AS a ON lower(a.source_DOI) = lower(source.source_doi)",
    doi="source.source_doi",
)

# Rows that are read from the files of a release; all others are made from those of `series`.
IDC_READ = {rows.table: rows for rows in (IDC_SERIES, IDC_DESCRIPTIONS)}

# Columns that may have HTML.
IDC_HTML = {COLLECTION_DESCRIPTIONS: ("title", "description", "citation")}


def _idc_rows(made: Table, columns: str, **aggregates: str) -> IndexRows:
    """Declare rows that are made from those of `series`; columns of the key stand for themselves.

    Of others the smallest value is taken, so that it is the same each time.
    """
    values = {name: name if name in made.key else f"min({name})" for name in _names(columns)}
    return IndexRows(made, values | aggregates, SERIES.name, is_grouped=True)


# What is made from the rows of `series`, by table.
IDC_MADE = {
    rows.table: rows
    for rows in (
        _idc_rows(COLLECTIONS, "Collection"),
        _idc_rows(MODALITY_VALUES, "Collection, Modality"),
        _idc_rows(BODY_PART_VALUES, "Collection, BodyPartExamined"),
        _idc_rows(MANUFACTURER_VALUES, "Collection, Manufacturer"),
        _idc_rows(PATIENTS, "Collection, PatientID, PatientSex"),
        _idc_rows(
            STUDIES,
            "Collection, StudyInstanceUID, PatientID, StudyDate, StudyDescription, PatientAge, "
            "PatientSex",
            SeriesCount="count(*)",
        ),
        IndexRows(
            SERIES_SIZES,
            {
                "SeriesInstanceUID": "SeriesInstanceUID",
                "Collection": "Collection",
                "TotalSizeInBytes": "FileSize",
                "ObjectCount": "ImageCount",
            },
            SERIES.name,
        ),
    )
}
