"""What the docs show works: tutorials run as they are, and every command in a page exists."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest

from tcia_assets.cli import main
from tcia_assets_tests.repository import ROOT, script

PAGES = [ROOT / "docs" / "quick-start.md", *sorted(ROOT.glob("docs/tutorials/*.md"))]
ALL_PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
CODE = re.compile(r"^```(?:bash|sh|console)[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
KINDS = {"bash", "console", "python", "sql", "text", "yaml"}


@pytest.fixture
def tutorials(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return script("run_tutorials", monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_tutorial_prints_what_it_shows(page: Path, tutorials: ModuleType, tmp_path: Path) -> None:
    if "\ndg " in page.read_text(encoding="utf-8") and not (tutorials.BIN / "dg").exists():
        pytest.skip("dagster-dg-cli is not installed")
    (tmp_path / "work").mkdir()
    with tutorials.sandbox(tmp_path) as address:
        assert tutorials.run_page(page, tmp_path / "work", address) > 2


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_tutorial_has_code_that_can_be_read(page: Path, tutorials: ModuleType) -> None:
    blocks = tutorials.blocks(page.read_text(encoding="utf-8"))

    assert {block.kind for block in blocks} <= KINDS
    for block in blocks:
        if block.kind == "python":
            compile(block.code, page.name, "exec")
        if block.kind == "bash":
            subprocess.run(["bash", "-n"], input=block.code, text=True, check=True)


def test_a_shown_result_may_leave_out_parts_but_not_differ(tutorials: ModuleType) -> None:
    printed = "LCTSC  10  3.1 MB  2026-11-27 04:37\n"

    assert tutorials.is_same("LCTSC  10  3.1 MB  2025-01-01 00:00\n", printed)
    assert tutorials.is_same("LCTSC  10  ... MB  2025-01-01 00:00\n", printed)
    assert not tutorials.is_same("LCTSC  11  3.1 MB  2026-11-27 04:37\n", printed)
    assert not tutorials.is_same("", printed)


def test_a_page_that_shows_something_else_fails(tutorials: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```bash\necho three\n```\n\n```text\ntwo\n```\n", encoding="utf-8")
    (tmp_path / "work").mkdir()

    with pytest.raises(tutorials.TutorialFailed, match="line 5: shown\ntwo\n\nprinted\nthree"):
        tutorials.run_page(page, tmp_path / "work", "127.0.0.1:1")


def test_every_command_and_option_in_the_docs_exists() -> None:
    """A command that was renamed is found in the page that shows it."""
    wrong = [
        f"{page.relative_to(ROOT)}: {line}: {problem}"
        for page in ALL_PAGES
        for line in commands(page.read_text(encoding="utf-8"))
        if (problem := mistake(line))
    ]
    assert wrong == []


def commands(text: str) -> Iterator[str]:
    """Yield the calls of tcia-assets in blocks of code."""
    for code in CODE.findall(text):
        call = ""
        for line in code.replace("\\\n", " ").splitlines():
            call = f"{call}\n{line}" if call else line
            if not is_complete(call):
                continue  # a statement of SQL goes on in the next line
            if found := re.match(r"(?:\$ )?(?:[A-Z_]+=\S+ )*(tcia-assets .*)", call, re.DOTALL):
                yield found[1]
            call = ""


def is_complete(call: str) -> bool:
    """Return whether all quotes are closed."""
    try:
        shlex.split(call, comments=True)
    except ValueError:
        return False
    return True


def mistake(line: str) -> str:
    """Return what is wrong with a call; "" if its command and options exist."""
    words = shlex.split(line, comments=True)[1:]
    command: click.Command = main
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name = words.pop(0)
        if name not in command.commands:
            return f"there is no command {name}"
        command = command.commands[name]
    known = {name for param in command.params for name in param.opts} | {"--help", "--version"}
    given = {word.partition("=")[0] for word in words if word.startswith("--")}
    return ", ".join(sorted(given - known))
