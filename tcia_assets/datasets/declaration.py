"""`datasets/<name>.yaml` as frozen values, checked before anything runs.

What belongs here: the keys of a declaration, their valid values and defaults. What does not: YAML
(`yaml_tree.py`), and what is done with them.

Whatever is wrong is a BadDeclaration with file, line and key. What only the warehouse can tell (a
column that a `where` misspells) is told in the same way when it is asked: see `Declaration.refuse`.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from tcia_assets.datasets import yaml_tree
from tcia_assets.datasets.pairing import WAYS
from tcia_assets.datasets.split import PATIENTS, Holdout, SplitSettings
from tcia_assets.datasets.volume import FINDING_CODES, LabelPatterns
from tcia_assets.datasets.yaml_tree import Field
from tcia_assets.errors import BadDeclaration, UsageError
from tcia_assets.metadata import selection
from tcia_assets.metadata.selection import CRITERIA, Licenses, Selection
from tcia_assets.store import sql

NATIVE = "native"
MASKS = ("SEG", "RTSTRUCT")
DTYPES = (NATIVE, "int16", "uint8", "float32")
ORIENTATIONS = (NATIVE, "RAS", "LPS", "RPS", "LAS", "LPI", "RAI", "RPI", "LAI")
FORMATS = {
    "nifti": "a tree of NIfTI files with an index in Parquet",
    "nnunet": "nnU-Net v2 raw: dataset.json, imagesTr, labelsTr",
    "monai": "a datalist of MONAI, with folds",
    "webdataset": "shards as tar files",
    "huggingface": "Parquet that Hugging Face datasets load",
    "croissant": "Croissant, as JSON-LD",
    "retriever": "a list of Series for TCIA's Data Retriever, as CSV",
}

# What may be said of a sample beside what is amiss with its volume.
NOT_FETCHED, WITHOUT_TARGET = "not_fetched", "without_target"
SAMPLE_CODES: Mapping[str, str] = {
    NOT_FETCHED: "the images of the Series are not on disk",
    WITHOUT_TARGET: "no SEG or RTSTRUCT is paired with the Series",
    **{code.name: code.meaning for code in FINDING_CODES.values()},
}
DROP, KEEP, FAIL = "drop", "keep", "fail"
POLICIES = {
    DROP: "the sample is left out, with its row that says why",
    KEEP: "the sample is in, and its row says what was found",
    FAIL: "the dataset is not built",
}
# Unless a declaration says otherwise; all others are kept.
DROPPED = frozenset(
    {NOT_FETCHED, WITHOUT_TARGET, "unreadable_object", "mixed_frame_of_reference", "empty_mask"}
    | {"duplicate_position", "missing_slice", "too_few_slices", "count_unlike_image_count"}
    | {"zero_variance", "no_slices", "undecodable_pixels", "unreadable_mask", "frames_off_grid"}
    | {"other_frame_of_reference", "contours_off_plane"}
)

# Columns of the cohort by which it may be split.
SPLIT_COLUMNS = (
    "Collection",
    "Site",
    "Modality",
    "BodyPartExamined",
    "Manufacturer",
    "ManufacturerModelName",
    "PatientSex",
    "ThirdPartyAnalysis",
)

_KEYS = ("title", "cohort", "split", "target", "volume", "licenses", "formats", "qc")
_CRITERIA = (*CRITERIA, "max_series_bytes")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
_MOST_FOLDS = 100


@dataclass(frozen=True)
class CohortQuery:
    """Which image Series: a statement of SQL, or the criteria of an image selection.

    `written` is what the file says, as JSON can hold it.
    """

    written: Mapping[str, Any]
    sql: str = ""
    selection: Selection | None = None

    @property
    def statement(self) -> str:
        """SQL for a column SeriesInstanceUID; to be asked with `tables` at hand."""
        if self.selection is None:
            # On a line of its own: it may end in a comment.
            return f"SELECT DISTINCT SeriesInstanceUID FROM ({self.sql}\n)"
        chosen = self.selection
        listed = "SELECT SeriesInstanceUID FROM current_series WHERE " + chosen.predicate
        if chosen.manifests or chosen.series or chosen.shared_lists:
            # What is listed and is not in the archive must not get lost.
            return f"{listed} UNION SELECT SeriesInstanceUID FROM ({chosen.unknown_series})"
        return listed

    @property
    def tables(self) -> Mapping[str, Any]:
        return {} if self.selection is None else self.selection.tables


@dataclass(frozen=True)
class TargetSettings:
    """What is learned: labels of SEG or RTSTRUCT, by regular expressions for whole names.

    `where` is SQL over `current_series` for the masks that count; `ways` are those by which a mask
    may have found its image.
    """

    kind: str
    labels: Mapping[str, str]
    priority: tuple[str, ...] = ()
    where: str = ""
    ways: tuple[str, ...] = WAYS

    @property
    def settings(self) -> dict[str, Any]:
        """All of it, as JSON can hold it; labels in their order, which makes their numbers."""
        return _of(self) | {"labels": [[name, said] for name, said in self.labels.items()]}

    @property
    def targets(self) -> LabelPatterns:
        """The labels, as `volume.read_labels` takes them."""
        return LabelPatterns.compile(self.labels, self.priority)


@dataclass(frozen=True)
class VolumeSettings:
    """How volumes are written.

    `spacing` in mm along x, y, z, and `orientation`: None leaves each as it is. `window` maps its
    lower and upper end, in the units of the Series, to the range of the dtype.
    """

    spacing: tuple[float, float, float] | None = None
    orientation: str | None = None
    dtype: str | None = None
    window: tuple[float, float] | None = None
    least_slices: int = 3


@dataclass(frozen=True)
class Declaration:
    """A dataset as its file declares it."""

    name: str
    title: str
    cohort: CohortQuery
    split: SplitSettings
    target: TargetSettings | None = None
    volume: VolumeSettings = VolumeSettings()
    licenses: Licenses | None = None
    formats: tuple[str, ...] = ("nifti",)
    qc: Mapping[str, str] = field(default_factory=dict)
    file: str = field(default="", compare=False)
    lines: Mapping[str, int] = field(default_factory=dict, compare=False)

    def policy(self, code: str) -> str:
        """What becomes of a sample with this code: drop, keep or fail."""
        return self.qc.get(code, DROP if code in DROPPED else KEEP)

    def refuse(self, key: str, problem: str) -> BadDeclaration:
        """The error about this key (or the one above it that the file has), to be raised."""
        place = key
        while place and place not in self.lines:
            place = place.rpartition(".")[0]
        return BadDeclaration(self.file, self.lines.get(place, 1), key, problem)

    @property
    def cohort_settings(self) -> dict[str, Any]:
        """What is asked of the warehouse: the cohort and, of the target, which masks count."""
        settings, target = self.settings, self.target
        masks = (
            {} if target is None else {n: settings["target"][n] for n in ("kind", "where", "ways")}
        )
        return {"cohort": settings["cohort"], "target": masks or None}

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides what is built, as JSON can hold it; equal for equal declarations."""
        licenses = {} if self.licenses is None else vars(self.licenses)
        return {
            "title": self.title,
            "cohort": _plain(self.cohort.written),
            "split": _of(self.split),
            "target": None if self.target is None else self.target.settings,
            "volume": _of(self.volume),
            "licenses": _plain({name: names for name, names in licenses.items() if names}),
            "formats": list(self.formats),
            "qc": {code: self.policy(code) for code in sorted(SAMPLE_CODES)},
        }


