"""The settings: each declared once, with its default, its meaning and its limits.

The variables `TCIA_<FIELD>`, the fields of `TciaResource` and the table in
docs/reference/settings.md follow from this declaration.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self, get_args
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from tcia_assets.catalog import DIALECTS, NLST, dialect
from tcia_assets.errors import TciaError, UnknownName, UsageError, require_known
from tcia_assets.spec import Dialect

_CRON_FIELDS = 5
_BUCKET = re.compile("[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
# Settings with few values: what each is, and its values.
_CHOICES = {"source": ("source", ("nbia", "idc")), "idc_scope": ("scope", ("tcia", "all"))}


def _secret(needed_by: str) -> Any:
    """Declare a setting that is shown nowhere."""
    description = f"secret for `{needed_by}`; never in a URL, log or error"
    return Field(default="", repr=False, description=description)


class Settings(BaseModel):
    """All settings, checked; each field is the variable `TCIA_<FIELD>` of the environment.

    Secrets are not in its repr.

    Raises:
        UsageError: A value is not valid; the error has the name of the setting and what is valid.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = Field(
        default="nbia",
        description="where metadata come from: `nbia`, TCIA's own server, or `idc`, the Imaging "
        "Data Commons",
    )
    image_sources: tuple[str, ...] = Field(
        default=(),
        description="sources of images, separated by commas: each Series is fetched from the "
        "first one, and from the next one where that fails",
        json_schema_extra={"default_text": "the value of `TCIA_SOURCE`"},
    )
    dialect: str = Field(
        default="nbia-v4",
        description="API of the server: `nbia-v4`, `nbia-v1`, `nbia-v2` (bearer token), "
        "`bindaas-v4` or `bindaas-v3` (API key)",
    )
    base_url: str = Field(
        default="",
        description="URL of the API, with its version, such as "
        "`https://HOST/nbia-api/services/v4`; the version must be that of `TCIA_DIALECT`",
        json_schema_extra={"default_text": "the dialect's public server"},
    )
    nlst_base_url: str = Field(
        default="",
        description="URL of the API that has the Collection NLST, which TCIA serves from a host of "
        "its own; the default is used only while `TCIA_BASE_URL` is unset or a public host of "
        "TCIA; the value of `TCIA_BASE_URL` turns it off",
        json_schema_extra={"default_text": "NLST's public server"},
    )
    idc_index: str = Field(
        default="",
        description="index release of the Imaging Data Commons: a folder with its Parquet files, "
        "or a URL below which they are",
        json_schema_extra={
            "default_text": "the installed package `idc-index-data`, else the newest release's URL"
        },
    )
    idc_base_url: str = Field(
        default="https://{bucket}.s3.amazonaws.com",
        description="URL of the Imaging Data Commons' buckets; `{bucket}` is the bucket's name",
    )
    idc_connections: int = Field(
        default=32, ge=1, description="requests at the same time to these buckets, at most"
    )
    idc_scope: str = Field(
        default="tcia",
        description="Series to take from the Imaging Data Commons: `tcia`, those that TCIA "
        "published, or `all`, also what others derived from them",
    )
    idc_clinical: tuple[str, ...] = Field(
        default=(),
        description="Collections whose clinical tables `tcia-assets clinical` and the weekly "
        "schedule store, separated by commas",
        json_schema_extra={"default_text": "none"},
    )
    shared_list_url: str = Field(
        default="",
        description="URL of the API that has the shared lists; nbia-v4 has none, so nbia-v1 on the "
        "same host is used for them",
        json_schema_extra={"default_text": "from the dialect"},
    )
    api_key: str = _secret("bindaas-v3")
    username: str = _secret("nbia-v2")
    password: str = _secret("nbia-v2")
    data_dir: str = Field(default="data", description="root folder of everything that is written")
    archives_url: str = Field(
        default="",
        description="where the zips of Series are: a folder, or `s3://BUCKET/PREFIX` (extra `s3`; "
        "endpoint, region and keys from `AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`, "
        "`AWS_SECRET_ACCESS_KEY`)",
        json_schema_extra={"default_text": "`archives` in the data folder"},
    )
    cache_bytes: int = Field(
        default=20_000_000_000,
        ge=0,
        description="bytes of zips from object storage that are kept in `cache` in the data "
        "folder, at most",
        json_schema_extra={"default_text": "20 GB"},
    )
    max_connections: int = Field(
        default=8, ge=1, description="requests at the same time, at most; fewer under overload"
    )
    max_reply_bytes: int = Field(
        default=1 << 30,
        ge=1 << 20,
        description="the most that one reply of metadata may have, inflated",
        json_schema_extra={"default_text": "1 GiB"},
    )
    max_bytes_per_second: int | None = Field(
        default=None,
        ge=1,
        description="bytes that all requests of a process together receive in a second, at most",
        json_schema_extra={"default_text": "no limit"},
    )
    collections: tuple[str, ...] = Field(
        default=(),
        description="Collections to mirror, separated by commas; others never become partitions",
        json_schema_extra={"default_text": "all"},
    )
    image_selection: str = Field(
        default="",
        description="Series whose images are fetched, inline or as a file; all of TCIA has more "
        "than 30 TB",
    )
    withdrawal_snapshots: int = Field(
        default=3,
        ge=2,
        description="listings without a Series before it can count as withdrawn; more for a "
        "source that is edited by hand for days",
    )
    withdrawal_hours: int = Field(
        default=20, ge=0, description="hours between two of these listings, at least"
    )
    source_gone_days: int = Field(
        default=14,
        ge=1,
        description="days without any answer after which the source counts as gone: nothing is "
        "changed, and one alarm says so",
    )
    # Release dates are days, in an unknown time zone: with less than two days, some would be lost.
    overlap_days: int = Field(
        default=30,
        ge=2,
        description="how many days before the newest stored release the sensor starts asking, "
        "because releases are back-dated; with `TCIA_COLLECTIONS`, it starts from the earliest "
        "last comparison if that is later",
    )
    # Dagster's daemon evaluates sensors at most this often.
    sensor_interval_s: int = Field(
        default=300,
        ge=5,
        description="seconds between two evaluations of the sensor; read when the code location "
        "is loaded",
    )
    compare_hours: int = Field(
        default=24,
        ge=1,
        description="hours within which each Collection is compared completely, if the schedule "
        "`tcia_compare` is on",
    )
    cleanup_days: int = Field(
        default=30,
        ge=1,
        description="days after which runs are deleted from Dagster's records, if the schedule "
        "`tcia_cleanup_nightly` is on",
    )
    compare_cron: str = Field(
        default="10 * * * *",
        description="when that schedule checks which Collections are due; read when the code "
        "location is loaded",
    )
    verify_days: int = Field(
        default=90,
        ge=1,
        description="days within which each zip is read again and compared with its SHA-256, if "
        "the schedule `tcia_verify_daily` is on",
    )
    datasets_dir: str = Field(
        default="datasets",
        description="folder with the declarations of datasets; read when Dagster loads the "
        "definitions",
    )

    @model_validator(mode="wrap")
    @classmethod
    def _raise_usage_error(cls, values: Any, validate: Callable[[Any], Self]) -> Self:
        try:
            return validate(values)
        except ValidationError as error:
            raise _usage_error(error) from None

    @field_validator("dialect")
    @classmethod
    def _check_dialect(cls, name: str) -> str:
        require_known("dialect (TCIA_DIALECT)", [name], [d.name for d in DIALECTS])
        return name

    @field_validator("source", "idc_scope")
    @classmethod
    def _check_choice(cls, name: str, info: ValidationInfo) -> str:
        field = str(info.field_name)
        require_known(f"{_CHOICES[field][0]} ({variable(field)})", [name], _CHOICES[field][1])
        return name

    @field_validator("image_sources")
    @classmethod
    def _check_image_sources(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        require_known("source (TCIA_IMAGE_SOURCES)", names, _CHOICES["source"][1])
        if len(set(names)) < len(names):
            raise UsageError(f"TCIA_IMAGE_SOURCES is {','.join(names)!r}; name each source once")
        return names

    @field_validator("idc_base_url")
    @classmethod
    def _check_bucket_url(cls, url: str) -> str:
        if not _is_base(url.replace("{bucket}", "b")) or "{bucket}" not in url:
            raise UsageError(
                f"TCIA_IDC_BASE_URL is {url!r}; it must look like "
                "https://{bucket}.s3.amazonaws.com or http://HOST:PORT/{bucket}"
            )
        return url

    @field_validator("base_url", "nlst_base_url", "shared_list_url")
    @classmethod
    def _check_url(cls, url: str, info: ValidationInfo) -> str:
        name = variable(str(info.field_name))
        if "@" in url or "?" in url:  # it may hold a secret: it is not repeated
            raise UsageError(f"{name} must not have a user, a password or a query")
        if url and not _is_base(url):
            example = "https://HOST/nbia-api/services/v4"
            raise UsageError(f"{name} is {url!r}; it must look like {example}")
        return url

    @field_validator("idc_index")
    @classmethod
    def _check_index_url(cls, place: str) -> str:
        if not place.startswith(("http://", "https://")):
            return place
        if "@" in place or "?" in place or not _is_base(place):
            raise UsageError(
                "TCIA_IDC_INDEX must be a folder, or look like https://HOST/PATH, without a user, "
                "a password and a query"
            )
        return place

    @field_validator("data_dir")
    @classmethod
    def _check_data_dir(cls, path: str) -> str:
        if "://" in path:
            raise UsageError(f"TCIA_DATA_DIR is {path!r}; only a local folder is supported so far")
        return path

    @field_validator("archives_url")
    @classmethod
    def _check_archives_url(cls, url: str) -> str:
        if "@" in url.partition("://")[2] or "?" in url:  # it may hold a secret
            raise UsageError("TCIA_ARCHIVES_URL must not have a user, a password or a query")
        scheme, separator, place = url.partition("://")
        if separator and (scheme != "s3" or not _BUCKET.fullmatch(place.partition("/")[0])):
            raise UsageError(
                f"TCIA_ARCHIVES_URL is {url!r}; it must be a folder, or look like s3://BUCKET/PREFIX"
            )
        return url.rstrip("/") or url

    @field_validator("compare_cron")
    @classmethod
    def _check_cron(cls, text: str) -> str:
        if len(text.split()) != _CRON_FIELDS:
            problem = f"TCIA_COMPARE_CRON is {text!r}; it must be five fields, as '10 * * * *'"
            raise UsageError(problem)
        return text

    @model_validator(mode="after")
    def _check_secrets(self) -> Self:
        if "nbia" not in {self.source, *self.image_source_names}:
            return self
        if self.api.auth == "bearer" and not (self.username and self.password):
            raise UsageError(
                f"dialect {self.dialect} needs TCIA_USERNAME and TCIA_PASSWORD; nbia-v4 needs none"
            )
        if self.api.auth == "api_key" and not self.api_key:
            raise UsageError(
                f"dialect {self.dialect} needs TCIA_API_KEY; bindaas-v4 and nbia-v4 need none"
            )
        if not (self.api_key.isascii() and self.api_key.isprintable()):
            # The HTTP library would refuse it too, but repeat it in its error.
            raise UsageError("TCIA_API_KEY has characters that are not allowed in a header")
        return self

    @model_validator(mode="after")
    def _check_version(self) -> Self:
        for name in ("base_url", "nlst_base_url"):
            url = str(getattr(self, name)).rstrip("/")
            if not url or _fits(self.api, url):
                continue
            fitting = " or ".join(each.name for each in DIALECTS if _fits(each, url))
            own = urlsplit(self.api.base_url).path
            raise UsageError(
                f"TCIA_DIALECT is {self.dialect!r}, whose URLs end in {own}, but {variable(name)} "
                f"is {url!r}: set {f'TCIA_DIALECT to {fitting}, or ' if fitting else ''}"
                f"{variable(name)} to a URL of the dialect"
            )
        return self

    @classmethod
    def from_env(cls, environment: Mapping[str, str] | None = None, **chosen: object) -> Settings:
        """Read the settings from `TCIA_*` variables.

        Args:
            environment: The variables; by default those of this process. Blank ones do not count.
            chosen: Settings that take precedence, unless they are None.

        Raises:
            UnknownName: A variable that begins with `TCIA_` is not a setting.
        """
        environment = os.environ if environment is None else environment
        known = {variable(name): name for name in cls.model_fields}
        require_known("setting", (n for n in environment if n.startswith("TCIA_")), known)
        values: dict[str, object] = {
            known[name]: text.strip()
            for name, text in environment.items()
            if name in known and text.strip()
        }
        for name in ("collections", "idc_clinical", "image_sources"):
            if isinstance(text := values.get(name), str):
                values[name] = tuple(n.strip() for n in text.split(",") if n.strip())
        values |= {name: value for name, value in chosen.items() if value is not None}
        return cls.model_validate(values)

    def replace(self, **changes: object) -> Settings:
        """Return these settings with some changed, checked again."""
        return Settings.model_validate(dict(self) | changes)

    @property
    def api(self) -> Dialect:
        return dialect(self.dialect)

    @property
    def url(self) -> str:
        """The URL below which all endpoints of the dialect are, without a slash at its end."""
        return (self.base_url or self.api.base_url).rstrip("/")

    def of_collection(self, name: str) -> Settings:
        """Return the settings for what belongs to a Collection: NLST may have its own server."""
        url = self._nlst_url if name == NLST else self.url
        return self if url == self.url else self.replace(base_url=url, nlst_base_url=url)

    @property
    def _nlst_url(self) -> str:
        public = {urlsplit(each.base_url).hostname for each in DIALECTS}
        if self.nlst_base_url:
            return self.nlst_base_url.rstrip("/")
        # A sandbox or a stand-in is never left for a public host.
        if self.api.nlst_base_url and urlsplit(self.url).hostname in public:
            return self.api.nlst_base_url
        return self.url

    @property
    def shared_lists_api(self) -> Dialect:
        """The dialect that has the shared lists: nbia-v1 for nbia-v4, which has none."""
        return dialect(self.api.delegate) if self.api.delegate else self.api

    @property
    def shared_lists_url(self) -> str:
        if self.shared_list_url or not self.api.delegate:
            return self.shared_list_url.rstrip("/") or self.url
        return self.url.rpartition("/")[0] + "/" + self.api.delegate.rpartition("-")[2]

    @property
    def asked(self) -> tuple[str, str]:
        """What is asked, as its name and host, and its URL: of the source of the metadata."""
        if self.source == "idc":
            return f"idc@{self.idc_host}", self.idc_base_url
        return self.source_name, self.url

    @property
    def idc_host(self) -> str:
        """The host of the Imaging Data Commons' buckets."""
        return urlsplit(self.idc_base_url.replace("{bucket}.", "")).netloc

    @property
    def image_source_names(self) -> tuple[str, ...]:
        """The sources of images, in the order in which they are tried."""
        return self.image_sources or (self.source,)

    @property
    def image_connections(self) -> int:
        """Requests to one source of images at the same time, at most."""
        most = {"nbia": self.max_connections, "idc": self.idc_connections}
        return max(most[name] for name in self.image_source_names)

    @property
    def packs_zips(self) -> bool:
        """Whether a source of images sends single objects, which are packed here."""
        return "idc" in self.image_source_names

    @property
    def source_name(self) -> str:
        """Dialect and host of the NBIA server, as in the column `source`."""
        return f"{self.dialect}@{urlsplit(self.url).netloc}"

    @property
    def address(self) -> str:
        """Who answers metadata, without a request: software and host."""
        if self.source == "nbia":
            return self.source_name
        return f"{self.source}@{urlsplit(self.idc_index).netloc or 'index'}"

    def below(self, subfolder: str) -> Settings:
        """Return these settings with a subfolder of each place; "" changes nothing."""
        if not subfolder:
            return self
        places = {"data_dir": str(Path(self.data_dir) / subfolder)}
        if self.archives_url:
            places["archives_url"] = f"{self.archives_url}/{subfolder}"
        return self.replace(**places)

    @property
    def root(self) -> Path:
        return Path(self.data_dir).absolute()


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return f"TCIA_{name.upper()}"


def default_text(name: str) -> str:
    """Return the default of a setting as it is shown to people, in Markdown."""
    field = Settings.model_fields[name]
    if isinstance(field.json_schema_extra, dict):
        return str(field.json_schema_extra["default_text"])
    return f"`{field.default}`" if field.default != "" else "none"


def read_alone(name: str, chosen: object = None) -> Any:
    """Read one setting alone, for definitions that are made before the others can be read."""
    own = {k: text for k, text in os.environ.items() if k == variable(name)}
    return getattr(Settings.from_env(own, **{name: chosen}), name)


def _usage_error(error: ValidationError) -> TciaError:
    """Return the first problem in the words of this package."""
    first = error.errors()[0]
    field, value = str(first["loc"][0]), first["input"]
    name = variable(field)
    if first["type"] == "extra_forbidden":
        return UnknownName("setting", name, map(variable, Settings.model_fields))
    if first["type"] == "greater_than_equal":
        return UsageError(f"{name} is {value}; it must be {first['ctx']['ge']} or more")
    kind = Settings.model_fields[field].annotation
    if int in {kind, *get_args(kind)}:
        return UsageError(f"{name} is {value!r}; it must be a whole number")
    # The value may be a secret: it is not repeated.
    return UsageError(f"{name} is a {type(value).__name__}; it must be a text")


def _fits(spoken: Dialect, url: str) -> bool:
    """Return whether a URL can be one of a dialect; a path that ends in no version fits any."""
    own, given = (urlsplit(each).path.rstrip("/").split("/") for each in (spoken.base_url, url))
    if not re.fullmatch("v[0-9]+", given[-1]):
        return True
    # NBIA and Bindaas number their versions independently: both have a v4, in different folders.
    is_public_path = given[-2] == "services"
    is_same_software = ("nbia-api" in given) == ("nbia-api" in own)
    return given[-1] == own[-1] and (is_same_software or not is_public_path)


def _is_base(url: str) -> bool:
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:  # not a port, or not an IPv6 address
        return False
    return (
        has_host
        and parts.scheme in {"http", "https"}
        and not parts.fragment
        and url.isprintable()
        and " " not in url
    )
