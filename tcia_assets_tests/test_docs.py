"""What the docs say is what the code does."""

from __future__ import annotations

import dataclasses
import re
from types import ModuleType

import dagster as dg
import pytest

from tcia_assets.cli import main
from tcia_assets.datasets.quality import SAMPLE_CODES
from tcia_assets.datasets.samples import SAMPLES_OF_FRAMES, SAMPLES_WITH_CHANNELS
from tcia_assets.metadata.selection import Selection
from tcia_assets.settings import Settings
from tcia_assets_tests.repository import ROOT, script

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def write_docs(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return script("write_docs", monkeypatch)


def test_the_tables_in_the_docs_are_the_declared_ones(write_docs: ModuleType) -> None:
    for path, text in write_docs.documents().items():
        assert path.read_text(encoding="utf-8") == text, f"run make format: {path.name} is old"


def test_every_setting_command_and_key_is_in_the_reference() -> None:
    reference = ROOT / "docs" / "reference"
    words = {
        "settings.md": [f"`TCIA_{name.upper()}`" for name in Settings.model_fields],
        "cli.md": [f"## `{name}`" for name in main.commands],
        "selection.md": [f"| `{f.name}` |" for f in dataclasses.fields(Selection)],
        "dataset-file.md": [f"| `{code}` |" for code in SAMPLE_CODES],
    }
    for page, names in words.items():
        text = (reference / page).read_text(encoding="utf-8")
        assert [name for name in names if name not in text] == [], page
    assert [name for name in main.commands if f"`tcia-assets {name}`" not in README] == []


def test_every_column_of_samples_is_in_the_docs_about_datasets() -> None:
    text = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")
    table = text.partition("## samples.parquet")[2].partition("\n## ")[0]
    cells = " ".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| "))
    columns = {*SAMPLES_WITH_CHANNELS.names, *SAMPLES_OF_FRAMES.names}
    assert columns == set(re.findall(r"`(\w+)`", cells))


@pytest.mark.parametrize("page", ["README.md", "docs/how-to/dagster-project.md"])
def test_the_plugin_in_the_docs_loads(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    [program] = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    module = ModuleType("in_the_docs")
    exec(compile(program, page, "exec"), module.__dict__)
    found = [v for v in vars(module).values() if isinstance(v, dg.Definitions)]

    # Dagster refuses a module with two of them.
    assert found == [module.defs]
    dg.Definitions.validate_loadable(module.defs)


def test_every_link_in_the_docs_leads_somewhere() -> None:
    for page in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert "://" in target or (page.parent / target).exists(), (page.name, target)