def load(path: Path) -> Declaration:
    """The dataset that a file declares, named as the file is.

    Raises:
        BadDeclaration: what is wrong, with file, line and key; near or valid values where there
            are such.
    """
    return _declaration(yaml_tree.read(path), path.stem, path.parent)


def load_all(folder: Path) -> tuple[list[Declaration], list[BadDeclaration]]:
    """The datasets that the files `*.yaml` of a folder declare, and what is wrong with others."""
    good: list[Declaration] = []
    bad: list[BadDeclaration] = []
    for path in sorted(folder.glob("*.yaml")):
        try:
            good.append(load(path))
        except BadDeclaration as error:
            bad.append(error)
    return good, bad


def parse(text: str, name: str, *, file: str = "", folder: Path = Path()) -> Declaration:
    """The dataset that a text declares; see `load`."""
    return _declaration(yaml_tree.parse(text, file or f"{name}.yaml"), name, folder)


def _declaration(top: Field, name: str, folder: Path) -> Declaration:
    given = top.fields(_KEYS)
    if not _NAME.fullmatch(name):
        top.refuse(f"a file is called as its dataset: letters a-z, digits and _, not {name!r}")
    for key in ("title", "cohort", "split"):
        if key not in given:
            top.refuse(f"the key {key!r} is missing")
    readers: dict[str, Callable[[Field], Any]] = {
        "title": Field.text,
        "cohort": lambda value: _question(value, folder),
        "split": _split,
        "target": _target,
        "volume": _volume,
        "licenses": _licenses,
        "formats": lambda value: value.choices(FORMATS, "format"),
        "qc": _qc,
    }
    values = {key: readers[key](value) for key, value in given.items()}
    made = Declaration(name, **values, file=top.file, lines=_lines(top))
    _demand_fit(made, given)
    return made


