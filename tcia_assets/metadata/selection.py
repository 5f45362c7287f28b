"""Which Series' images to fetch, as the user writes it down.

What belongs here: the fields of a selection, their validity, the lists of Series that it names, and
the SQL that they mean. What does not: what is on disk already (`archive.py`).
"""

from __future__ import annotations

import csv
import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from tcia_assets.errors import UnknownName, UsageError
from tcia_assets.store import sql

CRITERIA = (
    "collections",
    "modalities",
    "body_parts",
    "where",
    "manifests",
    "series",
    "shared_lists",
)

_BUDGETS = ("max_bytes_per_run", "max_series_per_run", "max_minutes_per_run")

_UID_COLUMN = "SeriesInstanceUID"
# The table of Series from manifests and from the field `series`, as the SQL calls it.
_SELECTED = "selected_series"

_UID = re.compile(r"(?=.{1,64}\Z)[0-9]+([.][0-9]+)*")


_NUMBER = re.compile(r"[-+]?[0-9.]+(e[-+]?[0-9]+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Licenses:
    """Licences that are refused, or the only ones that are taken.

    A name is the archive's own or a short one, in any case and punctuation: `CC BY-NC 3.0`,
    `CC-BY-NC-3.0` and the long name are one. Without a version it means each version; `NC`, `ND`
    and `SA` mean each licence with that restriction.
    """

    deny: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not (self.deny or self.allow):
            raise UsageError("image selection: licenses needs names under deny or allow")
        for name in self.deny + self.allow:
            if not short_license(name):
                raise UsageError(f"image selection: licenses holds {name!r}, which names none")

    @property
    def refused(self) -> str:
        """SQL that holds for a Series whose licence is told and is not taken."""
        name, uri = _short(_NAME), _short(_CC_URI)
        parts = []
        if self.deny:
            # The name may be one that we cannot read, where the address is plain.
            parts += [_matched(name, self.deny), _matched(uri, self.deny)]
        if self.allow:
            told = f"CASE WHEN {_NAME} NOTNULL THEN {name} ELSE {uri} END"
            parts.append(f"NOT coalesce({_matched(told, self.allow)}, false)")
        either = " OR ".join(f"coalesce({part}, false)" for part in parts)
        return f"(NOT {_UNLICENSED} AND ({either}))"


@dataclass(frozen=True)
class Selection:
    """Series whose images are wanted: all criteria that are given must hold.

    `where` is SQL over the view `current_series`. `manifests` (files of the NBIA Data Retriever, or
    CSV or TSV with a column SeriesInstanceUID), `series` (UIDs) and `shared_lists` (names of lists
    that are in the warehouse) together make one list, and a Series must be on it. A run fetches at
    most `max_series_per_run` Series and `max_bytes_per_run` bytes, starts none after
    `max_minutes_per_run` minutes, and leaves the rest to the next. Sensor and schedule start
    `shards` runs at once for a Collection, each with such a budget of its own; what a person starts
    is one run. At least one criterion is needed: nobody mirrors 30 TB by accident; `where: "true"`
    means everything.
    """

    collections: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    body_parts: tuple[str, ...] = ()
    where: str = ""
    manifests: tuple[str, ...] = ()
    series: tuple[str, ...] = ()
    shared_lists: tuple[str, ...] = ()
    licenses: Licenses | None = None
    max_series_bytes: int | None = None
    max_bytes_per_run: int = 50 * 10**9
    max_series_per_run: int = 10_000
    max_minutes_per_run: int | None = None
    shards: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "where", self.where.strip())
        # A run may start elsewhere than whoever asked for it.
        absolute = tuple(str(Path(path).absolute()) for path in self.manifests)
        object.__setattr__(self, "manifests", absolute)
        if not any(getattr(self, name) for name in CRITERIA):
            raise UsageError(
                f"an image selection needs one of {', '.join(CRITERIA)}; where: 'true' takes all"
            )
        if self.where and not _is_condition(self.where):
            raise UsageError(
                f"image selection: where is {self.where!r}; it must be one SQL condition, such as "
                "ImageCount < 300"
            )
        for name in (*_BUDGETS, "shards"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"image selection: {name} is {value}; it must be 1 or more")

    @property
    def predicate(self) -> str:
        """SQL that holds for a row of `current_series` that is selected.

        It is to be asked with `tables` at hand. With `max_series_bytes`, Series whose size the
        archive does not tell are left out; with `licenses.allow`, those whose licence it does not.
        """
        if self.licenses is None:
            return self._wanted
        parts = [self._wanted, f"NOT {self.licenses.refused}"]
        return " AND ".join([*parts, f"NOT {_UNLICENSED}"] if self.licenses.allow else parts)

    @property
    def denied(self) -> str:
        """SQL that holds for a row that would be selected, had it another licence."""
        return f"{self._wanted} AND {self.licenses.refused}" if self.licenses else "false"

    @property
    def unlicensed(self) -> str:
        """SQL that holds for a row whose licence is not told and which would else be selected."""
        return f"{self._wanted} AND {_UNLICENSED}"

    @property
    def tables(self) -> dict[str, pa.Table]:
        """What the SQL of this selection refers to beside the views, by name.

        Raises:
            UsageError: a manifest cannot be read; names the file, and the line where one is wrong.
        """
        if not (self.manifests or self.series):
            return {}
        lists = [_uids_in(path) for path in self.manifests] + [pa.array(self.series, pa.string())]
        return {_SELECTED: pa.table({_UID_COLUMN: pa.chunked_array(lists).unique()})}

    @property
    def unknown_series(self) -> str:
        """A statement: listed Series that `current_series` lacks, and when they were withdrawn.

        `withdrawn_at` is null where the archive never listed the Series in a Collection that is
        known here. Other criteria play no part. To be asked with `tables` at hand.
        """
        listed = self._listed or f"SELECT {_UID_COLUMN} FROM series WHERE false"
        return f"""
            SELECT {_UID_COLUMN}, max(s.withdrawn_at) AS withdrawn_at
            FROM (SELECT DISTINCT {_UID_COLUMN} FROM ({listed}))
            ANTI JOIN current_series USING ({_UID_COLUMN})
            LEFT JOIN series AS s USING ({_UID_COLUMN})
            GROUP BY {_UID_COLUMN} ORDER BY {_UID_COLUMN}
        """

    @property
    def _wanted(self) -> str:
        """SQL of all criteria but the licence."""
        parts = [
            _one_of("Collection", self.collections),
            _one_of("Modality", self.modalities),
            _one_of("BodyPartExamined", self.body_parts),
            # On a line of its own: it may end in a comment.
            f"({self.where}\n)" if self.where else "",
            f"{_UID_COLUMN} IN ({self._listed})" if self._listed else "",
            f"FileSize <= {self.max_series_bytes}" if self.max_series_bytes is not None else "",
        ]
        return f"({' AND '.join(part for part in parts if part)})"

    @property
    def _listed(self) -> str:
        """A statement: Series on the allow-lists; "" where there are none."""
        named = f"SELECT {_UID_COLUMN} FROM {_SELECTED}" if self.manifests or self.series else ""
        chosen = _one_of("list_name", self.shared_lists)
        shared = f"SELECT {_UID_COLUMN} FROM shared_lists WHERE {chosen}" if chosen else ""
        return " UNION ALL ".join(part for part in (named, shared) if part)


