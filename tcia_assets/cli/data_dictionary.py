"""The declared tables as Markdown, for `docs/data-dictionary.md`."""

from __future__ import annotations

from tcia_assets import catalog
from tcia_assets.spec import Table


def table_list() -> str:
    """Return a Markdown table with one row per table of the warehouse."""
    head = "| table and view | one row per | key | endpoint |\n|---|---|---|---|\n"
    rows = [
        f"| `{t.name}` | {t.grain} | `{', '.join(t.key)}` | {t.endpoint or 'derived'} |\n"
        for t in catalog.TABLES
    ]
    return head + "".join(rows)


def data_dictionary() -> str:
    """Return the data dictionary: for each table a Markdown table of its columns."""
    return "\n".join(line for table in catalog.TABLES for line in _section(table))


def _section(table: Table) -> list[str]:
    partitions = f" One partition per `{table.partitioned_by}`." if table.partitioned_by else ""
    source = f"endpoint `{table.endpoint}`" if table.endpoint else "derived by this package"
    head = [
        f"### `{table.name}`",
        "",
        f"One row per {table.grain}.",
        "",
        f"Key: `{', '.join(table.key)}`.{partitions} Source: {source}.",
        "",
        "| column | type | DICOM tag | description |",
        "|---|---|---|---|",
    ]
    rows = [
        f"| `{c.name}` | {c.kind.arrow_type}{'' if c.required else ', may be null'} "
        f"| {c.tag} | {c.description.replace('|', chr(92) + '|')} |"
        for c in table.columns
    ]
    return [*head, *rows, ""]
