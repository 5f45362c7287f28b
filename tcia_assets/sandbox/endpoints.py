"""What a server does that its clients need not know: the catalog's endpoints, as they are served.

Each server rejects requests in its own way, has its own default for `format`, and its own reply
without rows. Paths, parameters and columns are in `catalog.py`.

The facts were read from the servers' source (nbia-api, CBIIT/NBIA-TCIA); those about Bindaas, which
is closed, come from its guide and its clients.
"""

from __future__ import annotations

from dataclasses import dataclass

from tcia_assets.catalog import DIALECTS, dialect
from tcia_assets.spec import Dialect, Endpoint

# The software behind a dialect: NBIA's first API with Hibernate entities, its present one with
# native SQL, or Bindaas.
HIBERNATE, NATIVE_SQL, BINDAAS = "hibernate", "native SQL", "bindaas"
SOFTWARE = {
    "nbia-v4": NATIVE_SQL,
    "nbia-v1": HIBERNATE,
    "nbia-v2": HIBERNATE,
    "bindaas-v4": BINDAAS,
    "bindaas-v3": BINDAAS,
}

# The commas and plurals are the servers' own. Endpoints that are not listed accept a request
# without its required parameters.
_REQUIRED = {
    "getPatientByCollectionAndModality": "Collection and Modality, are",
    "getSeriesSize": "SeriesInstanceUID is",
    "getSOPInstanceUIDs": "SeriesInstanceUID is",
    "NewPatientsInCollection": "Collection and Date are",  # in nbia-v4 too, despite its fromDate
    "NewStudiesInPatientCollection": "Collection and Date are",
    "getContentsByName": "name is",
    "getSeriesMetadata": "SeriesInstanceUID is",
    "getDeniedSeries": "seriesList,  a list of SeriesInstanceUID is",
    "getImage": "SeriesInstanceUID, is",
    "getImageWithMD5Hash": "SeriesInstanceUID, is",
    "getDCMImage": "SeriesInstanceUID, is",
    "getSingleImage": "SeriesInstanceUID and SOPInstanceUID, are",
}
_NO_ROWS = {
    (HIBERNATE, "getSeriesSize"): "null row",  # the sum over no objects
    (HIBERNATE, "getSeriesMetadata"): "204",
    (HIBERNATE, "getDeniedSeries"): "204",
    (NATIVE_SQL, "getDeniedSeries"): "204",
    (NATIVE_SQL, "getCollectionDescriptions"): "array",
}
_ALL_TEXT = {HIBERNATE: (), NATIVE_SQL: ("ImageCount", "FileSize")}


@dataclass(frozen=True)
class ServedEndpoint:
    """An endpoint of the catalog, and what only its server needs to know."""

    dialect: Dialect
    endpoint: Endpoint

    @property
    def software(self) -> str:
        """The software of the server: `HIBERNATE`, `NATIVE_SQL` or `BINDAAS`."""
        return SOFTWARE[self.dialect.name]

    @property
    def is_bindaas(self) -> bool:
        """Whether the server is Bindaas."""
        return self.software == BINDAAS

    @property
    def is_native_sql(self) -> bool:
        """Whether the server is NBIA's present one."""
        return self.software == NATIVE_SQL

    @property
    def is_hibernate(self) -> bool:
        """Whether the server is NBIA's first one."""
        return self.software == HIBERNATE

    @property
    def rejects_unknown_parameters(self) -> bool:
        """Whether a parameter that the endpoint does not take is an error; else it is ignored."""
        return self.dialect.is_strict and self.endpoint.name != "getCollectionValuesAndCounts"

    @property
    def missing_parameter_message(self) -> str:
        """The error without a required parameter, "" where the server does not check."""
        if self.is_native_sql and self.endpoint.name == "getSeriesMetadata":
            return "A form parameter, list, containing at least one SeriesInstanceUID is required."
        required = _REQUIRED.get(self.endpoint.name)
        return f"A parameter, {required} required for this API call." if required else ""

    @property
    def no_rows(self) -> str:
        """The reply without rows: an "empty body", an "array" (in JSON), "204" or a "null row"."""
        usual = "array" if self.is_bindaas else "empty body"
        return _NO_ROWS.get((self.software, self.endpoint.name), usual)

    @property
    def default_format(self) -> str:
        """The format of a reply when the request names none."""
        if self.is_native_sql and self.endpoint.name == "getSeriesMetadata":
            return "csv-download"
        return "csv" if self.is_bindaas and self.endpoint.formats else "json"

    @property
    def since_is_exclusive(self) -> bool:
        """Whether rows of the very day that was sent are left out (`>`) or not (`>=`)."""
        return self.is_hibernate or self.endpoint.name == "getUpdatedSeries"

    @property
    def number_columns(self) -> tuple[str, ...] | None:
        """The columns sent as numbers where all others are texts; None where each has its kind."""
        is_all_text = self.endpoint.name == "getSeriesMetadata"
        return _ALL_TEXT[self.software] if is_all_text else None


def served(dialect_name: str, endpoint_name: str) -> ServedEndpoint:
    """Return an endpoint as the server of that dialect implements it.

    Raises:
        UnknownName: There is no such dialect, or it has no such endpoint.
    """
    spoken = dialect(dialect_name)
    return ServedEndpoint(spoken, spoken.endpoint(endpoint_name))


SERVED = tuple(ServedEndpoint(d, endpoint) for d in DIALECTS for endpoint in d.endpoints)
