"""`tcia-assets tables`: tables, columns, and the data dictionary."""

from __future__ import annotations

from tcia_assets import catalog
from tcia_assets.cli.data_dictionary import data_dictionary
from tcia_assets_tests.cli.terminal import CommandLine, line_of


def test_all_tables_are_listed_with_their_key() -> None:
    result = CommandLine({})("tables")

    assert result.exit_code == 0
    for table in catalog.TABLES:
        assert table.key[0] in line_of(result, f"{table.name} ")


def test_the_columns_of_a_table_are_listed_with_type_and_tag() -> None:
    result = CommandLine({})("tables", "series")

    assert result.exit_code == 0
    assert "string (0020,000E)" in " ".join(line_of(result, "SeriesInstanceUID ").split())


def test_a_misspelt_table_lists_similar_names() -> None:
    result = CommandLine({})("tables", "serie")

    assert result.exit_code == 2 and "'series'" in result.stderr


def test_markdown_is_the_data_dictionary() -> None:
    assert CommandLine({})("tables", "--markdown").stdout == data_dictionary() + "\n"
