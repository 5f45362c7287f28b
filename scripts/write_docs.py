"""Write what the docs take from declarations: commands, settings, keys of files, tables, columns.

`make format` runs it; a test checks that the files are up to date.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from docs_cli import cli_reference, command_list
from docs_dagster import dagster_reference
from docs_keys import declaration_keys, finding_list, guesses, selection_keys

from tcia_assets.cli.data_dictionary import data_dictionary, table_list
from tcia_assets.settings import Settings, default_text, variable

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
BEGIN = "<!-- {}: begin (written by make format) -->\n"
END = "<!-- {}: end -->\n"
DICTIONARY = """\
# Data dictionary

Generated from `tcia_assets/catalog.py` by `make format`. The command `tcia-assets tables TABLE`
prints the same.

- **Names.** A DICOM attribute has its keyword as its name, with its tag beside it. Fields of TCIA
  have their names in nbia-v4. Columns that this package defines are in `snake_case`.
- **Types.** Dates have no time of day, times are in UTC, counts and bytes are 64-bit integers.

In addition to these tables, DuckDB has:

- the view `current_series`: `series` without the Series that were withdrawn or moved to another
  Collection;
- the view `series_acquisition`: one row for each Series in `images`, with how it was acquired. For
  each attribute X of `images` that does not identify or place an object, X is the value that all
  objects of the Series share, null where they differ, and `X_count` the number of different values.
  What an enhanced object has only for its frames is null; datasets read it from there.
  Numbers and dates also have `X_min` and `X_max`. Only Series that were fetched are there, so what
  to fetch cannot be selected with it; the cohort of a dataset can;
- the macro `series_as_of(moment)`: `series` as it was known at a moment, without the columns that
  only count;
- the macro `changes_since(moment)`: the rows of `series_changes` seen after a moment.

A moment without a time zone is in the time zone of the session, so write `...T00:00Z` for UTC.

## All tables

"""


def setting_list() -> str:
    """Return the settings as a Markdown table."""
    lines = ["| setting | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        lines.append(f"| `{variable(name)}` | {default_text(name)} | {field.description} |")
    return "\n".join(lines) + "\n"


def fill(text: str, name: str, table: str) -> str:
    """Return a text with a table in the place that is marked for it."""
    begin, end = BEGIN.format(name), END.format(name)
    head, found, rest = text.partition(begin)
    if not found:
        raise ValueError(f"there is no line {begin!r}")
    return head + begin + table + end + rest.partition(end)[2]


# What stands between marks, by page.
PARTS: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {"commands": command_list},
    "docs/reference/settings.md": {"settings": setting_list},
    "docs/reference/selection.md": {"selection": selection_keys},
    "docs/reference/dataset-file.md": {
        "keys": declaration_keys,
        "guesses": guesses,
        "findings": finding_list,
    },
    "docs/reference/dagster.md": {"dagster": dagster_reference},
}


def documents() -> dict[Path, str]:
    """Return what each file should contain."""
    found = {
        DOCS / "data-dictionary.md": DICTIONARY
        + table_list()
        + "\n## Columns\n\n"
        + data_dictionary(),
        DOCS / "reference" / "cli.md": cli_reference(),
    }
    for name, parts in PARTS.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        for mark, write in parts.items():
            text = fill(text, mark, write())
        found[ROOT / name] = text
    return found


if __name__ == "__main__":
    for path, text in documents().items():
        path.write_text(text, encoding="utf-8")
