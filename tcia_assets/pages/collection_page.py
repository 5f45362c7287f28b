"""The page of a Collection."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any
from urllib.parse import quote

from tcia_assets.pages import addresses, charts, display, rendering
from tcia_assets.pages.collection_facts import (
    BODY_PART,
    MAKER,
    MODALITY,
    RELEASED,
    YEAR,
    CollectionFacts,
)
from tcia_assets.pages.overview import license_badges_of
from tcia_assets.pages.series import SeriesFacts
from tcia_assets.pages.series_page import Shown, alt_of, detail_of, label_of

_PORTAL = "https://portal.imaging.datacommons.cancer.gov/collections/"
_SEARCH = "https://www.cancerimagingarchive.net/?s="
_MAX_THUMBNAILS = 18
# Modalities whose pictures say little by themselves.
_LAST = frozenset({"RTDOSE", "SEG", "RTSTRUCT", "PR", "SC"})
_ABOUT = {
    "cancer_types": "Cancer types",
    "tumor_locations": "Tumour locations",
    "species": "Species",
    "program": "Program",
    "status": "Status at the source",
    "updated_on": "Description updated",
}


@dataclass(frozen=True)
class Thumbnail:
    """A picture of a Series; paths are from the folder of all pages."""

    href: str
    picture: str
    label: str
    detail: str
    alt: str


def collection_page(
    facts: CollectionFacts, slug: str, thumbnails: Sequence[Thumbnail], *, why_none: str = ""
) -> str:
    """Return the page.

    Args:
        facts: Of the Collection.
        slug: See `addresses.slugs`.
        thumbnails: Of some of its Series on disk.
        why_none: Why there are none although Series are on disk; "" if they have no pixels.
    """
    return rendering.render(
        "collection.html",
        root="../",
        here="index.html",
        facts=facts,
        slug=slug,
        badges=license_badges_of(facts),
        states=_states(facts),
        details=_details(facts),
        links=_links(facts),
        charts=_charts(facts),
        plots=_plots(facts),
        pyramid=charts.pyramid(facts.people),
        thumbnails=thumbnails,
        no_pictures=_no_pictures(facts, why_none),
        rows_file=f"../{addresses.collection_rows(slug)}",
        query=_query(facts.name),
        refresh_command=f"tcia-assets refresh {shlex.quote(facts.name)}",
        fetch_command=f"tcia-assets fetch {shlex.quote(facts.name)}",
    )


def choose_thumbnails(
    found: Mapping[str, SeriesFacts], shown: Mapping[str, Shown], slug: str
) -> list[Thumbnail]:
    """Return pictures of some Series: of all Modalities in turns, volumes first, none twice.

    Args:
        found: The Series on disk.
        shown: What there is to see of each.
        slug: That of the Collection.
    """
    by_modality: dict[str, list[str]] = {}
    for uid in sorted(found, key=lambda uid: (shown[uid].viewer is None, uid)):
        if shown[uid].picture:
            by_modality.setdefault(found[uid].modality, []).append(uid)
    order = sorted(by_modality, key=lambda each: (each in _LAST, each))
    in_turns = chain.from_iterable(zip_longest(*(by_modality[each] for each in order)))
    chosen: dict[str, str] = {}
    for uid in filter(None, in_turns):
        chosen.setdefault(shown[uid].picture, uid)
    uids = list(chosen.values())[:_MAX_THUMBNAILS]
    return [_thumbnail(found[uid], shown[uid], slug) for uid in uids]


def _thumbnail(facts: SeriesFacts, shown: Shown, slug: str) -> Thumbnail:
    return Thumbnail(
        href=addresses.series_page(slug, facts.uid),
        picture=shown.picture,
        label=label_of(facts),
        detail=detail_of(facts),
        alt=alt_of(facts, shown.slice_name),
    )


def _query(name: str) -> str:
    escaped = name.replace("'", "''")
    return shlex.join(
        ["tcia-assets", "query", f"FROM current_series WHERE Collection = '{escaped}'"]
    )


def _states(facts: CollectionFacts) -> list[dict[str, str]]:
    kinds = (
        ("bad", "incomplete", "incomplete"),
        ("warn", "missing", "missing from the newest list"),
        ("", "withdrawn", "withdrawn"),
    )
    found = [
        {"kind": kind, "text": f"{display.count(number, 'Series', 'Series')} {text}"}
        for kind, name, text in kinds
        if (number := facts.status.get(name) or 0)
    ]
    if facts.bad_zips:
        text = f"{display.count(facts.bad_zips, 'zip')} missing or damaged"
        found.append({"kind": "bad", "text": text})
    if facts.unreadable:
        text = f"{display.count(facts.unreadable, 'value')} could not be read and left empty"
        found.append({"kind": "warn", "text": text})
    return found


def _details(facts: CollectionFacts) -> list[tuple[str, str]]:
    found = [
        (label, display.text(facts.about[name]))
        for name, label in _ABOUT.items()
        if name in facts.about
    ]
    first = min((day.day for day in facts.days), default=None)
    return [*found, ("In this mirror since", display.day(first))]


def _links(facts: CollectionFacts) -> list[tuple[str, str]]:
    """Return labels and addresses of what others show of the Collection."""
    main = next((each.url for each in facts.publications if each.url), "")
    portal = facts.name.lower().replace("-", "_").replace(" ", "_")
    return [
        ("TCIA page (DOI)", main) if main else ("Find it at TCIA", _SEARCH + quote(facts.name)),
        ("Imaging Data Commons", _PORTAL + quote(portal, safe="")),
    ]


def _charts(facts: CollectionFacts) -> list[charts.Bars]:
    kinds: tuple[tuple[str, str, Any, Any], ...] = (
        ("Modality", MODALITY, _named, display.modality),
        ("Body part", BODY_PART, display.word, str),
        ("Maker", MAKER, _named, str),
    )
    return [
        charts.bars(title, facts.shares.get(kind, ()), label, hint=hint)
        for title, kind, label, hint in kinds
    ]


def _named(value: str) -> str:
    return display.text(value) if value else display.NOT_GIVEN


def _plots(facts: CollectionFacts) -> list[charts.Plot]:
    kinds = (
        ("Series by year of the Study (dates are shifted)", YEAR),
        ("Series by year of release", RELEASED),
    )
    plots = (charts.years(title, facts.shares.get(kind, ())) for title, kind in kinds)
    return [plot for plot in plots if plot]


def _no_pictures(facts: CollectionFacts, why_none: str) -> dict[str, str]:
    name = shlex.quote(facts.name)
    if not facts.on_disk:
        return {
            "text": "There are no pictures, because no images of this Collection are on disk. To "
            "have some:",
            "command": f"tcia-assets fetch {name} --max-series 20\ntcia-assets catalogue",
        }
    text = why_none or "Its Series on disk have no pictures."
    return {"text": text, "command": "tcia-assets catalogue"}
