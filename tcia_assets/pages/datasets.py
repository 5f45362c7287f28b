"""Built datasets: a page for each, with its versions, numbers, licences and what changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from tcia_assets.errors import DataError, MissingExtra
from tcia_assets.pages import addresses, display, rendering
from tcia_assets.pages.folder import CatalogueFolder
from tcia_assets.pages.license_badges import Badge, badge

_SHEET, _BIBTEX = "contact_sheet.png", "CITATIONS.bib"
_MAX_DIFF = 200
_MAX_REASONS = 30


@dataclass(frozen=True)
class VersionFacts:
    """A version of a dataset.

    Attributes:
        version: Its name: the start of its root hash.
        made_on: The day on which it was built.
        is_latest: Whether it is the one that the link `latest` has.
        bytes: Of its files.
        files: Number of its files.
        kept: Number of kept samples.
        dropped: Number of dropped ones.
        sheet: Path of its contact sheet in the catalogue; "" for none.
        tables: Title, names of columns and rows of each table of its summary.
        reasons: Why samples were dropped, with how many.
        badges: Its licences.
        bibtex: What to cite.
        diff: What differs from the version before; None for the first one.
        problem: Why nothing more is known; "" for a sound version.
    """

    version: str
    made_on: str
    is_latest: bool
    bytes: int
    files: int
    kept: int = 0
    dropped: int = 0
    sheet: str = ""
    tables: tuple[tuple[str, tuple[str, ...], tuple[tuple[Any, ...], ...]], ...] = ()
    reasons: tuple[tuple[str, int], ...] = ()
    badges: tuple[Badge, ...] = ()
    bibtex: str = ""
    diff: tuple[str, ...] | None = None
    more_diff: int = 0
    problem: str = ""


@dataclass(frozen=True)
class DatasetFacts:
    """A dataset and its versions, the newest first."""

    name: str
    slug: str
    title: str
    settings: tuple[tuple[str, str], ...]
    versions: tuple[VersionFacts, ...] = field(default_factory=tuple)


class DatasetPages:
    """Writes the pages of datasets.

    Args:
        root: The data folder.
        folder: Where the pages are written.
    """

    def __init__(self, root: Path, folder: CatalogueFolder) -> None:
        self._root, self._folder = root, folder

    def write(self) -> int:
        """Write all pages, and return how many there are; those of datasets that are gone go."""
        missing, found = "", list[DatasetFacts]()
        try:
            found = self._read()
        except MissingExtra as error:
            missing = str(error)
        page = rendering.render(
            "datasets.html", root="", here="datasets.html", datasets=found, missing=missing
        )
        self._folder.write("datasets.html", page)
        names = {"datasets.html"}
        for each in found:
            name = addresses.dataset_page(each.slug)
            names |= {name, *(version.sheet for version in each.versions if version.sheet)}
            self._folder.write(name, dataset_page(each))
        self._forget(names)
        return 1 + len(found)

    def _forget(self, names: set[str]) -> None:
        before = self._folder.state("datasets", shared=True)
        for name in set(before.get("files", [])) - names:
            self._folder.remove(name)
        self._folder.save("datasets", {"files": sorted(names)}, shared=True)

    def _read(self) -> list[DatasetFacts]:
        # An optional extra.
        versions = import_module("tcia_assets.datasets.versions")
        names = versions.dataset_names(self._root)
        slugs = addresses.slugs(names)
        return [self._dataset(name, slugs[name], versions) for name in names]

    def _dataset(self, name: str, slug: str, versions: Any) -> DatasetFacts:
        known = versions.list_versions(self._root, name)
        latest = versions.latest(self._root, name)
        pairs = zip([None, *known[:-1]], known, strict=True)
        facts = [self._version(slug, before, version, latest) for before, version in pairs]
        newest = known[-1].content
        settings = newest["settings"]
        return DatasetFacts(
            name=name,
            slug=slug,
            title=str(settings.get("title") or newest.get("title") or name),
            settings=tuple(_flat(settings)),
            versions=tuple(reversed(facts)),
        )

    def _version(self, slug: str, before: Any, version: Any, latest: str) -> VersionFacts:
        known: dict[str, Any] = {
            "version": version.version,
            "made_on": display.day(version.made_at),
            "is_latest": version.folder.name == latest,
            "bytes": version.bytes,
            "files": len(version.files),
        }
        try:
            return VersionFacts(**known, **self._details(slug, before, version))
        except (DataError, OSError) as error:
            return VersionFacts(**known, problem=str(error))

    def _details(self, slug: str, before: Any, version: Any) -> dict[str, Any]:
        summary = import_module("tcia_assets.datasets.summary")
        samples = version.samples
        splits = [part for part in dict.fromkeys(samples["part"].to_pylist()) if part]
        states = samples["state"].to_pylist()
        numbers = summary.summarize(samples, _in_order(splits, version.content["settings"]))
        return {
            "kept": states.count("kept"),
            "dropped": states.count("dropped"),
            "sheet": self._copy_sheet(slug, version),
            "tables": tuple(_tables(numbers, summary)),
            "reasons": _reasons(samples),
            "badges": _badges(samples),
            "bibtex": _text(version.folder / _BIBTEX),
            **_diff(before, version),
        }

    def _copy_sheet(self, slug: str, version: Any) -> str:
        source = version.folder / _SHEET
        if not source.is_file():
            return ""
        name = f"datasets/{slug}-{version.version}.png"
        self._folder.write(name, source.read_bytes())
        return name


def dataset_page(facts: DatasetFacts) -> str:
    """Return the page of a dataset."""
    return rendering.render("dataset.html", root="../", here="datasets.html", facts=facts)


def _in_order(splits: list[str], settings: Mapping[str, Any]) -> list[str]:
    """Return splits in the order of the declaration, as far as it names them."""
    declared = [name for name, _ in (settings.get("split") or {}).get("fractions") or ()]
    return sorted(splits, key=lambda s: (declared.index(s) if s in declared else len(declared), s))


def _tables(
    numbers: Mapping[str, Sequence[Mapping[str, Any]]], summary: Any
) -> list[tuple[str, tuple[str, ...], tuple[tuple[Any, ...], ...]]]:
    names = {summary.VALUE: "value", summary.TOTAL: "total", "bytes": "size"}
    found = []
    for key, title in summary.TITLES.items():
        if records := numbers.get(key):
            columns = tuple(names.get(column, column) for column in records[0])
            rows = tuple(tuple(_cell(*item) for item in record.items()) for record in records)
            found.append((title, columns, rows))
    return found


def _cell(column: str, value: Any) -> Any:
    return display.size(value) if column == "bytes" else value


def _reasons(samples: Any) -> tuple[tuple[str, int], ...]:
    counts: dict[str, int] = {}
    for reasons in samples["reasons"].to_pylist():
        for reason in reasons or ():
            counts[reason] = counts.get(reason, 0) + 1
    return tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_MAX_REASONS])


def _badges(samples: Any) -> tuple[Badge, ...]:
    pairs = zip(samples["LicenseName"].to_pylist(), samples["LicenseURI"].to_pylist(), strict=True)
    found = {badge(name, uri).short: badge(name, uri) for name, uri in dict.fromkeys(pairs)}
    return tuple(found.values())


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _diff(before: Any, version: Any) -> dict[str, Any]:
    if before is None:
        return {"diff": None}
    version_diff = import_module("tcia_assets.datasets.version_diff")
    lines = list(version_diff.diff_versions(before, version).lines)
    return {"diff": tuple(lines[:_MAX_DIFF]), "more_diff": max(len(lines) - _MAX_DIFF, 0)}


def _flat(settings: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    """Return settings by their full key, such as `split.salt`, each as one line."""
    found = []
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            found += _flat(value, f"{above}{name}.")
        elif value not in (None, "", [], {}):
            found.append((f"{above}{name}", display.text(value)))
    return found
