"""`tcia-assets verify`: damaged zips, lost manifests, hashes of the source."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest

from tcia_assets import catalog
from tcia_assets_tests.cli.terminal import CONTOURS, Terminal, line_of, words
from tcia_assets_tests.conftest import SMALL


def test_intact_zips_exit_with_0(fetched: Terminal) -> None:
    for more in ((), ("--deep",), (SMALL,)):
        result = fetched("verify", *more)
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith(f"{SMALL}: 5 zips of ") and "0 damaged" in result.stdout


def test_damaged_zips_are_named_and_exit_with_1(fetched: Terminal) -> None:
    lost, flipped, *_ = fetched.uids
    fetched.zip(lost).unlink()
    body = bytearray(fetched.zip(flipped).read_bytes())
    body[len(body) // 2] ^= 1
    fetched.zip(flipped).write_bytes(body)
    fetched.zip("1.2.3").write_bytes(body)
    result = fetched("verify")

    assert result.exit_code == 1
    assert "2 damaged; 1 not in the manifest: 1.2.3.zip; see --rebuild" in result.stdout
    assert f"{SMALL}: {lost}: its zip is gone" in result.stderr
    assert f"{SMALL}: {flipped}: its zip has changed since it was verified" in result.stderr
    assert words(line_of(fetched("status"), SMALL))[3:5] == ["3", "2"]


def test_the_subsets_of_all_zips_are_each_zip_once(fetched: Terminal) -> None:
    checked = []
    for number in (1, 2, 3):
        result = fetched("verify", "--subset", f"{number}/3")
        assert result.exit_code == 0, result.output
        checked.append(int(words(line_of(result, SMALL))[1]))
    assert sum(checked) == 5 and max(checked) < 5


@pytest.mark.parametrize("subset", ["0/3", "4/3", "3", "a/b", "1/0"])
def test_a_subset_that_there_is_not_exits_with_2(fetched: Terminal, subset: str) -> None:
    result = fetched("verify", "--subset", subset)

    assert result.exit_code == 2 and "subset" in result.stderr


def test_rebuild_restores_a_lost_manifest(fetched: Terminal) -> None:
    before = fetched.statuses
    fetched.warehouse.path(catalog.IMAGE_ARCHIVES, SMALL).unlink()
    result = fetched("verify", "--rebuild")

    assert result.exit_code == 0, result.output
    assert f"{SMALL}: 5 rows added from zips, 0 kept, 0 zips refused" in result.stdout
    assert "5 zips of" in result.stdout
    assert fetched.statuses == before


def test_rebuild_goes_on_after_a_damaged_manifest(fetched: Terminal) -> None:
    before = fetched.statuses
    names = ("Another", SMALL, "Zuletzt")
    for name in names:
        path = fetched.warehouse.path(catalog.IMAGE_ARCHIVES, name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"PAR1 and then nothing")
    told = fetched("fetch", SMALL)
    assert told.exit_code == 1 and "`tcia-assets verify --rebuild`" in told.stderr
    result = fetched("verify", "--rebuild")

    assert result.exit_code == 0, result.output
    assert f"{SMALL}: 5 rows added from zips" in result.stdout
    assert result.stdout.count("the damaged manifest was moved to quarantine/") == len(names)
    assert fetched.statuses == before


def test_rebuild_names_refused_zips(fetched: Terminal) -> None:
    bad = fetched.uids[0]
    fetched.warehouse.path(catalog.IMAGE_ARCHIVES, SMALL).unlink()
    fetched.zip(bad).write_bytes(b"no zip")
    result = fetched("verify", "--rebuild")

    assert result.exit_code == 1
    assert "4 rows added from zips, 0 kept, 1 zip refused" in result.stdout
    assert f"{SMALL}: {bad}: " in result.stderr


def test_audit_compares_hashes_with_the_source(fetched: Terminal) -> None:
    equal = fetched("verify", "--audit")
    assert equal.exit_code == 0, equal.output
    assert f"{SMALL}: zips against nbia: 5 Series equal, 0 differ (" in equal.stdout
    changed = fetched.uids[0]
    fetched.sandbox.archive.revise([changed])
    differs = fetched("verify", "--audit")

    assert differs.exit_code == 1
    assert "4 Series equal, 1 differ" in differs.stdout
    assert f"{SMALL}: {changed}: zips and nbia differ" in differs.stderr


def test_audit_of_a_dialect_without_hashes_exits_with_2(fetched: Terminal) -> None:
    fetched.environment |= {
        "TCIA_DIALECT": "bindaas-v4",
        "TCIA_BASE_URL": fetched.sandbox.base_url("bindaas-v4"),
    }
    result = fetched("verify", "--audit")

    assert result.exit_code == 2
    assert "provides no MD5 hashes" in result.stderr


def test_a_collection_without_images_lists_similar_names(fetched: Terminal) -> None:
    result = fetched("verify", "LCTCS")

    assert result.exit_code == 2
    assert "'LCTCS'" in result.stderr and f"'{SMALL}'" in result.stderr


def test_a_damaged_table_and_a_foreign_file_are_named(fetched: Terminal) -> None:
    intact = fetched("verify")
    path = fetched.warehouse.path(catalog.SERIES, SMALL)
    # Readers of Parquet see no damage in it.
    pq.write_table(pq.read_table(path, partitioning=None).slice(1), path)
    foreign = path.with_name("more.parquet")
    foreign.write_bytes(path.read_bytes())
    result, of_another = fetched("verify"), fetched("verify", SMALL)

    assert intact.exit_code == 0 and ", 0 damaged or lost" in intact.stdout
    assert "of an earlier version" not in intact.stdout
    assert result.exit_code == of_another.exit_code == 1
    assert f"{path}: it was changed after it was written" in result.stderr
    assert f"{foreign}: it was not written by tcia_assets" in result.stderr


def test_a_lost_table_is_named_and_exits_with_1(fetched: Terminal) -> None:
    path = fetched.warehouse.path(catalog.SERIES, SMALL)
    path.unlink()
    result = fetched("verify")

    assert result.exit_code == 1
    assert f"{path}: it is gone although it was written; restore it from a copy" in result.stderr
    assert "1 damaged or lost" in result.stdout


@pytest.mark.slow
def test_a_lost_table_that_is_made_from_zips_is_made_again_as_it_says(fetched: Terminal) -> None:
    before = fetched.warehouse.read(catalog.IMAGES)
    path = fetched.warehouse.path(catalog.IMAGES, SMALL)
    path.unlink()
    lost = fetched("verify")
    assert lost.exit_code == 1 and f"{path}: it is gone" in lost.stderr
    assert "fetch its Collection: it is made again from the zips" in lost.stderr

    assert fetched(*CONTOURS).exit_code == 0
    assert fetched.warehouse.read(catalog.IMAGES).equals(before)
    assert fetched("verify").exit_code == 0