def _demand_fit(made: Declaration, given: Mapping[str, Field]) -> None:
    """Refuses what a format cannot hold, before hours of work rather than after them."""
    if "nnunet" in made.formats and made.target is None:
        given["formats"].refuse("'nnunet' needs a target: it has labels for each image")
    if "nnunet" in made.formats and made.policy(WITHOUT_TARGET) == KEEP:
        place = given["qc"].fields()[WITHOUT_TARGET]
        place.refuse("'nnunet' has labels for each image; valid with it: 'drop', 'fail'")
    if "huggingface" in made.formats:
        _demand_splits(made.split, given["split"].fields())


def _demand_splits(split: SplitSettings, given: Mapping[str, Field]) -> None:
    """A split of Hugging Face has no `-`: it becomes `_`, and must then be another's name."""
    places = given["fractions"].fields()
    owner: dict[str, str] = {}
    for part in split.splits:
        place = places[part] if part in places else given["holdout"].fields()["part"]
        other = owner.setdefault(part.replace("-", "_"), part)
        if other != part:
            told = "'huggingface' writes '-' as '_'"
            place.refuse(f"{told}, so that {part!r} is called as {other!r} is: rename one of them")


def _lines(value: Field) -> dict[str, int]:
    found = {value.key: value.line} if value.key else {}
    if value.is_fields:
        for below in value.fields().values():
            found |= _lines(below)
    return found


# --- Cohort ---------------------------------------------------------------------------------------


def _question(value: Field, folder: Path) -> CohortQuery:
    given = value.fields(("sql", *_CRITERIA))
    written = {key: _written(each) for key, each in given.items()}
    if "sql" in given:
        if others := [key for key in given if key != "sql"]:
            given[others[0]].refuse("it says nothing beside 'sql', which is the whole question")
        statement = given["sql"].text("a statement of SQL").rstrip("; \n")
        if problem := sql.why_no_query(statement):
            given["sql"].refuse(f"it must be one SELECT: {problem}")
        return CohortQuery({"sql": statement}, sql=statement)
    if not any(key != "max_series_bytes" for key in given):
        value.refuse(f"it needs 'sql', or one of {', '.join(_CRITERIA[:-1])}")
    for key, each in given.items():
        # One at a time, so that an error has its line.
        _selection(
            {key: written[key]} | ({} if key == "where" else {"where": "true"}), each, folder
        )
    return CohortQuery(written, selection=_selection(written, value, folder))


