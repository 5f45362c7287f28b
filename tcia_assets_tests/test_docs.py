"""What the docs say is what the code does."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
from types import ModuleType

import dagster as dg
import pytest

from tcia_assets.cli import main
from tcia_assets.datasets.samples import SAMPLES
from tcia_assets.metadata.selection import Selection
from tcia_assets.settings import Settings
from tcia_assets_tests.conftest import Dagster
from tcia_assets_tests.repository import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def write_docs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_docs", ROOT / "scripts" / "write_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_in_the_docs_are_the_declared_ones(write_docs: ModuleType) -> None:
    for path, text in write_docs.documents().items():
        assert path.read_text(encoding="utf-8") == text, f"run make format: {path.name} is old"


def test_every_setting_command_and_selection_field_is_in_the_readme() -> None:
    names = [f"TCIA_{name.upper()}" for name in Settings.model_fields]
    shown = main.commands.keys() - {"sandbox", "tables"}
    commands = [f"tcia-assets {name}" for name in shown]
    fields = [f.name for f in dataclasses.fields(Selection) if f.name != "body_parts"]
    for word in [*names, *commands, *fields]:
        assert word in README, word


def test_every_column_of_samples_is_in_the_docs_about_datasets() -> None:
    text = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")
    table = text.partition("## samples.parquet")[2].partition("\n## ")[0]
    cells = " ".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| "))
    assert set(SAMPLES.names) == set(re.findall(r"`(\w+)`", cells))


def test_the_query_in_the_readme_gives_the_answer_in_the_readme(dagster: Dagster) -> None:
    [question] = re.findall(r"```sql\n(.*?)```", README, flags=re.DOTALL)
    answer = README.partition("<!-- answer: begin -->")[2].partition("<!-- answer: end -->")[0]
    dagster.start_refreshed()
    rows = dagster.warehouse.query(question).to_pylist()

    head, _, *lines = answer.strip().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in [head, *lines]]
    assert cells == [list(rows[0]), *([str(value) for value in row.values()] for row in rows)]


def test_the_plugin_in_the_readme_loads() -> None:
    [program] = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    module = ModuleType("readme")
    exec(compile(program, "README.md", "exec"), module.__dict__)
    found = [v for v in vars(module).values() if isinstance(v, dg.Definitions)]

    # Dagster refuses a module with two of them.
    assert found == [module.defs]
    dg.Definitions.validate_loadable(module.defs)


def test_every_link_in_the_docs_leads_somewhere() -> None:
    for page in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert "://" in target or (page.parent / target).exists(), (page.name, target)
