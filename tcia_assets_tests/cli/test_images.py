"""The commands about images: what they print and how they end."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner, Result

from tcia_assets import catalog
from tcia_assets.cli import main
from tcia_assets.cli.terminal import out
from tcia_assets.defs.local_runs import DAGSTER_YAML
from tcia_assets.images.disk_space import format_bytes
from tcia_assets.images.manifest import merge_rows, read_rows
from tcia_assets.images.plan import MAX_ATTEMPTS
from tcia_assets.images.run_limits import Shard
from tcia_assets.metadata.budget import ProbeBudget
from tcia_assets.metadata.refresh import refresh
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.sources import open_source
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import SMALL, settings_for

CONTOURS = ("fetch", SMALL, "--modality", "RTSTRUCT")


class Terminal:
    """The command line over the sandbox, with the metadata of one Collection refreshed."""

    def __init__(self, sandbox: Sandbox, root: Path) -> None:
        self.sandbox, self.root, self.warehouse = sandbox, root, Warehouse(root)
        self.environment = {
            "TCIA_BASE_URL": sandbox.base_url("nbia-v4"),
            "TCIA_DATA_DIR": str(root),
            "COLUMNS": "200",
        }

    def __call__(self, *arguments: str) -> Result:
        result = CliRunner(env=self.environment).invoke(main, list(arguments))
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    @property
    def uids(self) -> list[str]:
        """The contours of the Collection."""
        rows = self.warehouse.read(catalog.SERIES, [SMALL]).to_pylist()
        return sorted(r["SeriesInstanceUID"] for r in rows if r["Modality"] == "RTSTRUCT")

    @property
    def statuses(self) -> dict[str, str]:
        if not self.warehouse.has(catalog.IMAGE_ARCHIVES, SMALL):
            return {}
        rows = self.warehouse.read(catalog.IMAGE_ARCHIVES, [SMALL]).to_pylist()
        return {row["SeriesInstanceUID"]: row["status"] for row in rows}

    def zip(self, uid: str) -> Path:
        return self.root / "archives" / SMALL / f"{uid}.zip"


@pytest.fixture(scope="module")
def refreshed(served: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse with the Series of the small Collection; starting Dagster for each is slow."""
    served.reset()
    root = tmp_path_factory.mktemp("refreshed")
    with open_source(settings_for(served, root)) as source:
        refresh(catalog.SERIES, SMALL, source, Warehouse(root), datetime.now(UTC), ProbeBudget(0))
    return root


@pytest.fixture
def terminal(
    sandbox: Sandbox, refreshed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Terminal:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "dagster.yaml").write_text(DAGSTER_YAML)
    # Made on import, it keeps the COLUMNS of that time, which test runners set.
    monkeypatch.setattr(out, "_width", None)
    shutil.copytree(refreshed, tmp_path / "data")
    return Terminal(sandbox, tmp_path / "data")


def words(text: str) -> list[str]:
    return text.split()


def line_of(result: Result, begins: str) -> str:
    [line] = [line for line in result.stdout.splitlines() if line.strip().startswith(begins)]
    return line


def no_zip_was_asked_for(terminal: Terminal) -> bool:
    return not terminal.sandbox.requests["getImage"]


# --- fetch ----------------------------------------------------------------------------------------


def test_a_dry_run_prints_the_plan_with_reasons_and_bytes_and_fetches_nothing(
    terminal: Terminal,
) -> None:
    result = terminal(*CONTOURS, "--dry-run", "--max-series", "2")

    assert result.exit_code == 0, result.output
    assert words(result.stdout.splitlines()[0]) == words(
        "Collection on disk to fetch bytes reasons left out"
    )
    line = " ".join(words(result.stdout.split(SMALL, 1)[1]))
    assert line.startswith("0 2 ")
    assert "2 new" in line and "3 later" in line and "kB" in line
    assert no_zip_was_asked_for(terminal) and terminal.statuses == {}