def _selection(values: dict[str, Any], place: Field, folder: Path) -> Selection:
    try:
        return selection.from_fields(dict(values), folder=folder)
    except UsageError as error:
        place.refuse(_without_prefix(error))


def _without_prefix(error: UsageError) -> str:
    return str(error).removeprefix("image selection: ")


def _written(value: Field) -> Any:
    if value.key.rpartition(".")[2] in {"where", "sql", "max_series_bytes"}:
        return value.text()
    # Of no names at all, a selection would take them to be no criterion, and so any.
    return list(value.texts("a list of names"))


# --- Split ----------------------------------------------------------------------------------------


def _split(value: Field) -> SplitSettings:
    keys = ("fractions", "salt", "stratify", "folds", "holdout", "patients", "same_patient")
    given = value.fields(keys)
    if "fractions" not in given:
        value.refuse("the key 'fractions' is missing, such as {train: 0.8, test: 0.2}")
    readers: dict[str, Callable[[Field], Any]] = {
        "fractions": _fractions,
        "salt": Field.text,
        "stratify": lambda each: each.choices(SPLIT_COLUMNS, "column"),
        "folds": lambda each: each.whole(2, _MOST_FOLDS),
        "holdout": _holdout,
        "patients": lambda each: each.choice(PATIENTS, "way to tell patients apart"),
        "same_patient": _same_patient,
    }
    return SplitSettings(**{key: readers[key](each) for key, each in given.items()})


def _fractions(value: Field) -> tuple[tuple[str, Any], ...]:
    wanted = "a share above 0 and up to 1, such as 0.8 or 1/3"
    shares = []
    for name, each in value.fields().items():
        share = each.number(wanted)
        if not 0 < share <= 1:
            each.refuse_as(wanted)
        shares.append((_word(name, each, "part"), share))
    if sum(share for _, share in shares) != 1:
        total = float(sum(share for _, share in shares))
        value.refuse(f"the shares are together {total:g}, not 1; thirds can be written 1/3")
    return tuple(shares)


def _holdout(value: Field) -> Holdout:
    keys = ("part", "column", "values")
    given = value.fields(keys)
    for key in keys:
        if key not in given:
            value.refuse(f"the key {key!r} is missing; it needs {', '.join(keys)}")
    part = _word(given["part"].text(), given["part"], "part")
    column = given["column"].choice(SPLIT_COLUMNS, "column")
    return Holdout(part, column, given["values"].texts())


def _same_patient(value: Field) -> dict[str, tuple[str, ...]]:
    found = {name: each.texts("a list of PatientIDs") for name, each in value.fields().items()}
    owner: dict[str, str] = {}
    for name, uids in found.items():
        for uid in uids:
            if owner.setdefault(uid, name) != name:
                value.refuse(f"{uid!r} stands under {owner[uid]!r} and under {name!r}")
    return found


def _word(name: str, place: Field, what: str) -> str:
    if not _WORD.fullmatch(name):
        place.refuse(f"{name!r} is no name for a {what}: letters, digits, _ and -, a letter first")
    return name


# --- Target, volume, licences, quality ------------------------------------------------------------


def _target(value: Field) -> TargetSettings | None:
    if value.is_text and value.text() == "none":
        return None
    given = value.fields(("kind", "labels", "priority", "where", "ways"))
    for key in ("kind", "labels"):
        if key not in given:
            value.refuse(f"the key {key!r} is missing; without a target, write 'target: none'")
    labels = {_label(name, each): _pattern(each) for name, each in given["labels"].fields().items()}
    if not labels:
        given["labels"].refuse("there is no label, such as {tumour: '(?i)gtv.*'}")
    found: dict[str, Any] = {"kind": given["kind"].choice(MASKS, "kind"), "labels": labels}
    if "priority" in given:
        found["priority"] = given["priority"].choices(labels, "label")
    if "where" in given:
        found["where"] = given["where"].text("SQL")
    if "ways" in given:
        found["ways"] = given["ways"].choices(WAYS, "way")
    made = TargetSettings(**found)
    try:
        _ = made.targets
    except UsageError as error:
        given["labels"].refuse(str(error))
    return made


