"""The reference of what the plugin defines in Dagster, from its own Definitions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tcia_assets import TciaResource, build_definitions


def dagster_reference() -> str:
    """Return tables of the jobs, schedules, sensors, assets and checks."""
    with TemporaryDirectory() as empty:
        resource = TciaResource(data_dir=empty, collections=["LCTSC"])
        definitions = build_definitions(resource=resource, datasets=Path(empty))
    graph = definitions.resolve_asset_graph()
    keys = sorted(graph.get_all_asset_keys())
    return "\n".join(
        [
            "## Jobs\n",
            *rows(("job", "what it does"), named(definitions.jobs)),
            "## Schedules\n",
            *rows(
                ("schedule", "cron", "what it does"),
                [
                    (f"`{s.name}`", f"`{s.cron_schedule}`", s.description)
                    for s in definitions.schedules or ()
                ],
            ),
            "## Sensors\n",
            *rows(("sensor", "what it does"), named(definitions.sensors)),
            "## Assets\n",
            *rows(
                ("asset", "what it is"),
                [(f"`{key.to_user_string()}`", graph.get(key).description) for key in keys],
            ),
            "## Checks\n",
            *rows(("check", "of the assets", "what holds"), checks(graph)),
        ]
    )


def named(things: Iterable[Any] | None) -> list[Sequence[str]]:
    """Return name and description of each."""
    return [(f"`{each.name}`", each.description) for each in things or ()]


def checks(graph: Any) -> list[Sequence[str]]:
    """Return each check once, with the assets that have it."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for key in sorted(graph.asset_check_keys):
        about = graph.get_check_spec(key).description or ""
        # Two checks that differ only in the columns of their table are one kind of check.
        about = about.partition(" have the same ")[0] + (
            " have the same key." if " have the same " in about else ""
        )
        found[key.name, about].append(f"`{key.asset_key.path[-1]}`")
    return [
        (f"`{name}`", ", ".join(dict.fromkeys(assets)), about)
        for (name, about), assets in found.items()
    ]


def rows(head: Sequence[str], body: Iterable[Sequence[str | None]]) -> list[str]:
    """Return the lines of a Markdown table."""
    lines = [head, ["---"] * len(head), *body]
    return ["| " + " | ".join(cell(text or "") for text in line) + " |" for line in lines] + [""]


def cell(text: str) -> str:
    """Return a text as a cell."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
