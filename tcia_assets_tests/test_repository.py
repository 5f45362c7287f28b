"""Rules about what is committed: sizes, leftovers, paths of a machine, one test file a module."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

from tcia_assets_tests.repository import ROOT

MAX_BYTES = 1_000_000
# Files above that, with the reason.
LARGE: dict[str, str] = {
    "tcia_assets/pages/vendor/niivue.umd.js": "the viewer of volumes; one file, to run from a disk",
}
# A home or workplace of some machine; /tmp, /usr and /mnt stand in examples.
MACHINE_PATH = re.compile(rb"(?<![\w.~])/(?:home|root|Users|work)/[\w.-]+")
# Modules whose test is not a file of their name, with the place that tests them.
TESTED_ELSEWHERE = {
    "__main__": "cli/test_app.py starts the command as `python -m tcia_assets`",
    "version": "test_definitions.py compares it with the distribution's",
}


def git(*arguments: str) -> list[str]:
    found = subprocess.run(["git", *arguments, "-z"], cwd=ROOT, capture_output=True, check=False)
    if found.returncode:
        pytest.skip("not a git checkout")
    return [name for name in found.stdout.decode().split("\0") if name]


def tracked() -> list[Path]:
    return [ROOT / name for name in git("ls-files") if (ROOT / name).is_file()]


def test_no_tracked_file_is_larger_than_a_megabyte() -> None:
    large = [p for p in tracked() if p.stat().st_size > MAX_BYTES]
    assert [p.relative_to(ROOT).as_posix() for p in large] == sorted(LARGE)


def test_no_tracked_file_is_ignored_by_git() -> None:
    assert git("ls-files", "--cached", "--ignored", "--exclude-standard") == []


def test_no_tracked_file_holds_a_path_of_a_machine() -> None:
    found = {
        path.relative_to(ROOT).as_posix(): match.group().decode()
        for path in tracked()
        if "vendor" not in path.parts  # files of others, unchanged
        if (match := MACHINE_PATH.search(path.read_bytes()))
    }
    assert found == {}


def modules() -> list[Path]:
    package = ROOT / "tcia_assets"
    found = (p.relative_to(package) for p in package.rglob("*.py"))
    return sorted(p for p in found if p.name != "__init__.py")


def test_every_module_has_a_test_file_of_its_name() -> None:
    tests = ROOT / "tcia_assets_tests"
    missing = [
        module.as_posix()
        for module in modules()
        if module.with_suffix("").as_posix() not in TESTED_ELSEWHERE
        and not (tests / module.with_name(f"test_{module.name}")).is_file()
    ]
    assert missing == []


def test_every_module_is_named_in_the_docstring_of_its_package() -> None:
    package = ROOT / "tcia_assets"
    texts = {
        p.parent: ast.get_docstring(ast.parse(p.read_text())) for p in package.rglob("__init__.py")
    }
    missing = [
        module.as_posix()
        for module in modules()
        if module.parent.name
        and not re.search(rf"\b{module.stem}\b", texts[package / module.parent] or "")
    ]
    assert missing == []


def test_paths_of_modules_in_the_source_exist() -> None:
    """Module headers and comments name other modules; a move must not leave them behind."""
    names = {p.as_posix() for p in modules()} | {p.name for p in modules()}
    package = ROOT / "tcia_assets"
    names |= {p.relative_to(package).as_posix() for p in package.rglob("__init__.py")}
    names |= {p.relative_to(ROOT).as_posix() for p in ROOT.glob("scripts/*.py")}
    named = re.compile(r"[`( ]([a-z_]+(?:/[a-z_]+)*[.]py)\b")
    dead = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in package.rglob("*.py")
        for name in named.findall(path.read_text(encoding="utf-8"))
        if not any(known == name or known.endswith(f"/{name}") for known in names)
    }
    assert dead == set()
