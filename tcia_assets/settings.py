"""The settings, from the environment or from arguments, checked before anything runs.

What belongs here: names, defaults and validity. What does not: what a setting causes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from urllib.parse import urlsplit

from tcia_assets.catalog import DIALECTS, dialect
from tcia_assets.errors import UnknownName, UsageError
from tcia_assets.spec import Dialect

# Settings that are whole numbers, and the least that each may be.
# A day is the archive's grain, and its time zone is unknown: less than two days would lose some.
_WHOLE = {
    "max_connections": 1,
    "withdrawal_snapshots": 2,
    "withdrawal_hours": 0,
    "overlap_days": 2,
    "compare_hours": 1,
    "sensor_interval_s": 5,  # Dagster's daemon looks no more often
}
_CRON_FIELDS = 5


@dataclass(frozen=True)
class Settings:
    """What the user may choose; each field is the setting `TCIA_<FIELD>` of the environment.

    A Series that a Collection's list lacks counts as withdrawn after `withdrawal_snapshots` lists
    without it, `withdrawal_hours` or more apart: archives that are edited by hand for days want
    more of both. Release dates are typed by hand and back-dated: the sensor asks again for what was
    released in the last `overlap_days` before the newest release that is stored. The sensor looks
    every `sensor_interval_s`, and the schedule `compare` at the times of `compare_cron`, so that
    each Collection is compared whole once in `compare_hours`; how often is looked is read when a
    code location is loaded, all else when something runs. Secrets never show in its repr. Raises
    UsageError, naming the setting and what is valid, where a value cannot be used.
    """

    dialect: str = "nbia-v4"
    base_url: str = ""
    shared_list_url: str = ""
    api_key: str = field(default="", repr=False)
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    data_dir: str = "data"
    max_connections: int = 8
    collections: tuple[str, ...] = ()
    image_selection: str = ""
    withdrawal_snapshots: int = 3
    withdrawal_hours: int = 20
    overlap_days: int = 30
    compare_hours: int = 24
    compare_cron: str = "10 * * * *"
    sensor_interval_s: int = 300
    datasets_dir: str = "datasets"

    def __post_init__(self) -> None:
        for name in ("base_url", "shared_list_url"):
            _check_url(f"TCIA_{name.upper()}", getattr(self, name))
        for name in _WHOLE:
            _check_least(name, getattr(self, name))
        _check_cron(self.compare_cron)
        if "://" in self.data_dir:
            raise UsageError(
                f"TCIA_DATA_DIR is {self.data_dir!r}; only a local folder is supported so far"
            )
        self._check_secrets()

    def _check_secrets(self) -> None:
        if self.speaks.auth == "bearer" and not (self.username and self.password):
            raise UsageError(
                f"dialect {self.dialect} needs TCIA_USERNAME and TCIA_PASSWORD; nbia-v4 needs none"
            )
        if self.speaks.auth == "api_key" and not self.api_key:
            raise UsageError(
                f"dialect {self.dialect} needs TCIA_API_KEY; bindaas-v4 and nbia-v4 need none"
            )
        if not (self.api_key.isascii() and self.api_key.isprintable()):
            # What sends headers would say so too, and repeat the key.
            raise UsageError("TCIA_API_KEY holds characters that cannot travel in a header")

    @classmethod
    def from_env(cls, environment: Mapping[str, str] | None = None, **chosen: object) -> Settings:
        """Settings from `TCIA_*` variables; what is `chosen` (and not None) goes first."""
        environment = os.environ if environment is None else environment
        known = {f"TCIA_{f.name.upper()}": f.name for f in fields(cls)}
        for name in environment:
            if name.startswith("TCIA_") and name not in known:
                raise UnknownName("setting", name, known)
        values: dict[str, object] = {
            known[name]: _parsed(known[name], text)
            for name, text in environment.items()
            if name in known and text.strip()
        }
        values |= {name: value for name, value in chosen.items() if value is not None}
        return cls(**values)  # type: ignore[arg-type]

    @property
    def speaks(self) -> Dialect:
        if self.dialect not in {d.name for d in DIALECTS}:
            raise UnknownName("dialect (TCIA_DIALECT)", self.dialect, (d.name for d in DIALECTS))
        return dialect(self.dialect)

    @property
    def url(self) -> str:
        """The base below which all endpoints of the dialect lie, without a slash at its end."""
        return (self.base_url or self.speaks.base_url).rstrip("/")

    @property
    def shared_lists_speak(self) -> Dialect:
        """The dialect that answers for shared lists: nbia-v4 has none and delegates to nbia-v1."""
        return dialect(self.speaks.delegates) if self.speaks.delegates else self.speaks

    @property
    def shared_lists_url(self) -> str:
        if self.shared_list_url or not self.speaks.delegates:
            return self.shared_list_url.rstrip("/") or self.url
        return self.url.rpartition("/")[0] + "/" + self.speaks.delegates.rpartition("-")[2]

    @property
    def source(self) -> str:
        """Which archive answers: dialect and host, fit to stand in a table."""
        return f"{self.dialect}@{urlsplit(self.url).netloc}"

    def below(self, subfolder: str) -> Settings:
        """The same settings with all that is written one folder deeper; "" changes nothing."""
        return replace(self, data_dir=str(Path(self.data_dir) / subfolder))

    @property
    def root(self) -> Path:
        return Path(self.data_dir).absolute()


def sensor_interval_s(chosen: int | None = None) -> int:
    """The setting alone, for what is defined before the others can be read."""
    text = os.environ.get("TCIA_SENSOR_INTERVAL_S", "")
    default = int(str(_parsed("sensor_interval_s", text))) if text.strip() else None
    interval = chosen or default or Settings.sensor_interval_s
    _check_least("sensor_interval_s", interval)
    return interval


def compare_cron(chosen: str | None = None) -> str:
    """The setting alone, for what is defined before the others can be read."""
    cron = chosen or os.environ.get("TCIA_COMPARE_CRON", "").strip() or Settings.compare_cron
    _check_cron(cron)
    return cron


def _check_cron(text: str) -> None:
    """Raises UsageError where the text is no cron line of five fields."""
    if len(text.split()) != _CRON_FIELDS:
        raise UsageError(f"TCIA_COMPARE_CRON is {text!r}; it must be five fields, as '10 * * * *'")


def _check_least(name: str, value: int) -> None:
    if value < _WHOLE[name]:
        raise UsageError(f"TCIA_{name.upper()} is {value}; it must be {_WHOLE[name]} or more")


def _parsed(name: str, text: str) -> object:
    text = text.strip()
    if name in _WHOLE:
        if not text.isdecimal():
            raise UsageError(f"TCIA_{name.upper()} is {text!r}; it must be a whole number")
        return int(text)
    if name == "collections":
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return text


def _check_url(name: str, url: str) -> None:
    if "@" in url or "?" in url:  # it may hold a secret: it is not repeated here
        raise UsageError(f"{name} must not carry a user, a password or a query")
    if url and not _is_base(url):
        raise UsageError(f"{name} is {url!r}; it must look like https://HOST/nbia-api/services/v4")


def _is_base(url: str) -> bool:
    try:
        parts = urlsplit(url)
        names_a_host = bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port or an IPv6 address that is none
        return False
    return (
        names_a_host
        and parts.scheme in {"http", "https"}
        and not parts.fragment
        and url.isprintable()
        and " " not in url
    )
