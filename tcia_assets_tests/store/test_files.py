"""A published file is complete or absent, whatever happens to its writer or the disk."""

from __future__ import annotations

import os
import random
import signal
import time
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tcia_assets.catalog import PATIENTS
from tcia_assets.errors import StorageError, TciaError
from tcia_assets.store import files as files_module
from tcia_assets.store.files import (
    check_case,
    find_dead_drafts,
    link_or_copy,
    make_folder,
    move_file,
    publish,
    publish_draft,
    publish_hint,
    publish_text,
)
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.store.child_processes import (
    running,
    write_for_ever,
)
from tcia_assets_tests.store.tables import (
    files,
    is_whole,
    patients,
    rounds,
)


def test_the_draft_of_a_killed_writer_is_removed_by_the_next_one(warehouse: Warehouse) -> None:
    path = warehouse.write(PATIENTS, patients("a", ["p"]), "a").path
    path.with_name(".part-0.parquet.0123456789abcdef.draft").write_bytes(b"PAR1 cut")
    warehouse.write(PATIENTS, patients("a", ["q"]), "a")
    assert [p.name for p in path.parent.iterdir()] == ["part-0.parquet"]


def test_the_draft_of_a_running_writer_survives_and_the_last_write_wins(
    warehouse: Warehouse,
) -> None:
    slow = patients("a", ["slow"])
    path = warehouse.path(PATIENTS, "a")

    def write_slowly(draft: Path) -> None:
        warehouse.write(PATIENTS, patients("a", ["quick"]), "a")
        assert warehouse.read(PATIENTS)["PatientID"].to_pylist() == ["quick"]
        pq.write_table(slow, draft)

    assert publish(path, write_slowly)
    assert warehouse.read(PATIENTS)["PatientID"].to_pylist() == ["slow"]
    assert [p.name for p in path.parent.iterdir()] == ["part-0.parquet"]


def test_a_failing_write_leaves_nothing_behind(warehouse: Warehouse) -> None:
    def fail(draft: Path) -> None:
        draft.write_bytes(b"half")
        raise KeyboardInterrupt

    path = warehouse.write(PATIENTS, patients("a", ["p"]), "a").path
    before = files(warehouse.root)
    with pytest.raises(KeyboardInterrupt):
        publish(path, fail)
    assert files(warehouse.root) == before


def test_a_full_disk_leaves_the_partition_unchanged(small_disk: Path) -> None:
    warehouse = Warehouse(small_disk)
    warehouse.write(PATIENTS, patients("a", ["p"]), "a")
    before = files(small_disk)
    noise = random.Random(1)
    big = patients("a", sorted(f"{noise.getrandbits(256):x}" for _ in range(40_000)))
    with pytest.raises(TciaError, match=r"part-0\.parquet cannot be written .* No space left"):
        warehouse.write(PATIENTS, big, "a")
    assert files(small_disk) == before
    with pytest.raises(TciaError, match="No space left"):
        warehouse.write(
            PATIENTS, big.set_column(1, "Collection", [["b"] * 40_000]).cast(big.schema), "b"
        )
    assert files(small_disk) == before
    assert warehouse.write(PATIENTS, patients("a", ["q"]), "a").changed


@pytest.mark.parametrize("kills", [2, pytest.param(25, marks=pytest.mark.slow)])
def test_a_killed_writer_leaves_the_old_partition_or_the_new_one(
    warehouse: Warehouse, processes: ForkServerContext, kills: int
) -> None:
    chance = random.Random()
    for _ in range(kills):
        started = processes.Event()
        child = processes.Process(target=write_for_ever, args=(warehouse.root, "a", started))
        with running(child):
            assert started.wait(20)
            time.sleep(chance.uniform(0, 0.08))
            assert child.pid is not None
            os.kill(child.pid, signal.SIGKILL)
            assert is_whole(warehouse.read(PATIENTS))
    assert is_whole(warehouse.query("FROM patients"))
    last = rounds("a", 1)
    warehouse.write(PATIENTS, last, "a")
    assert warehouse.read(PATIENTS).equals(last)
    assert [p.name for p in warehouse.path(PATIENTS, "a").parent.iterdir()] == ["part-0.parquet"]


