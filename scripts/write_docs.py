"""Writes what the docs take from the declaration: the tables in README.md, the data dictionary.

`make format` runs it; a test holds that the files are what it writes.
"""

from __future__ import annotations

from pathlib import Path

from tcia_assets.cli.data_dictionary import data_dictionary, table_list

ROOT = Path(__file__).resolve().parents[1]
BEGIN = "<!-- tables: begin (written by make format) -->\n"
END = "<!-- tables: end -->\n"
DICTIONARY = """\
# Data dictionary

Written from the declaration in `tcia_assets/catalog.py` by `make format`; on a terminal,
`tcia-assets tables TABLE` shows the same. A DICOM attribute has its keyword as its name and its tag
beside it; the archive's own fields have their name in nbia-v4; what is made here is in
`snake_case`. Days are dates without a time, instants are in UTC, counts and bytes are 64-bit
integers.

Besides these tables there is the view `current_series`: `series` without those withdrawn or moved
to another Collection. `series_as_of(moment)` is `series` as it was known at a moment, without the
columns that only count, and `changes_since(moment)` the rows of `series_changes` seen after it.
Both take texts as SQL does: one without a zone is in the session's TimeZone, so write `...T00:00Z`.

"""


def documents() -> dict[Path, str]:
    """What each file should hold."""
    readme = ROOT / "README.md"
    head, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, _, tail = rest.partition(END)
    return {
        readme: head + BEGIN + table_list() + END + tail,
        ROOT / "docs" / "data-dictionary.md": DICTIONARY + data_dictionary(),
    }


if __name__ == "__main__":
    for path, text in documents().items():
        path.write_text(text, encoding="utf-8")