def test_a_manifest_a_series_and_a_list_narrow_the_fetch(
    terminal: Terminal, tmp_path: Path
) -> None:
    in_file, named, *_ = terminal.uids
    manifest = tmp_path / "some.tcia"
    manifest.write_text(f"ListOfSeriesToDownload=\n{in_file}\n9.9.9\n")
    result = terminal("fetch", "--manifest", str(manifest), "--series", named)

    assert result.exit_code == 0, result.output
    assert terminal.statuses == {in_file: "complete", named: "complete"}
    assert "1 listed Series are not in the warehouse, or are withdrawn: 9.9.9" in result.stderr
    assert SMALL in result.stdout


def test_a_denied_licence_is_counted_and_not_fetched(terminal: Terminal) -> None:
    forbidden, untold, *_ = terminal.uids
    licensed(terminal, {forbidden: "CC BY-NC 3.0", untold: None})
    result = terminal(*CONTOURS, "--deny-license", "NC", "--dry-run")

    assert result.exit_code == 0, result.output
    cells = words(line_of(result, SMALL))
    assert cells[2] == "4" and cells[-2:] == ["1", "denied"]
    assert "1 of these Series have no licence" in result.stderr


def licensed(terminal: Terminal, names: dict[str, str | None]) -> None:
    rows = terminal.warehouse.read(catalog.SERIES, [SMALL]).to_pylist()
    for row in rows:
        if row["SeriesInstanceUID"] in names:
            row |= {"LicenseName": names[row["SeriesInstanceUID"]], "LicenseURI": None}
    table = pa.Table.from_pylist(rows, schema=catalog.SERIES.schema)
    terminal.warehouse.write(catalog.SERIES, table, SMALL)


def test_only_an_allowed_licence_is_fetched(terminal: Terminal) -> None:
    mine, untold, *_ = terminal.uids
    licensed(terminal, {mine: "MIT Licence", untold: None})
    result = terminal(*CONTOURS, "--allow-license", "MIT Licence")

    assert result.exit_code == 0, result.output
    assert list(terminal.statuses) == [mine]


def test_a_fetch_ends_before_it_has_more_bytes_than_it_may(terminal: Terminal) -> None:
    # A run has one Series at least, however large.
    result = terminal(*CONTOURS, "--max-bytes", "0.001 kB")

    assert result.exit_code == 0, result.output
    assert len(terminal.statuses) == 1


@pytest.mark.parametrize("size", ["", "0", "-1", "much", "1XB", "1.GB"])
def test_a_size_that_is_none_is_refused(terminal: Terminal, size: str) -> None:
    result = terminal(*CONTOURS, "--max-bytes", size)

    assert result.exit_code == 2
    assert f"{size!r} is not a size such as 500MB" in result.stderr
    assert no_zip_was_asked_for(terminal)


def test_a_misspelt_licence_is_told(terminal: Terminal) -> None:
    result = terminal(*CONTOURS, "--deny-license", "Qwertz 12", "--dry-run")

    assert result.exit_code == 2
    assert "'Qwertz 12'" in result.stderr


def test_shards_are_parts_of_the_whole(terminal: Terminal) -> None:
    mine = {uid for uid in terminal.uids if Shard(0, 2).contains(uid)}
    assert 0 < len(mine) < len(terminal.uids)
    assert terminal(*CONTOURS, "--shard", "0/2").exit_code == 0
    assert set(terminal.statuses) == mine
    assert terminal(*CONTOURS, "--shard", "1/2").exit_code == 0

    assert terminal.statuses == dict.fromkeys(terminal.uids, "complete")
    assert terminal.sandbox.requests["getImage"] == len(terminal.uids)


def test_a_shard_without_a_series_has_nothing_to_do(terminal: Terminal) -> None:
    [uid] = [u for u in terminal.uids if Shard(0, 2).contains(u)][:1]
    result = terminal(*CONTOURS, "--series", uid, "--shard", "1/2")

    assert result.exit_code == 0
    assert "no Series to fetch is in shard 1-of-2" in result.stderr
    assert no_zip_was_asked_for(terminal)


