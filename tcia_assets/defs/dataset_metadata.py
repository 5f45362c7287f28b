"""The metadata of a dataset's assets, as Dagster's UI shows it."""

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pyarrow as pa

from tcia_assets.defs import display

if TYPE_CHECKING:
    from tcia_assets.datasets.cohort import Cohort
    from tcia_assets.datasets.versions import Version

_MOST_LINES = 20
_LONGEST_CARD = 50_000
_FRONT_MATTER = "---\n"
_PICTURE = re.compile(r"!\[[^]]*\]\(contact_sheet\.png\)")


def cohort_facts(cohort: "Cohort", lock: Path, changes: object) -> dict[str, Any]:
    """Return the metadata of a frozen cohort: its Series by role and state, and by licence."""
    series = cohort.series
    roles = Counter(zip(series["role"].to_pylist(), series["state"].to_pylist(), strict=True))
    licenses = Counter(series["LicenseName"].to_pylist())
    return {
        "dagster/row_count": series.num_rows,
        "dagster/uri": str(lock),
        **{f"{role}s_{state}": count for (role, state), count in sorted(roles.items())},
        "pairs": cohort.pairs.num_rows,
        "sha256": cohort.sha256,
        "known_series": cohort.snapshot.series,
        "licences": table(
            [{"licence": str(name), "series": n} for name, n in licenses.most_common()]
        ),
        "changes_since": code_block(str(changes)),
    }


def sample_counts(samples: pa.Table) -> dict[str, Any]:
    """Return the number of samples by state; of those that are kept, by split and by licence."""
    rows = samples.select(["state", "part", "LicenseName"]).to_pylist()
    kept = [row for row in rows if row["state"] == "kept"]
    splits = Counter(row["part"] for row in kept)
    licenses = Counter(str(row["LicenseName"]) for row in kept)
    return {
        "kept": len(kept),
        "dropped": len(rows) - len(kept),
        "parts": table([{"part": name, "samples": n} for name, n in sorted(splits.items())]),
        "licences": table(
            [{"licence": name, "samples": n} for name, n in sorted(licenses.items())]
        ),
        "dagster/row_count": len(rows),
    }


def version_facts(version: "Version", samples: pa.Table) -> dict[str, Any]:
    """Return the metadata of a version, in the order shown: what is looked at most comes first.

    Args:
        version: The version.
        samples: Its samples, also those that were dropped.
    """
    return {
        **card_and_picture(version.folder),
        **sample_counts(samples),
        "version": version.version,
        "sha256": version.content["sha256"],
        "dagster/uri": str(version.folder),
        "files": len(version.files),
        "file_bytes": version.bytes,
        "made_with": dg.MetadataValue.json(dict(version.content["made_with"])),
    }


def card_and_picture(folder: Path) -> dict[str, Any]:
    """Return the card of a version without what only Hugging Face reads, and its picture inline."""
    from tcia_assets.datasets import contact_sheet  # noqa: PLC0415 - pictures need an extra

    text = (folder / "README.md").read_text(encoding="utf-8")
    if text.startswith(_FRONT_MATTER):
        text = text.split(_FRONT_MATTER, 2)[2].lstrip()
    text = text[:_LONGEST_CARD]
    path = folder / contact_sheet.NAME
    if not path.is_file():
        return {"card": dg.MetadataValue.md(text)}
    shown = display.picture(contact_sheet.small_jpeg(path), "Slices of some samples")
    in_card = _PICTURE.sub(lambda _: shown, text, count=1)
    return {"contact_sheet": dg.MetadataValue.md(shown), "card": dg.MetadataValue.md(in_card)}


def column_schema(schema: pa.Schema) -> dg.TableSchema:
    """Return an Arrow schema as Dagster's."""
    return dg.TableSchema(
        [
            dg.TableColumn(
                field.name,
                str(field.type),
                constraints=dg.TableColumnConstraints(nullable=field.nullable),
            )
            for field in schema
        ]
    )


def table(rows: list[dict[str, Any]]) -> dg.MetadataValue:
    """Return rows as a table; "none" if there are none, which Dagster's table cannot show."""
    if not rows:
        return dg.MetadataValue.text("none")
    return dg.MetadataValue.table([dg.TableRecord(row) for row in rows])


def as_texts(rows: pa.Table) -> list[dict[str, str]]:
    """Return rows with each value as text, which Dagster's table accepts for any type."""
    return [{name: str(value) for name, value in row.items()} for row in rows.to_pylist()]


def code_block(text: str) -> dg.MetadataValue:
    """Return the first lines of a text as they are, in Markdown."""
    lines = text.splitlines()
    more = [f"... and {len(lines) - _MOST_LINES} more"] if len(lines) > _MOST_LINES else []
    return dg.MetadataValue.md("\n".join(["```", *lines[:_MOST_LINES], *more, "```"]))
