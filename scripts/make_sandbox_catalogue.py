"""Write the small catalogue of real Series that the sandbox serves: data/sandbox/catalogue.parquet.

`CHOICES` below selects the patients: all of small Collections, and some of larger ones. The same
index gives the same file, byte for byte. `tcia_assets/sandbox/series_rows.py` and
`data/sandbox/README.md` explain the rows and their origin.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from tcia_assets.errors import TciaError, UnknownName
from tcia_assets.sandbox import series_rows
from tcia_assets.store import sql


class Choice(NamedTuple):
    """The first patients of a Collection in an order, or all of them without a number."""

    collection: str
    patients: int | None = None
    order: str = "PatientID"


CHOICES = (
    # The demo downloads all images of this one: a CT and its RTSTRUCT for each patient.
    Choice("LCTSC", 5, order="images, PatientID"),
    Choice("QIN LUNG CT"),
    # Captured rows of its first patient are in archive-api.md 10.4.
    Choice("RIDER Lung CT", 3),
    Choice("RIDER PHANTOM PET-CT"),
    Choice("Soft-tissue-Sarcoma", 6, order="images, PatientID"),
    # These two share 58 patients: some are selected in both, others in one of them.
    Choice("Vestibular-Schwannoma-MC-RC", 12, order="collections DESC, PatientID"),
    Choice("Vestibular-Schwannoma-MC-RC", 8),
    Choice("Vestibular-Schwannoma-SEG", 20),
    # Its PatientIDs look like numbers.
    Choice("VICTRE", 40),
)

_PATIENTS = """
    SELECT
        Collection,
        PatientID,
        sum(ImageCount) AS images,
        count(*) OVER (PARTITION BY PatientID) AS collections
    FROM whole GROUP BY Collection, PatientID
"""

HEADS = ("Collection", "patients", "studies", "series", "images", "modalities")

_COUNTS = """
    SELECT
        Collection,
        count(DISTINCT PatientID),
        count(DISTINCT StudyInstanceUID),
        count(*),
        sum(ImageCount)::BIGINT,
        string_agg(DISTINCT Modality, ' ' ORDER BY Modality)
    FROM chosen GROUP BY Collection ORDER BY Collection
"""


def choose(whole: pa.Table, choices: tuple[Choice, ...] = CHOICES) -> pa.Table:
    """Return the rows of the selected patients, sorted by Collection and UID.

    Raises:
        UnknownName: A Collection does not exist.
    """
    with closing(sql.connect()) as connection:
        connection.register("whole", whole)
        connection.execute("CREATE TABLE patient (Collection VARCHAR, PatientID VARCHAR)")
        for choice in choices:
            added = connection.execute(_first_patients(choice)).fetchone()
            if not added or not added[0]:
                names = whole["Collection"].unique().to_pylist()
                raise UnknownName("Collection", choice.collection, names)
        rows = connection.execute(
            "SELECT whole.* FROM whole SEMI JOIN patient USING (Collection, PatientID)"
            " ORDER BY Collection, SeriesInstanceUID"
        ).to_arrow_table()
    return rows.cast(whole.schema)


def write(chosen: pa.Table, path: Path) -> None:
    """Write the table as Parquet, atomically; equal tables give equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".draft")
    pq.write_table(chosen, draft, compression="zstd", compression_level=19)
    draft.replace(path)


def counts(chosen: pa.Table) -> list[tuple[str, int, int, int, int, str]]:
    """Return the columns `HEADS` for each Collection."""
    with closing(sql.connect()) as connection:
        connection.register("chosen", chosen)
        return connection.execute(_COUNTS).fetchall()


def summary(chosen: pa.Table) -> str:
    """Return the counts as text, one line for each Collection."""
    line = "{:27}  {:>8}  {:>7}  {:>6}  {:>6}  {}"
    return "\n".join(line.format(*cells) for cells in (HEADS, *counts(chosen)))


def _first_patients(choice: Choice) -> str:
    limit = "" if choice.patients is None else f"LIMIT {choice.patients}"
    return f"""
        INSERT INTO patient
        SELECT Collection, PatientID FROM ({_PATIENTS})
        WHERE Collection = {sql.literal(choice.collection)}
        ORDER BY {choice.order} {limit}
    """


def main(arguments: list[str] | None = None) -> int:
    """Write the file and print a summary."""
    parser = argparse.ArgumentParser(
        description="Write the small catalogue of real Series that the sandbox archive serves,"
        " from the index in the package idc-index-data."
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=series_rows.SMALL_CATALOGUE,
        metavar="PATH",
        help="where to write it (default: %(default)s)",
    )
    path: Path = parser.parse_args(arguments).output
    try:
        chosen = choose(series_rows.from_idc_index())
    except TciaError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    write(chosen, path)
    print(summary(chosen))
    print(f"\n{chosen.num_rows} Series, {path.stat().st_size} bytes in {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
