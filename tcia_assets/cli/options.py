"""Options that several commands share, or that are more than a word or a number."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial, wraps
from typing import Any

import click

from tcia_assets.cli.completion import complete_shared_lists
from tcia_assets.images.zip_parts import Subset

_Command = Callable[..., None]
_repeatable = partial(click.option, multiple=True)
_SELECTION = (
    click.option(
        "--selection", help="YAML or JSON, inline or a file; see docs/reference/selection.md."
    ),
    _repeatable("--modality", "modalities", help="Only this Modality; may be repeated."),
    _repeatable("--body-part", "body_parts", help="Only this BodyPartExamined; may be repeated."),
    click.option("--where", help="A SQL condition over current_series."),
    _repeatable(
        "--manifest", "manifests", help="Only Series in this .tcia, CSV, TSV or .s5cmd file."
    ),
    _repeatable("--series", help="Only this SeriesInstanceUID; may be repeated."),
    _repeatable(
        "--shared-list",
        "shared_lists",
        help="Only Series on this shared list.",
        shell_complete=complete_shared_lists,
    ),
    _repeatable("--deny-license", "deny", help="No Series under this licence, such as NC."),
    _repeatable("--allow-license", "allow", help="Only Series under this licence; repeatable."),
)


def format_option(
    default: str, *others: str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return the option `--format`, which a command takes as `form`."""
    formats = click.Choice([default, *others])
    return click.option("--format", "form", type=formats, default=default, show_default=True)


def selection_options(command: _Command) -> _Command:
    """Give a command the options that select Series.

    It takes them as keyword arguments: `selection`, and fields of a Selection.
    """

    @wraps(command)
    def call(*arguments: Any, deny: tuple[str, ...], allow: tuple[str, ...], **others: Any) -> None:
        licenses = {name: names for name, names in (("deny", deny), ("allow", allow)) if names}
        command(*arguments, licenses=licenses or None, **others)

    decorated: Callable[..., None] = call
    for option in reversed(_SELECTION):
        decorated = option(decorated)
    return decorated


_SIZE = re.compile(r"([0-9]+(?:[.][0-9]+)?) ?([kmgt]?)b?", re.IGNORECASE)


def parse_shard(_context: click.Context, _option: click.Parameter, value: str) -> tuple[int, int]:
    """Parse `I/N`: shard I, counted from 0, of N."""
    index, _, count = value.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise click.BadParameter(f"{value!r} is not a shard such as 0/4 or 3/4")
    return int(index), int(count)


def parse_subset(
    _context: click.Context, _option: click.Parameter, value: str | None
) -> Subset | None:
    """Parse `K/N`: subset K, counted from 1, of N."""
    if value is None:
        return None
    number, _, of = value.partition("/")
    if not (number.isdecimal() and of.isdecimal()):
        raise click.BadParameter(f"{value!r} is not a subset such as 1/30 or 30/30")
    return Subset(int(number), int(of))


def parse_size(_context: click.Context, _option: click.Parameter, value: str | None) -> int | None:
    """Parse `500MB`, `1.5 TB` or a plain number of bytes; units are decimal."""
    if value is None:
        return None
    found = _SIZE.fullmatch(value.strip())
    size = int(float(found[1]) * 1000 ** " KMGT".index((found[2] or " ").upper())) if found else 0
    if size < 1:
        raise click.BadParameter(f"{value!r} is not a size such as 500MB, 1.5TB or 20000000000")
    return size


def parse_moment(_context: click.Context, _option: click.Parameter, value: str | None) -> datetime:
    """Parse a date or a time, in UTC unless it names a zone; None is a week ago."""
    if value is None:
        return (datetime.now(UTC) - timedelta(days=7)).replace(second=0, microsecond=0)
    try:
        moment = datetime.fromisoformat(value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        example = "2026-11-01 or 2026-11-01T08:30+01:00"
        problem = f"{value!r} is not a date or time such as {example}: {error}"
        raise click.BadParameter(problem) from None