def test_a_series_that_the_archive_lists_no_more_is_not_called_unselected(
    terminal: Terminal,
) -> None:
    missing = terminal.uids[0]
    terminal.sandbox.archive.hide([missing])
    assert terminal("refresh", SMALL).exit_code == 0
    result = terminal(*CONTOURS, "--series", missing)

    assert result.exit_code == 1
    assert "none of the selected Series is in the source's newest list" in result.stderr
    assert no_zip_was_asked_for(terminal)


@pytest.mark.parametrize("shard", ["3/2", "2/2", "0/0", "1", "-1/2", "a/b", "0/2/3", ""])
def test_a_shard_that_cannot_be_is_refused(terminal: Terminal, shard: str) -> None:
    result = terminal(*CONTOURS, "--shard", shard)

    assert result.exit_code == 2
    assert f"{shard!r} is not a shard such as 0/4 or 3/4" in result.stderr
    assert no_zip_was_asked_for(terminal)


def test_a_series_that_does_not_come_is_told_and_ends_with_1(terminal: Terminal) -> None:
    hidden = terminal.uids[0]
    terminal.sandbox.archive.hide([hidden])
    result = terminal(*CONTOURS)

    assert result.exit_code == 1
    assert f"{SMALL}: {hidden} is unavailable: " in result.stderr
    assert sorted(terminal.statuses.values()) == ["complete"] * 4 + ["unavailable"]


def test_what_was_given_up_is_tried_with_retry_only(terminal: Terminal) -> None:
    hidden = terminal.uids[0]
    terminal.sandbox.archive.hide([hidden])
    terminal(*CONTOURS)
    rows = read_rows(terminal.warehouse, SMALL)
    tired = [replace(r, attempts=MAX_ATTEMPTS) for r in rows if r.series_instance_uid == hidden]
    merge_rows(terminal.warehouse, SMALL, tired)
    terminal.sandbox.archive.show([hidden])
    left = terminal(*CONTOURS, "--dry-run")
    assert words(line_of(left, SMALL))[-3:] == ["1", "given", "up"]
    asked = terminal.sandbox.requests["getImage"]
    result = terminal(*CONTOURS)
    assert result.exit_code == 1
    assert f"{SMALL}: {hidden} is unavailable: " in result.stderr and "--retry" in result.stderr
    assert terminal.statuses[hidden] == "unavailable"
    assert terminal.sandbox.requests["getImage"] == asked

    assert terminal(*CONTOURS, "--retry").exit_code == 0
    assert terminal.statuses[hidden] == "complete"


# --- verify and status ----------------------------------------------------------------------------


@pytest.fixture
def fetched(terminal: Terminal) -> Terminal:
    assert terminal(*CONTOURS).exit_code == 0
    return terminal


def test_status_counts_what_is_on_disk(fetched: Terminal) -> None:
    result = fetched("status")

    assert result.exit_code == 0
    cells = words(line_of(result, SMALL))
    assert cells[:7] == [SMALL, "10", "-", "5", "0", "0", "0"]
    on_disk = sum(fetched.zip(uid).stat().st_size for uid in fetched.uids)
    assert " ".join(cells[7:10]) == f"{format_bytes(on_disk)} -"


def test_status_tells_what_is_selected_and_to_come(fetched: Terminal) -> None:
    fetched.environment["TCIA_IMAGE_SELECTION"] = "where: ImageCount < 1000"
    rows = fetched.warehouse.read(catalog.SERIES, [SMALL]).to_pylist()
    to_come = sum(r["FileSize"] for r in rows if r["SeriesInstanceUID"] not in fetched.uids)
    cells = words(line_of(fetched("status"), SMALL))

    assert cells[1:7] == ["10", "10", "5", "0", "0", "0"]
    assert " ".join(cells[9:11]) == format_bytes(to_come)