def _is_condition(where: str) -> bool:
    # A number is an expression, too, and any but 0 would take all.
    return sql.is_expression(where) and not _NUMBER.fullmatch(where)


def _one_of(column: str, values: tuple[str, ...]) -> str:
    # Without case and blanks, as the archive itself compares.
    chosen = ", ".join(f"lower(trim({sql.literal(value)}))" for value in values)
    return f"lower(trim({sql.identifier(column)})) IN ({chosen})" if values else ""


# --- From text, and back --------------------------------------------------------------------------


def parse(text: str) -> Selection | None:
    """The selection in a text of YAML or JSON, or in the file of that name; None for an empty one.

    Manifests that a file names are looked for from where that file is.

    >>> parse("{collections: [LCTSC], max_series_per_run: 10}").collections
    ('LCTSC',)

    Raises:
        UsageError: what is wrong, with the field and what it may hold.
    """
    if not text.strip():
        return None
    file = _file(text)
    try:
        # As text: YAML itself would take a Collection 0123 for 83, and a body part NO for false.
        read = _read(file) if file else text
        given = yaml.load(read, Loader=yaml.BaseLoader)  # noqa: S506 - it makes only texts
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise UsageError(f"the image selection is neither YAML nor JSON: {problem}") from None
    if not isinstance(given, dict):
        raise UsageError(
            f"the image selection {text[:80]!r} is neither a file nor fields such as "
            "{collections: [4D-Lung]}"
        )
    return from_fields(given, folder=file.parent if file else Path())


