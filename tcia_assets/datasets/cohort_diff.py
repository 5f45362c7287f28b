"""What differs between two cohorts of a dataset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tcia_assets.datasets.cohort import Cohort, without_zip
from tcia_assets.sources.doi import doi_of

_DOI = "DataDescriptionURI"


@dataclass(frozen=True)
class CohortDiff:
    """What differs in a later cohort; false where nothing does.

    Attributes:
        added: UIDs of Series.
        removed: UIDs of Series.
        changed: For each changed Series its columns that differ, each as (old, new).
        pairs_added: Lines with the UIDs of a pair, or of a channel and its image.
        pairs_removed: Lines with the UIDs of a pair, or of a channel and its image.
        publications: The DOIs whose title or citation differs.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: Mapping[str, Mapping[str, tuple[Any, Any]]] = field(default_factory=dict)
    pairs_added: tuple[str, ...] = ()
    pairs_removed: tuple[str, ...] = ()
    publications: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return any(vars(self).values())

    def __str__(self) -> str:
        return "\n".join(self._lines()) or "nothing has changed"

    def _lines(self) -> Iterator[str]:
        for sign, kind, names in (
            ("+", "Series", self.added),
            ("-", "Series", self.removed),
            ("+", "pair", self.pairs_added),
            ("-", "pair", self.pairs_removed),
        ):
            yield from (f"{sign} {kind} {name}" for name in names)
        yield from (change_line(uid, columns) for uid, columns in self.changed.items())
        yield from (f"~ publication {doi}: title or citation" for doi in self.publications)


def change_line(uid: str, columns: Mapping[str, tuple[Any, Any]]) -> str:
    """Return the line about a changed Series, with the old and new values of its columns."""
    changes = ", ".join(f"{name} {old!r} -> {new!r}" for name, (old, new) in columns.items())
    return f"~ Series {uid}: {changes}"


def diff_cohorts(before: Cohort, after: Cohort) -> CohortDiff:
    """Return what differs in the later cohort."""
    old, new = _by_uid(before), _by_uid(after)
    changed = {uid: _changes(old[uid], new[uid]) for uid in sorted(old.keys() & new.keys())}
    old_pairs, new_pairs = _pair_lines(before), _pair_lines(after)
    return CohortDiff(
        added=tuple(sorted(new.keys() - old.keys())),
        removed=tuple(sorted(old.keys() - new.keys())),
        changed={uid: columns for uid, columns in changed.items() if columns},
        pairs_added=tuple(sorted(new_pairs - old_pairs)),
        pairs_removed=tuple(sorted(old_pairs - new_pairs)),
        publications=_changed_publications(before, after),
    )


def _changed_publications(before: Cohort, after: Cohort) -> tuple[str, ...]:
    old, new = ({row["doi"]: row for row in c.publications.to_pylist()} for c in (before, after))
    return tuple(sorted(doi for doi in old.keys() | new.keys() if old.get(doi) != new.get(doi)))


def _changes(old: dict[str, Any], new: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    if old["content_md5"] == new["content_md5"]:
        old, new = without_zip(old), without_zip(new)
    changes = {name: (old[name], new[name]) for name in new if old[name] != new[name]}
    if old["content_md5"] is not None and old["content_md5"] == new["content_md5"]:
        # The same objects: the sources write the same facts in several ways.
        changes.pop("fingerprint", None)
        if doi_of(old[_DOI] or "").lower() == doi_of(new[_DOI] or "").lower():
            changes.pop(_DOI, None)
    return changes


def _by_uid(cohort: Cohort) -> dict[str, dict[str, Any]]:
    return {row["SeriesInstanceUID"]: row for row in cohort.series.to_pylist()}


def _pair_lines(cohort: Cohort) -> set[str]:
    channels = {
        f"{row['SeriesInstanceUID'] or 'none'} as {row['channel']!r} of "
        f"{row['image_series_instance_uid']}"
        for row in cohort.channels.to_pylist()
    }
    return channels | {
        f"{row['target_series_instance_uid']} {row['SOPInstanceUID']} on "
        f"{row['image_series_instance_uid']} by {row['how']}, rank {row['rank']}"
        for row in cohort.pairs.to_pylist()
    }
