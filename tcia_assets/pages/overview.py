"""The overview: all Collections, to search and filter; how the mirror has grown; its state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from tcia_assets.metadata.plausibility import last_compared
from tcia_assets.pages import addresses, charts, display, rendering
from tcia_assets.pages.collection_facts import (
    BODY_PART,
    LICENSE,
    MAKER,
    MODALITY,
    RELEASED,
    CollectionFacts,
    Share,
    add_days,
    merge_shares,
)
from tcia_assets.pages.license_badges import Badge, badge
from tcia_assets.store.warehouse import Warehouse

_SEARCHED = 600
_MAX_FAILURES = 50
_SUMMED = ("patients", "studies", "series", "images", "bytes", "on_disk", "bytes_on_disk")
_FAILURES = """
    SELECT SeriesInstanceUID, Collection, status, attempts, error FROM image_archives
    WHERE status <> 'complete' ORDER BY attempts DESC, Collection, SeriesInstanceUID LIMIT $most
"""
_SOURCES = """
    SELECT source, max(taken_at) AS latest FROM snapshots WHERE source NOTNULL GROUP BY source
    ORDER BY latest DESC, source
"""


@dataclass(frozen=True)
class State:
    """What the mirror knows beside its Collections.

    Attributes:
        compared: When each Collection was last compared with its source.
        sources: The sources of the comparisons, the latest first.
        failures: Series whose images are not complete.
    """

    compared: Mapping[str, datetime]
    sources: tuple[str, ...]
    failures: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class _Option:
    key: str
    label: str
    hint: str
    series: int
    percent: float


@dataclass(frozen=True)
class _Facet:
    name: str
    title: str
    needs_all: bool
    shown: int
    options: tuple[_Option, ...]


@dataclass(frozen=True)
class _Card:
    facts: CollectionFacts
    href: str
    badges: tuple[Badge, ...]
    series: Mapping[str, Mapping[str, int]]
    search: str
    thumbnails: Sequence[tuple[str, str]]


def read_state(warehouse: Warehouse) -> State:
    """Query what the overview shows beside the facts of Collections."""
    failures = warehouse.query(_FAILURES, {"most": _MAX_FAILURES}).to_pylist()
    sources = warehouse.query(_SOURCES)["source"].to_pylist()
    return State(last_compared(warehouse, datetime.now(UTC)), tuple(sources), tuple(failures))


def overview_page(
    collections: Sequence[CollectionFacts],
    state: State,
    slugs: Mapping[str, str],
    thumbnails: Mapping[str, Sequence[tuple[str, str]]],
) -> str:
    """Return the page.

    Args:
        collections: All Collections of the mirror.
        state: See `read_state`.
        slugs: Of all Collections.
        thumbnails: Path of each picture and what it shows, by Collection.
    """
    facets = [_facet(*kind, collections) for kind in _FACETS]
    totals = {name: sum(getattr(each, name) for each in collections) for name in _SUMMED}
    return rendering.render(
        "overview.html",
        root="",
        here="index.html",
        totals=totals,
        states=_states(collections, state),
        facets=[facet for facet in facets if facet.options],
        cards=[_card(each, slugs, thumbnails.get(each.name, ())) for each in collections],
        growth=_growth(collections, state),
        freshness=_freshness(state),
        attention=_attention(collections, state, slugs),
        failures=state.failures,
    )


# --- Facets ---------------------------------------------------------------------------------------


def _license_key(value: str) -> str:
    return badge(value).short


def _values(kind: str, key: Callable[[str], str]) -> Callable[[CollectionFacts], list[Share]]:
    def of(facts: CollectionFacts) -> list[Share]:
        return [
            Share(value=key(each.value), series=each.series, patients=each.patients)
            for each in facts.shares.get(kind, ())
            if each.value
        ]

    return of


def _cancer_types(facts: CollectionFacts) -> list[Share]:
    return [Share(value=each, series=facts.series) for each in facts.cancer_types]


# Name, title, whether a Collection must have all that is chosen, options shown at once, values.
_FACETS: tuple[tuple[str, str, bool, int, Callable[[CollectionFacts], list[Share]]], ...] = (
    ("modality", "Modality", True, 8, _values(MODALITY, str)),
    ("license", "Licence", False, 6, _values(LICENSE, _license_key)),
    ("body_part", "Body part", False, 7, _values(BODY_PART, display.word)),
    ("cancer_type", "Cancer type", False, 6, _cancer_types),
    ("maker", "Maker", False, 5, _values(MAKER, str)),
)


def _facet(
    name: str,
    title: str,
    needs_all: bool,  # noqa: FBT001 - a field of the declaration above
    shown: int,
    values: Callable[[CollectionFacts], list[Share]],
    collections: Iterable[CollectionFacts],
) -> _Facet:
    shares = merge_shares(share for facts in collections for share in values(facts))
    highest = max((share.series for share in shares), default=0)
    options = tuple(
        _Option(
            key=_key(share.value),
            label=display.text(share.value),
            hint=(display.modality(share.value) if name == MODALITY else "") or share.value,
            series=share.series,
            percent=charts.percent(share.series, highest),
        )
        for share in shares
    )
    return _Facet(name, title, needs_all, shown, options)


def _key(value: str) -> str:
    """Return what is compared by a filter: one line, in lower case."""
    return display.text(value).casefold()


def _card(
    facts: CollectionFacts, slugs: Mapping[str, str], thumbnails: Sequence[tuple[str, str]]
) -> _Card:
    series = {name: _series_by_key(values(facts)) for name, _, _, _, values in _FACETS}
    words = (facts.name, facts.title, *(key for found in series.values() for key in found))
    places = (facts.about.get("tumor_locations", ""), facts.about.get("program", ""))
    search = " ".join([*words, *places, display.shortened(facts.description, _SEARCHED)])
    return _Card(
        facts,
        addresses.collection_page(slugs[facts.name]),
        license_badges_of(facts),
        series,
        display.text(search).casefold(),
        thumbnails,
    )


def _series_by_key(shares: Iterable[Share]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for share in shares:
        counts[_key(share.value)] = counts.get(_key(share.value), 0) + share.series
    return dict(sorted(counts.items()))


def license_badges_of(facts: CollectionFacts) -> tuple[Badge, ...]:
    """Return the badges of a Collection's licences, each once, that of most Series first."""
    uris = {name: uri for each in facts.publications for name, uri in each.licenses}
    found: dict[str, Badge] = {}
    for share in facts.shares.get(LICENSE, ()):
        each = badge(share.value, uris.get(share.value))
        found.setdefault(each.short, each)
    return tuple(found.values())