@pytest.mark.parametrize("width", [80, 100, 200])
def test_status_fits_its_terminal_with_numbers_right_aligned(fetched: Terminal, width: int) -> None:
    fetched.environment["COLUMNS"] = str(width)
    lines = fetched("status").stdout.splitlines()

    assert all(len(line) <= width for line in lines)
    head = next(line for line in lines if "series" in line)
    row = next(line for line in lines if line.startswith(SMALL))
    for name in ("series", "complete", "withdrawn"):
        end = head.index(name) + len(name)
        assert row[end - 1].isdigit() and not row[end : end + 1].strip()
    assert sum(line.startswith(SMALL) for line in lines) == (1 if width == 200 else 2)


def test_verify_of_what_is_whole_ends_with_0(fetched: Terminal) -> None:
    for more in ((), ("--deep",), (SMALL,)):
        result = fetched("verify", *more)
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith(f"{SMALL}: 5 zips of ") and "0 damaged" in result.stdout


def test_verify_names_what_is_damaged_and_ends_with_1(fetched: Terminal) -> None:
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
    assert fetched(*CONTOURS).exit_code == 0
    assert set(fetched.statuses.values()) == {"complete"}


def test_verify_rebuild_makes_a_lost_manifest_anew(fetched: Terminal) -> None:
    before = fetched.statuses
    fetched.warehouse.path(catalog.IMAGE_ARCHIVES, SMALL).unlink()
    result = fetched("verify", "--rebuild")

    assert result.exit_code == 0, result.output
    assert f"{SMALL}: 5 rows added from zips, 0 were correct, 0 zips refused" in result.stdout
    assert "5 zips of" in result.stdout
    assert fetched.statuses == before


def test_verify_rebuild_is_not_stopped_by_another_damaged_manifest(fetched: Terminal) -> None:
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


def test_verify_rebuild_names_zips_that_it_refuses(fetched: Terminal) -> None:
    bad = fetched.uids[0]
    fetched.warehouse.path(catalog.IMAGE_ARCHIVES, SMALL).unlink()
    fetched.zip(bad).write_bytes(b"no zip")
    result = fetched("verify", "--rebuild")

    assert result.exit_code == 1
    assert "4 rows added from zips, 0 were correct, 1 zips refused" in result.stdout
    assert f"{SMALL}: {bad}: " in result.stderr


def test_verify_audit_compares_with_the_archive(fetched: Terminal) -> None:
    equal = fetched("verify", "--audit")
    assert equal.exit_code == 0, equal.output
    assert f"{SMALL}: 5 Series equal to the source's, 0 differ (" in equal.stdout
    changed = fetched.uids[0]
    fetched.sandbox.archive.revise([changed])
    differs = fetched("verify", "--audit")

    assert differs.exit_code == 1
    assert "4 Series equal to the source's, 1 differ" in differs.stdout
    assert f"{SMALL}: {changed}: its hash at the source differs" in differs.stderr


def test_verify_audit_where_the_dialect_has_no_hashes_is_misuse(fetched: Terminal) -> None:
    fetched.environment |= {
        "TCIA_DIALECT": "bindaas-v4",
        "TCIA_BASE_URL": fetched.sandbox.base_url("bindaas-v4"),
    }
    result = fetched("verify", "--audit")

    assert result.exit_code == 2
    assert "provides no MD5 hashes" in result.stderr


def test_verify_of_a_collection_without_images_names_those_with(fetched: Terminal) -> None:
    result = fetched("verify", "LCTCS")

    assert result.exit_code == 2
    assert "'LCTCS'" in result.stderr and f"'{SMALL}'" in result.stderr


@pytest.mark.parametrize("command", ["fetch", "verify"])
def test_help_has_examples(command: str) -> None:
    said = CliRunner().invoke(main, [command, "--help"]).stdout

    examples = said.partition("Examples:")[2]
    assert examples.count(f"tcia-assets {command}") >= 3


