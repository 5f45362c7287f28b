"""The declared tables as Markdown."""

from __future__ import annotations

from tcia_assets import catalog
from tcia_assets.cli.data_dictionary import data_dictionary, table_list


def test_every_column_is_described_and_in_the_dictionary() -> None:
    sections = dict(
        section.split("`\n", 1) for section in data_dictionary().split("### `") if section
    )

    assert list(sections) == [table.name for table in catalog.TABLES]
    for table in catalog.TABLES:
        for column in table.columns:
            assert column.description.endswith("."), (table.name, column.name)
            assert f"| `{column.name}` | {column.kind.arrow_type}" in sections[table.name]


def test_a_pipe_in_a_description_does_not_break_a_row() -> None:
    rows = [line for line in data_dictionary().splitlines() if line.startswith("| ")]

    assert {line.replace("\\|", "").count("|") for line in rows} == {5}


def test_the_table_list_has_a_row_for_each_table() -> None:
    head, _, *rows = table_list().splitlines()

    assert head.count("|") == 5
    assert [row.split("`")[1] for row in rows] == [table.name for table in catalog.TABLES]