# --- Growth and state -----------------------------------------------------------------------------


def _growth(collections: Sequence[CollectionFacts], state: State) -> dict[str, Any]:
    days = add_days(day for facts in collections for day in facts.days)
    until = max([*(day.day for day in days), *map(_date, state.compared.values())], default=None)
    plots: list[charts.Plot | None] = []
    if until:
        plots = [
            charts.growth("Series", days, "series", _series, until=until),
            charts.growth("Patients", days, "patients", display.number, until=until),
            charts.growth("Bytes on disk", days, "bytes_fetched", display.size, until=until),
        ]
    released = merge_shares(s for facts in collections for s in facts.shares.get(RELEASED, ()))
    plots.append(charts.years("Series by the year of their release", released))
    shown = [plot for plot in plots if plot]
    first = min((day.day for day in days), default=None)
    note = f"This mirror began on {display.day(first)}." if first else ""
    if not any(plot.line for plot in shown):
        note += " Its growth is drawn from the second day on."
    return {"note": note, "charts": shown}


def _date(moment: datetime) -> date:
    return moment.astimezone(UTC).date()


def _series(value: int) -> str:
    return display.count(value, "Series", "Series")


def _sum(collections: Iterable[CollectionFacts], name: str) -> int:
    return sum(facts.status.get(name) or 0 for facts in collections)


def _states(collections: Sequence[CollectionFacts], state: State) -> list[dict[str, str]]:
    """Return the state in a few words each; `kind` is good, warn, bad or ""."""
    found = []
    if state.compared:
        newest = display.minute(max(state.compared.values()))
        source = f" with {state.sources[0]}" if state.sources else ""
        found.append({"kind": "good", "text": f"Compared{source} on {newest}", "href": ""})
    pending = _sum(collections, "bytes_to_fetch")
    for kind, number, shown in (
        ("warn", pending, f"{display.size(pending)} of the selection to fetch"),
        ("bad", _sum(collections, "incomplete"), "incomplete"),
        ("bad", sum(each.bad_zips for each in collections), "with a missing or damaged zip"),
        ("warn", _sum(collections, "missing"), "missing from the newest list"),
        ("", _sum(collections, "withdrawn"), "withdrawn"),
    ):
        if number:
            text = shown if number == pending and kind == "warn" else f"{_series(number)} {shown}"
            found.append({"kind": kind, "text": text, "href": "#state"})
    return found


def _freshness(state: State) -> str:
    if not state.compared:
        return "No Collection was compared with the source yet."
    oldest, newest = min(state.compared.values()), max(state.compared.values())
    if _date(oldest) == _date(newest):
        return f"All were compared with the source on {display.day(newest)}."
    return (
        f"Compared with the source between {display.minute(oldest)} and {display.minute(newest)}."
    )


def _attention(
    collections: Iterable[CollectionFacts], state: State, slugs: Mapping[str, str]
) -> list[dict[str, Any]]:
    rows = [
        {
            "name": facts.name,
            "href": addresses.collection_page(slugs[facts.name]),
            "to_fetch": facts.status.get("bytes_to_fetch") or 0,
            "incomplete": facts.status.get("incomplete") or 0,
            "missing": facts.status.get("missing") or 0,
            "withdrawn": facts.status.get("withdrawn") or 0,
            "bad_zips": facts.bad_zips,
            "unreadable": facts.unreadable,
            "compared_at": state.compared.get(facts.name),
        }
        for facts in collections
    ]
    noted = ("to_fetch", "incomplete", "bad_zips", "missing", "withdrawn", "unreadable")
    return [row for row in rows if any(row[name] for name in noted)]
