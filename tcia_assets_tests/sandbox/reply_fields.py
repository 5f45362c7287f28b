"""Columns of replies, and their rows in each format."""

from __future__ import annotations

from typing import Any

from tcia_assets.catalog import dialect
from tcia_assets.sandbox import reply_formats
from tcia_assets.sandbox.endpoints import served
from tcia_assets.sandbox.reply_formats import Field


def a_field(name: str, wire: str) -> Field:
    for endpoint in dialect(name).endpoints:
        for field in reply_formats.fields(served(name, endpoint.name)):
            if field.wire_name == wire:
                return field
    raise AssertionError(wire)


PATIENT, NUMBER, MAKER = (
    a_field("nbia-v4", wire) for wire in ("PatientId", "SeriesNumber", "Manufacturer")
)


def written(form: str, columns: Any, rows: Any) -> str:
    return b"".join(reply_formats.write(form, columns, rows)).decode()