def from_fields(given: dict[str, Any], *, folder: Path = Path()) -> Selection:
    """A selection from its fields, as a config file in that folder holds them.

    Raises:
        UsageError: as `parse`; a manifest that cannot be read, too.
    """
    known = {f.name for f in fields(Selection)}
    for name in given:
        if name not in known:
            raise UnknownName("field of an image selection", str(name), known)
    values = {name: _checked(name, value) for name, value in given.items()}
    if "manifests" in values:
        values["manifests"] = tuple(str(folder / path) for path in values["manifests"])
    selection = Selection(**values)
    _ = selection.tables  # what is wrong with a manifest is told now, not by a run
    return selection


def to_fields(selection: Selection) -> dict[str, Any]:
    """The fields of which `from_fields` makes this selection, as JSON can hold them."""
    values = {f.name: (getattr(selection, f.name), f.default) for f in fields(Selection)}
    return {name: _plain(value) for name, (value, default) in values.items() if value != default}


def _plain(value: Any) -> Any:
    if isinstance(value, Licenses):
        return {name: list(names) for name, names in vars(value).items() if names}
    return list(value) if isinstance(value, tuple) else value


def _file(text: str) -> Path | None:
    """The file that a text names; None where it is the selection itself."""
    path = Path(text.strip())
    is_name = "\n" not in text and "{" not in text and ":" not in path.name
    return path if is_name and path.suffix in {".yaml", ".yml", ".json"} else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the image selection {str(path)!r} cannot be read: {error}") from None


def _checked(name: str, value: Any) -> Any:
    if name == "where":
        return _condition(value)
    if name == "licenses":
        return _licenses(value)
    if name == "series":
        return _uids(value)
    is_number = name.startswith("max_") or name == "shards"
    return _limit(name, value) if is_number else _names(name, value)


def _condition(value: Any) -> str:
    if isinstance(value, bool):  # as a config file holds it
        return str(value).lower()
    if isinstance(value, str):
        return value.strip()
    raise UsageError(f"image selection: where is {value!r}; it must be SQL as text")


def _limit(name: str, value: Any) -> int:
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise UsageError(f"image selection: {name} is {value!r}; it must be a whole number")


def _names(name: str, value: Any) -> tuple[str, ...]:
    values = value if isinstance(value, list | tuple) else [value]
    if not values:
        # Not all: what was meant to name few must not fetch the whole archive.
        raise UsageError(f"image selection: {name} is empty; name some, or leave it out")
    # A config file may hold a Collection named 4711 as a number.
    if all(isinstance(v, str | int) and not isinstance(v, bool) and str(v).strip() for v in values):
        return tuple(str(v) for v in values)
    raise UsageError(f"image selection: {name} is {value!r}; it must be a list of names")


def _uids(value: Any) -> tuple[str, ...]:
    uids = tuple(uid.strip() for uid in _names("series", value))
    for uid in uids:
        if not _UID.fullmatch(uid):
            raise UsageError(f"image selection: series holds {uid[:80]!r}; it must hold UIDs")
    return uids