def _label(name: str, place: Field) -> str:
    if name.casefold() == "background":
        place.refuse("'background' is what has no label")
    return _word(name, place, "label")


def _pattern(value: Field) -> str:
    pattern = value.text("a regular expression")
    try:
        with warnings.catch_warnings():
            # What a later Python will read otherwise would make other labels there.
            warnings.simplefilter("error", FutureWarning)
            re.compile(pattern)
    except (re.error, FutureWarning) as error:
        value.refuse(f"{value.shown} is no regular expression: {error}")
    return pattern


def _volume(value: Field) -> VolumeSettings:
    given = value.fields(tuple(f.name for f in fields(VolumeSettings)))
    found: dict[str, Any] = {}
    if "spacing" in given and not _is_native(given["spacing"]):
        found["spacing"] = _spacing(given["spacing"])
    if "orientation" in given:
        found["orientation"] = _or_native(given["orientation"], ORIENTATIONS, "orientation")
    if "dtype" in given:
        found["dtype"] = _or_native(given["dtype"], DTYPES, "dtype")
    if "window" in given:
        found["window"] = _window(given["window"])
    if "least_slices" in given:
        found["least_slices"] = given["least_slices"].whole(1, 100_000)
    made = VolumeSettings(**found)
    if made.dtype == "uint8" and made.window is None:
        given["dtype"].refuse("'uint8' needs a window: few values of an image fit into it")
    return made


def _is_native(value: Field) -> bool:
    return value.is_text and value.text() == NATIVE


def _or_native(value: Field, valid: Collection[str], what: str) -> str | None:
    chosen = value.choice(valid, what)
    return None if chosen == NATIVE else chosen


def _spacing(value: Field) -> tuple[float, ...]:
    wanted = "'native', or three lengths in mm above 0, such as [1, 1, 1.5]"
    lengths = value.numbers(3, wanted)
    if min(lengths) <= 0:
        value.refuse(f"[{', '.join(f'{float(n):g}' for n in lengths)}] is not {wanted}")
    return tuple(map(float, lengths))


def _window(value: Field) -> tuple[float, ...]:
    wanted = "a lower and an upper end, such as [-1000, 400]"
    low, high = value.numbers(2, wanted)
    if low >= high:
        value.refuse(f"[{float(low):g}, {float(high):g}] is not {wanted}")
    return float(low), float(high)


def _licenses(value: Field) -> Licenses:
    given = value.fields(("deny", "allow"))
    made = None
    for key, each in given.items():
        try:
            made = Licenses(**{key: each.texts("a list of licences")})
        except UsageError as error:
            each.refuse(_without_prefix(error))
    if made is None:
        value.refuse("it needs names under 'deny' or 'allow'")
    return Licenses(**{key: each.texts() for key, each in given.items()})


def _qc(value: Field) -> dict[str, str]:
    found = {}
    for code, each in value.fields(SAMPLE_CODES).items():
        policy = found[code] = each.choice(POLICIES, "policy")
        is_impossible = code in FINDING_CODES and FINDING_CODES[code].makes_impossible
        if policy == KEEP and (is_impossible or code == NOT_FETCHED):
            each.refuse(f"there is nothing to keep: {SAMPLE_CODES[code]}; valid: 'drop', 'fail'")
    return found


# --- Back -----------------------------------------------------------------------------------------


def _of(value: Any) -> dict[str, Any]:
    return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Holdout):
        return _of(value)
    return value if isinstance(value, str | int | float | None) else str(value)
