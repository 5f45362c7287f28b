"""The page of a Series on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from tcia_assets.pages import display, rendering
from tcia_assets.pages.license_badges import badge
from tcia_assets.pages.series import SeriesFacts, changed_values

_OHIF = "https://viewer.imaging.datacommons.cancer.gov/v3/viewer/?StudyInstanceUIDs="
_SLIM = "https://viewer.imaging.datacommons.cancer.gov/slim/studies/"


@dataclass(frozen=True)
class Viewer:
    """Where the slices and the volume of a Series are, and how they are shown.

    Attributes:
        picture: The picture of the slice that is shown first.
        slices: The picture with all slices.
        script: The script with the voxels.
        columns: Slices in a row of the picture.
        count: Number of slices in it.
        depth: Number of slices of the volume.
        best: The slice that is shown first, from 0.
        window: The lower and the upper value that are shown.
        window_name: What they are.
        labels: Name, colour and value of each structure.
    """

    picture: str
    slices: str
    script: str
    columns: int
    count: int
    depth: int
    best: int
    window: tuple[float, float]
    window_name: str
    labels: tuple[tuple[str, str, int], ...]

    @property
    def slice_name(self) -> str:
        """Which slice is shown first, such as "slice 43 of 86"."""
        steps = max(self.count - 1, 1)
        return name_slice(int(self.best * (self.depth - 1) / steps + 1.5), self.depth)


def name_slice(number: int, count: int) -> str:
    """Return what a slice is called; "" for the only one."""
    return f"slice {number} of {count}" if count > 1 else ""


@dataclass(frozen=True)
class Related:
    """A Series that is drawn on this one, or that this one is drawn on."""

    href: str
    picture: str
    alt: str
    label: str
    detail: str


@dataclass(frozen=True)
class Shown:
    """What there is to see of a Series.

    Attributes:
        picture: Path of its picture; "" for none.
        slice_name: Which of its slices the picture shows; "" for the only one.
        viewer: Its volume; None for none.
        why: Why there is none; "" where nothing has to be said.
        advice: A command that helps; "" for none.
        related: Other Series.
        zip_problem: What is wrong with its zip; "" for nothing.
    """

    picture: str = ""
    slice_name: str = ""
    viewer: Viewer | None = None
    why: str = ""
    advice: str = ""
    related: Sequence[Related] = ()
    zip_problem: str = ""


def series_page(facts: SeriesFacts, collection: str, slug: str, shown: Shown) -> str:
    """Return the page.

    Args:
        facts: Of the Series.
        collection: Its Collection.
        slug: That of the Collection; see `addresses.slugs`.
        shown: What there is to see.
    """
    return rendering.render(
        "series.html",
        root="../../",
        here="index.html",
        facts=facts,
        collection=collection,
        slug=slug,
        heading=heading_of(facts),
        subtitle=_subtitle(facts),
        badge=badge(facts.row["LicenseName"], facts.row["LicenseURI"]),
        picture=shown.picture,
        viewer=shown.viewer,
        why=shown.why,
        advice=shown.advice,
        related=shown.related,
        zip_problem=shown.zip_problem,
        alt=alt_of(facts, shown.slice_name),
        events=[each | {"changes": list(changed_values(each))} for each in facts.events],
        export=f"tcia-assets export --series {facts.uid} --to dicom",
        links=_links(facts),
    )


def heading_of(facts: SeriesFacts) -> str:
    """Return what a Series is called: its description, or else its Modality."""
    description = display.text(facts.row["SeriesDescription"] or "")
    name = "" if description == display.NOTHING else description
    return name or display.modality(facts.modality) or facts.modality or "Series"


def label_of(facts: SeriesFacts) -> str:
    """Return a short name for a Series: its Modality and description."""
    heading = heading_of(facts)
    named = (
        heading if heading == display.modality(facts.modality) else f"{facts.modality} {heading}"
    )
    return display.shortened(named, 44)


def detail_of(facts: SeriesFacts) -> str:
    """Return a second line for a Series: its patient and its number of objects."""
    count = facts.archive["image_count"]
    objects = display.count(count, "object") if count is not None else ""
    parts = (display.text(facts.row["PatientID"]), objects)
    return ", ".join(part for part in parts if part and part != display.NOTHING)


def alt_of(facts: SeriesFacts, slice_name: str) -> str:
    """Return what a picture of a Series shows: "Computed tomography of lung, Thorax, slice 4 of 9".

    Args:
        facts: Of the Series.
        slice_name: See `Shown`.
    """
    kind = display.modality(facts.modality) or facts.modality or "Image"
    part = facts.row["BodyPartExamined"]
    shown = f"{kind} of {display.word(part).lower()}" if part else kind
    heading = heading_of(facts)
    return ", ".join(filter(None, (shown, heading if heading != kind else "", slice_name)))


def related_to(
    facts: SeriesFacts,
    others: dict[str, SeriesFacts],
    pictures: dict[str, str],
    slice_names: dict[str, str],
) -> list[Related]:
    """Return the Series of the same Collection that are drawn on it, or that it is drawn on.

    Args:
        facts: Of the Series.
        others: All Series of its Collection.
        pictures: Paths of their pictures.
        slice_names: See `Shown`.
    """
    known = [uid for uid in (*facts.images, *facts.masks) if uid in others]
    return [
        Related(
            href=f"{uid}.html",
            picture=pictures.get(uid, ""),
            alt=alt_of(others[uid], slice_names[uid]),
            label=label_of(others[uid]),
            detail="drawn on it" if uid in facts.masks else "it is drawn on this",
        )
        for uid in known
    ]


def _subtitle(facts: SeriesFacts) -> str:
    row: dict[str, Any] = facts.row
    parts = [
        display.modality(facts.modality),
        display.word(row["BodyPartExamined"]) if row["BodyPartExamined"] else "",
        f"patient {display.text(row['PatientID'])}" if row["PatientID"] else "",
        display.day(row["SeriesDate"] or row["StudyDate"]),
        display.text(row["Manufacturer"]) if row["Manufacturer"] else "",
    ]
    return " · ".join(part for part in parts if part and part != display.NOTHING)


def _links(facts: SeriesFacts) -> list[tuple[str, str]]:
    """Return viewers of the Imaging Data Commons, which have most of TCIA's public Series."""
    study, uid = facts.row["StudyInstanceUID"], quote(facts.uid, safe=".")
    if not study:
        return []
    place = quote(study, safe=".")
    if facts.modality == "SM":
        return [("Viewer of the IDC", f"{_SLIM}{place}/series/{uid}")]
    return [("Viewer of the IDC", f"{_OHIF}{place}&initialSeriesInstanceUID={uid}")]