def _licenses(value: Any) -> Licenses:
    if isinstance(value, Licenses):
        return value
    if not isinstance(value, dict):
        raise UsageError(
            f"image selection: licenses is {value!r}; it must be such as {{deny: [CC BY-NC 3.0]}}"
        )
    known = {f.name for f in fields(Licenses)}
    for name in value:
        if name not in known:
            raise UnknownName("field of licenses", str(name), known)
    return Licenses(**{name: _names(f"licenses.{name}", names) for name, names in value.items()})


# --- Licences -------------------------------------------------------------------------------------

_UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LOWER = _UPPER.lower()
# All punctuation but the dot of a version.
_SEPARATORS = r"[\x01-\x2d\x2f\x3a-\x60\x7b-\x7f" + "\u00a0\u2010-\u2015]+"
# From a licence's name to its short form, for `re` and for DuckDB's RE2 alike. Only ASCII is
# changed: the two do not agree on what is a letter beyond it.
_REWRITES = (
    # A short name behind the long one.
    (r"([^(])[(]cc[^()]*[)]", r"\1"),
    (_SEPARATORS, "-"),
    (r"^creativecommons[.]org-(licenses|publicdomain)-", "cc-"),
    (r"creative-commons", "cc"),
    (r"attribution", "by"),
    (r"non-?commercial", "nc"),
    (r"no-?deriv(ative)?s?(-works)?", "nd"),
    (r"share-?alike", "sa"),
    (r"-(unported|international|universal|generic|public-domain-dedication|deed)(-|$)", r"-\2"),
    (r"-(public-)?licen[sc]e(-|$)", r"-\2"),
    (r"-v(ersion-)?([0-9])", r"-\2"),
    (r"-+", "-"),
    (r"^[-.]+|[-.]+$", ""),
    (r"^cc-?(0|zero)", "cc0"),
    (r"^(cc)?by(-|$)", r"cc-by\2"),
)
_RESTRICTIONS = ("nc", "nd", "sa")

_NAME = "nullif(trim(LicenseName), '')"
# The one kind of address that tells which licence it is.
_CC_URI = "regexp_extract(LicenseURI, '(?i)creativecommons[.]org/.*')"
_UNLICENSED = f"({_NAME} IS NULL AND nullif(trim(LicenseURI), '') IS NULL)"


def short_license(name: str) -> str:
    """What is compared of a licence's name, or of its address at Creative Commons.

    >>> short_license("Creative Commons Attribution-NonCommercial 3.0 Unported License")
    'cc-by-nc-3.0'
    """
    short = name.translate(str.maketrans(_UPPER, _LOWER))
    for pattern, replacement in _REWRITES:
        short = re.sub(pattern, replacement, short)
    return short


def _short(expression: str) -> str:
    """SQL for `short_license` of a text."""
    short = f"translate({expression}, {sql.literal(_UPPER)}, {sql.literal(_LOWER)})"
    for pattern, replacement in _REWRITES:
        chosen = f"{sql.literal(pattern)}, {sql.literal(replacement)}"
        short = f"regexp_replace({short}, {chosen}, 'g')"
    return short


def _matched(short: str, names: tuple[str, ...]) -> str:
    """SQL that holds for a short form that one of these names means."""
    return f"regexp_matches({short}, {sql.literal('|'.join(map(_pattern, names)))})"


def _pattern(name: str) -> str:
    """The short forms that a written name means, as a regular expression."""
    short = short_license(name)
    if short in _RESTRICTIONS:
        return f"(^|-){short}(-|$)"
    any_version = "(-[0-9].*)?" if re.fullmatch(r"cc-by(-(nc|nd|sa))*|cc0", short) else ""
    return f"^{re.escape(short)}{any_version}$"


def unmatched_licenses(selection: Selection, known: Iterable[str]) -> tuple[str, ...]:
    """Names under `licenses` that none of the known LicenseNames bears; a plan should say so.

    Raises:
        UnknownName: one is no Creative Commons licence, and nothing known is like it.
    """
    names = selection.licenses.deny + selection.licenses.allow if selection.licenses else ()
    shorts = {short_license(each): each for each in known}
    unmatched = [n for n in names if not any(re.search(_pattern(n), short) for short in shorts)]
    for name in unmatched:
        short = short_license(name)
        is_common = short in _RESTRICTIONS or re.match(r"cc-by|cc0", short)
        if shorts and not is_common and not difflib.get_close_matches(short, shorts, cutoff=0.5):
            raise UnknownName("licence", name, shorts.values())
    return tuple(unmatched)


