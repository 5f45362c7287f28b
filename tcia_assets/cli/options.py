"""Options that are more than a word or a number: shards, sizes, instants."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import click

_SIZE = re.compile(r"([0-9]+(?:[.][0-9]+)?) ?([kmgt]?)b?", re.IGNORECASE)


def parse_shard(_context: click.Context, _option: click.Parameter, value: str) -> tuple[int, int]:
    """Parse `I/N`: shard I, counted from 0, of N."""
    index, _, count = value.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise click.BadParameter(f"{value!r} is not a shard such as 0/4 or 3/4")
    return int(index), int(count)


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