def test_a_collection_is_told_that_is_left_out_for_its_name(terminal: Terminal) -> None:
    terminal.sandbox.archive.move([terminal.uids[0]], to="a, b")
    result = terminal("refresh", SMALL)

    assert result.exit_code == 0, result.output
    assert "left out, because their names cannot be partition keys: ['a, b']" in result.stderr


# --- changes --------------------------------------------------------------------------------------


def seen_again(terminal: Terminal) -> None:
    with open_source(settings_for(terminal.sandbox, terminal.root)) as source:
        refresh(
            catalog.SERIES, SMALL, source, terminal.warehouse, datetime.now(UTC), ProbeBudget(0)
        )


def test_changes_are_told_newest_last_with_old_and_new(terminal: Terminal) -> None:
    uid, *_ = terminal.uids
    terminal.sandbox.archive.revise([uid], image_count=3)
    seen_again(terminal)
    result = terminal("changes", SMALL)

    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    events = [line for line in lines if not line.startswith(" ")]
    assert [words(line)[2] for line in events] == ["added"] * 10 + ["changed"]
    assert words(events[-1])[3:] == [SMALL, uid]
    assert "    ImageCount: 1 -> 3" in lines[lines.index(events[-1]) :]


def test_changes_can_be_of_one_event_and_in_other_formats(terminal: Terminal) -> None:
    uid, *_ = terminal.uids
    terminal.sandbox.archive.hold([uid])
    seen_again(terminal)
    as_json = json.loads(terminal("changes", "--event", "missing", "--format", "json").stdout)
    as_csv = terminal("changes", "--event", "missing", "--format", "csv").stdout.splitlines()

    assert [(row["SeriesInstanceUID"], row["event"]) for row in as_json] == [(uid, "missing")]
    assert len(as_csv) == 2 and uid in as_csv[1]


def test_events_that_are_not_shown_are_the_oldest_and_counted(terminal: Terminal) -> None:
    uid, *_ = terminal.uids
    terminal.sandbox.archive.hold([uid])
    seen_again(terminal)
    result = terminal("changes", "--rows", "1")

    assert words(result.stdout)[2:] == ["missing", SMALL, uid]
    assert "10 earlier events are not shown" in result.stderr


def test_where_nothing_happened_a_word_says_since_when(terminal: Terminal) -> None:
    for form, nothing in (("table", ""), ("json", "[]\n")):
        result = terminal("changes", "--since", "2099-01-01", "--format", form)
        assert result.exit_code == 0 and result.stdout == nothing
        assert "no such change event since 2099-01-01 00:00 UTC" in result.stderr


@pytest.mark.parametrize("since", ["2026-13-01", "yesterday", "", "0001-01-01T00:00+14:00"])
def test_a_bad_date_is_named_with_a_good_one(terminal: Terminal, since: str) -> None:
    result = terminal("changes", "--since", since)

    assert result.exit_code == 2
    assert f"{since!r} is not a date or time such as 2026-11-01" in result.stderr


def test_nothing_from_the_archive_reaches_the_terminal_raw(terminal: Terminal) -> None:
    series = terminal.warehouse.read(catalog.SERIES_CHANGES, [SMALL])
    names = pa.array([["SeriesDescription"]] * len(series), pa.list_(pa.string()))
    texts = pa.array(['{"SeriesDescription": "a\\u001b[31m[bold]"}'] * len(series))
    for name, values in (("changed_columns", names), ("before", texts), ("after", texts)):
        place = series.schema.get_field_index(name)
        series = series.set_column(place, series.schema.field(name), values)
    terminal.warehouse.write(catalog.SERIES_CHANGES, series, SMALL)
    shown = terminal("changes").stdout

    assert "\x1b" not in shown and "a\\x1b[31m[bold] -> " in shown