def check_shared_lists(selection: Selection, known: Iterable[str]) -> None:
    """Raises UnknownName for a shared list that is none of these, which the warehouse has."""
    known = tuple(known)
    folded = {name.strip().casefold() for name in known}
    for name in selection.shared_lists:
        if name.strip().casefold() not in folded:
            raise UnknownName("shared list that was refreshed", name, known)


# --- Lists of Series in files ---------------------------------------------------------------------

_LIST_BEGINS = "ListOfSeriesToDownload="
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_UID_NAMES = {"seriesinstanceuid", "seriesuid"}


def _uids_in(manifest: str) -> pa.Array:
    """The Series that a manifest lists."""
    path = Path(manifest)
    if path.suffix.lower() not in {".tcia", *_DELIMITERS}:
        raise UsageError(f"the manifest {manifest!r} must be a file *.tcia, *.csv or *.tsv")
    try:
        stat = path.stat()
        return _uids_at(path, stat.st_mtime_ns, stat.st_size)
    except UnicodeDecodeError as error:
        raise UsageError(f"the manifest {manifest!r} is not in UTF-8: {error}") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"the manifest {manifest!r} cannot be read: {error}") from None


# Planned once for each Collection, a list of 100,000 must not be read each time.
@lru_cache(maxsize=32)
def _uids_at(path: Path, _modified: int, _size: int) -> pa.Array:
    with path.open(encoding="utf-8-sig", newline="") as file:
        delimiter = _DELIMITERS.get(path.suffix.lower())
        cells = _column(path, file, delimiter) if delimiter else _lines(path, file)
        uids = [_uid(path, line, cell) for line, cell in cells]
    if not uids:
        raise UsageError(f"the manifest {str(path)!r} lists no Series")
    return pa.array(uids, pa.string())


def _uid(path: Path, line: int, text: str) -> str:
    uid = text.strip()
    if _UID.fullmatch(uid):
        return uid
    shown = repr(uid[:80]) + ("..." if uid[80:] else "")
    raise UsageError(f"the manifest {str(path)!r}, line {line}: {shown} is no SeriesInstanceUID")


def _lines(path: Path, file: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Number and text of the lines below the head of a manifest of the NBIA Data Retriever."""
    lines = ((n, line.strip()) for n, line in enumerate(file, start=1) if line.strip())
    for number, line in lines:
        if line.startswith(_LIST_BEGINS):
            if line != _LIST_BEGINS:
                yield number, line.removeprefix(_LIST_BEGINS)
            yield from lines
            return
        if "=" not in line:
            raise UsageError(
                f"the manifest {str(path)!r}, line {number}: {line[:80]!r} stands before the line "
                f"{_LIST_BEGINS}, where only name=value may"
            )
    raise UsageError(f"the manifest {str(path)!r} has no line {_LIST_BEGINS}")


def _column(path: Path, file: Iterable[str], delimiter: str) -> Iterator[tuple[int, str]]:
    """Number of the line and text of each cell in the column of UIDs."""
    rows = csv.reader(file, delimiter=delimiter, strict=True)
    try:
        names = [re.sub("[ _]", "", name).lower() for name in next(rows, [])]
        places = [place for place, name in enumerate(names) if name in _UID_NAMES]
        if len(places) != 1:
            how_many = "no column" if not places else "more than one column"
            raise UsageError(
                f"the manifest {str(path)!r}: {how_many} is headed SeriesInstanceUID or Series UID"
            )
        for row in rows:
            if row:
                yield rows.line_num, row[places[0]] if places[0] < len(row) else ""
    except csv.Error as error:
        problem = f"the manifest {str(path)!r}, line {rows.line_num}: {error}"
        raise UsageError(problem) from None
