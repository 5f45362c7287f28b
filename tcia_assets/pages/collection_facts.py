"""The facts of a Collection, for its own page and for the overview, as values.

They are read in `collections.py`, and kept beside the pages until the tables change.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any

from pydantic import BaseModel, ConfigDict

from tcia_assets.pages.publications import Publication

MODALITY, BODY_PART, LICENSE, MAKER, YEAR, RELEASED = (
    "modality",
    "body_part",
    "license",
    "maker",
    "year",
    "released",
)


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True)


class Share(_Facts):
    """How many Series and patients have a value; "" is for those without one."""

    value: str
    series: int
    patients: int = 0


class People(_Facts):
    """Patients of a sex, F, M, O or "", and a decade of age, such as 60; None if unknown."""

    sex: str
    decade: int | None
    patients: int


class Day(_Facts):
    """What a day added, less what was withdrawn."""

    day: date
    series: int = 0
    patients: int = 0
    bytes_fetched: int = 0
    fetched: int = 0


class CollectionFacts(_Facts):
    """What a Collection has; counts are of Series that are not withdrawn, unless their name says.

    Attributes:
        name: Its name.
        patients, studies, series, images, bytes: What the source lists.
        on_disk, bytes_on_disk: Series with a zip, and the bytes of these.
        status: A row of `images.status.collection_status`.
        shares: Shares by what they are of, the largest first.
        people: Patients by sex and age.
        days: What each day added, the oldest first.
        publications: The main one first.
        bibtex: The citations as BibTeX.
        about: What the description states beside its text: cancer types and such.
        unreadable: Number of values that could not be read.
        bad_zips: Number of zips that were found missing or damaged when pictures were made.
    """

    name: str
    patients: int = 0
    studies: int = 0
    series: int = 0
    images: int = 0
    bytes: int = 0
    on_disk: int = 0
    bytes_on_disk: int = 0
    status: dict[str, Any] = {}
    shares: dict[str, tuple[Share, ...]] = {}
    people: tuple[People, ...] = ()
    days: tuple[Day, ...] = ()
    publications: tuple[Publication, ...] = ()
    bibtex: str = ""
    about: dict[str, str] = {}
    unreadable: int = 0
    bad_zips: int = 0

    @property
    def title(self) -> str:
        """The title of its main publication; "" if the source has none."""
        return self.publications[0].title if self.publications else ""

    @property
    def description(self) -> str:
        """The description of its main publication; "" if the source has none."""
        return next((each.description for each in self.publications if each.description), "")

    @property
    def cancer_types(self) -> tuple[str, ...]:
        """The types of cancer that its description names."""
        return tuple(filter(None, self.about.get("cancer_types", "").split(", ")))

    def values(self, kind: str) -> tuple[str, ...]:
        """Return the values of shares of a kind, without "not given"."""
        return tuple(each.value for each in self.shares.get(kind, ()) if each.value)


def merge_shares(shares: Iterable[Share]) -> tuple[Share, ...]:
    """Add up shares of one value, whatever its case; the spelling of most Series is kept.

    Returns:
        The largest first. Patients are added up too, though one may have several spellings.
    """
    merged: dict[str, Share] = {}
    for share in sorted(shares, key=lambda each: (-each.series, each.value)):
        key = share.value.casefold()
        known = merged.get(key, Share(value=share.value, series=0))
        merged[key] = Share(
            value=known.value,
            series=known.series + share.series,
            patients=known.patients + share.patients,
        )
    return tuple(sorted(merged.values(), key=lambda each: (-each.series, each.value)))


def add_days(days: Iterable[Day]) -> list[Day]:
    """Add up what is of the same day; the oldest first."""
    added: dict[date, Day] = {}
    for each in days:
        known = added.get(each.day, Day(day=each.day))
        sums = {
            name: getattr(known, name) + getattr(each, name)
            for name in ("series", "patients", "bytes_fetched", "fetched")
        }
        added[each.day] = Day(day=each.day, **sums)
    return [added[day] for day in sorted(added)]