def test_a_link_is_made_or_else_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source"
    source.write_text("x")
    link_or_copy(source, tmp_path / "new folder" / "link")
    assert (tmp_path / "new folder" / "link").samefile(source)

    def refuse(*_: object) -> None:
        raise OSError("no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    link_or_copy(source, tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "x"
    assert not (tmp_path / "copy").samefile(source)
    with pytest.raises(FileNotFoundError):
        link_or_copy(tmp_path / "missing", tmp_path / "other")


def test_a_folder_is_synced_with_its_files_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft, path = tmp_path / ".draft", tmp_path / "folder"
    (draft / "below").mkdir(parents=True)
    (draft / "below" / "file").write_text("x")
    synced = []
    monkeypatch.setattr(files_module, "sync", lambda each: synced.append((each, path.exists())))
    publish_draft(draft, path)
    assert (path / "below" / "file").read_text() == "x"
    before = {each for each, exists in synced if not exists}
    assert before == {draft, draft / "below", draft / "below" / "file"}
    assert synced[-1] == (tmp_path, True)


def test_a_text_file_has_its_bytes_and_stays_if_they_are_equal(tmp_path: Path) -> None:
    path = tmp_path / "new" / "text"
    assert publish_text(path, "ü\n")
    assert path.read_bytes() == b"\xc3\xbc\n"
    assert not publish_text(path, "ü\n")
    assert publish_text(path, "u\n")
    assert [each.name for each in path.parent.iterdir()] == ["text"]


def test_dead_drafts_are_found_below_a_folder_and_living_ones_are_not(tmp_path: Path) -> None:
    dead = tmp_path / "a" / ".x.1.draft"
    dead.parent.mkdir()
    dead.write_bytes(b"")
    found: list[list[Path]] = []
    publish(tmp_path / "a" / "y", lambda _draft: found.append(find_dead_drafts(tmp_path)))
    assert found == [[dead]]
    assert find_dead_drafts(tmp_path / "missing") == []


def test_a_folder_that_is_reached_by_another_case_of_its_name_is_refused(tmp_path: Path) -> None:
    make_folder(tmp_path / "case")
    # As a file system that ignores case: both names lead to one folder.
    (tmp_path / "CASE").symlink_to("case")
    with pytest.raises(StorageError, match=r"CASE would be the folder .*/case, because"):
        make_folder(tmp_path / "CASE")
    # A link of another kind is a folder as any.
    (tmp_path / "other").symlink_to("case")
    make_folder(tmp_path / "other")


def test_folders_whose_names_differ_in_case_are_two_where_the_file_system_has_two(
    tmp_path: Path,
) -> None:
    for name in ("case", "CASE", "Case"):
        make_folder(tmp_path / name)
    if len(list(tmp_path.iterdir())) == 3:
        check_case(tmp_path / "CASE")


def test_a_hint_appears_whole_and_leaves_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "new" / "hint"
    for text in ("first", "second"):
        publish_hint(path, text)
        assert path.read_text() == text
    assert [*path.parent.iterdir()] == [path]
    path.unlink()
    path.mkdir()
    with pytest.raises(StorageError, match="hint cannot be written"):
        publish_hint(path, "third")
    assert [*path.parent.iterdir()] == [path]


def test_a_file_that_is_moved_is_whole_at_its_new_path_and_gone_from_the_old_one(
    tmp_path: Path,
) -> None:
    old, new = tmp_path / "a" / "draft", tmp_path / "b" / "c" / "file"
    for content in (b"first", b"second, over the first"):
        old.parent.mkdir(exist_ok=True)
        old.write_bytes(content)
        move_file(old, new)
        assert new.read_bytes() == content
        assert list(tmp_path.rglob("*.draft")) == [] and not old.exists()
