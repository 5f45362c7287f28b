"""Versions on disk: named by their content, found by name, verified file by file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tcia_assets.datasets import versions
from tcia_assets.errors import (
    DataError,
    UnknownName,
    UsageError,
)


def test_a_flipped_byte_is_found(version: versions.Version) -> None:
    name = next(path for path in version.files if path.startswith("images/"))
    path = version.folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    (problem,) = versions.verify(version).problems
    assert problem.startswith(f"{name}: its sha256 is ")


def test_a_lost_a_changed_and_an_extra_file_are_found(version: versions.Version) -> None:
    lost, grown = [path for path in version.files if path.startswith("images/")][:2]
    (version.folder / lost).unlink()
    (version.folder / grown).write_bytes((version.folder / grown).read_bytes() + b"x")
    (version.folder / "images" / "extra.nii.gz").write_bytes(b"")
    (version.folder / "images" / "link").symlink_to("/etc/passwd")
    told = [problem.split(": ")[0] for problem in versions.verify(version).problems]
    assert told == [lost, "images/extra.nii.gz", "images/link", grown]


def test_an_edited_lock_file_is_found(version: versions.Version) -> None:
    path = version.folder / "dataset.lock.json"
    name = next(iter(version.files))
    content = json.loads(path.read_text())
    forged = "0" * 64
    content["files"][name]["sha256"] = forged
    path.write_text(json.dumps(content))
    problems = versions.verify(versions.read(version.folder)).problems
    assert any(problem.startswith(name) for problem in problems)
    assert sum(problem.startswith("dataset.lock.json: ") for problem in problems) == 2
    path.write_text("{}")
    with pytest.raises(DataError, match="is not a lock file of a dataset"):
        versions.read(version.folder)


def test_an_edited_licence_in_the_lock_file_is_found(version: versions.Version) -> None:
    path = version.folder / "dataset.lock.json"
    path.write_text(path.read_text().replace("Attribution 3.0", "Zero 1.0"))
    changed = versions.verify(versions.read(version.folder)).problems
    content = json.loads(path.read_text())
    del content["lock_sha256"]
    path.write_text(json.dumps(content))
    of_an_earlier_release = versions.verify(versions.read(version.folder)).problems

    assert changed == ("dataset.lock.json: it was changed after the dataset was built",)
    assert of_an_earlier_release == (
        "dataset.lock.json: its cohort was changed: its Series do not match its sha256",
    )


def test_a_lock_file_of_an_earlier_release_has_no_problem(version: versions.Version) -> None:
    path = version.folder / "dataset.lock.json"
    content = json.loads(path.read_text())
    del content["lock_sha256"]
    path.write_text(json.dumps(content))
    assert versions.verify(versions.read(version.folder)).problems == ()


def test_the_root_hash_is_that_of_sha256sum(version: versions.Version) -> None:
    import subprocess

    line = (
        "find . -type f ! -name dataset.lock.json | cut -c3- | LC_ALL=C sort "
        "| tr '\\n' '\\0' | xargs -0 sha256sum | sha256sum"
    )
    done = subprocess.run(
        line, shell=True, cwd=version.folder, capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[0] == version.content["sha256"]
    assert version.content["sha256"].startswith(version.version)


def test_versions_are_found_by_name_and_first_digits(
    tmp_path: Path, version: versions.Version
) -> None:
    for wanted in (
        "lung_ct",
        f"lung_ct/{version.version[:4]}",
        str(version.folder.parent / "latest"),
    ):
        assert versions.find(tmp_path, wanted).folder == version.folder
    with pytest.raises(UnknownName, match="no built dataset 'lung'"):
        versions.find(tmp_path, "lung")
    with pytest.raises(UnknownName, match="no version 'x'"):
        versions.find(tmp_path, "lung_ct/x")
    with pytest.raises(UsageError, match="is not a version of a dataset"):
        versions.read(tmp_path)
