"""The whole examination, of each dialect and of servers that answer like none of them."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest

from tcia_assets.catalog import DIALECTS
from tcia_assets.doctor.examine import PACING, Report, examine
from tcia_assets.doctor.step_result import DIFFERS, OK, UNKNOWN, StepResult
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.settings import Settings
from tcia_assets_tests.conftest import SMALL, settings_for
from tcia_assets_tests.doctor.conftest import HASTY, Serve, settings_of
from tcia_assets_tests.sources.scripted import HANGING, Answer, answer

PAGE = "<html><body>Please log in</body></html>"


def by_name(report: Report) -> dict[str, StepResult]:
    return {check.name: check for check in report.checks}


@pytest.mark.parametrize("dialect", [each.name for each in DIALECTS])
def test_nothing_differs_in_any_dialect_and_nothing_is_written(
    dialect: str, sandbox: Sandbox, tmp_path: Path
) -> None:
    settings = settings_for(sandbox, tmp_path / "data", dialect)
    report = examine(settings)

    assert [check for check in report.checks if check.outcome == DIFFERS] == []
    unknown = [check.name for check in report.checks if check.outcome == UNKNOWN]
    assert unknown == ["shared_lists"]
    assert len(sandbox.requests) < 60
    assert list(tmp_path.iterdir()) == []
    text = json.dumps(report.to_json())
    assert sandbox.authenticator.api_key not in text and f"/{tmp_path.name}" in text


@pytest.mark.parametrize(
    ("reply", "collections", "seen"),
    [
        (answer(PAGE, Content_Type="text/html"), DIFFERS, "Please log in"),
        (answer('{"message":"hello"}'), DIFFERS, "not a list of rows"),
        (answer('[{"name":"x"}]'), DIFFERS, "rows with none of its fields"),
        (answer("[{}]"), DIFFERS, "no names: 1 row without any value"),
        (answer("no", 404), DIFFERS, "status 404"),
        (answer("", 500), DIFFERS, "status 500"),
        (answer(""), DIFFERS, "empty reply"),
        (answer(b"\x00\xff\x1b[31m"), DIFFERS, "getCollectionValues"),
        (HANGING, UNKNOWN, "needs a connection to the source"),
    ],
    ids=["html", "object", "rows", "null row", "404", "500", "empty", "binary", "hangs"],
)
def test_a_server_that_answers_like_none_of_them_is_named_and_not_asked_much(
    reply: Answer, collections: str, seen: str, serve: Serve, tmp_path: Path
) -> None:
    server = serve(reply)
    report = examine(settings_of(server, data_dir=str(tmp_path / "data")), pacing=HASTY)

    checks = by_name(report)
    assert (checks["collections"].outcome, seen in checks["collections"].seen) == (
        collections,
        True,
    )
    assert report.differing
    assert not {c.name for c in report.checks if c.outcome == OK} & {"series", "filters", "hashes"}
    assert all(check.seen.isprintable() for check in report.checks)
    assert len(server.asked) < 10
    assert not (tmp_path / "data").exists()


def test_a_host_that_cannot_be_reached_leaves_all_but_this_machine_unknown(tmp_path: Path) -> None:
    settings = Settings(
        base_url="http://127.0.0.1:9/nbia-api/services/v4", data_dir=str(tmp_path / "data")
    )
    report = examine(settings)

    source = [*report.sections["Source"], *report.sections["Replies"], *report.sections["Images"]]
    assert Counter(check.outcome for check in source) == {DIFFERS: 1, UNKNOWN: len(source) - 1}
    assert "the host refuses connections" in by_name(report)["connection"].seen
    assert {check.outcome for check in report.sections["Data folder"]} == {OK}
    assert report.seconds < 10


def test_a_source_that_becomes_stuck_costs_no_more_than_the_time(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    sandbox.faults.add(Fault("hang", "getPatientStudy", times=0, seconds=30))
    started = time.monotonic()
    report = examine(settings_for(sandbox, tmp_path), seconds=1.0)

    assert time.monotonic() - started < 8
    checks = by_name(report)
    assert (checks["patients"].outcome, checks["studies"].outcome) == (OK, UNKNOWN)
    assert "no time was left" in checks["series"].seen


def test_faults_of_several_endpoints_are_told_apart(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.faults.add(
        Fault("renamed_column", "getPatient", times=0, column="PatientId", value="SubjectId"),
        Fault("html", "getModalityValues", times=0),
        Fault("zip_short", "getImage", times=0),
        Fault("status", "getMD5Hierarchy", times=0, status=500),
    )
    report = examine(settings_for(sandbox, tmp_path))
    assert [check.name for check in report.differing] == [
        "modality_values", "patients", "zip by getImage", "hashes"
    ]  # fmt: skip


def test_a_zip_that_lacks_its_md5_list_differs(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.faults.add(Fault("zip_no_md5s", "getImageWithMD5Hash", times=0))
    [check] = examine(settings_for(sandbox, tmp_path)).differing
    assert check.name == "zip by getImageWithMD5Hash"
    assert check.seen.startswith("no MD5 list, though it should end with one; ")


def test_collections_and_lists_of_the_mirror_are_looked_at_first(
    series_root: Path, sandbox: Sandbox, tmp_path: Path
) -> None:
    shutil.copytree(series_root, tmp_path / "data")
    before = sorted((tmp_path / "data").rglob("*"))
    report = examine(settings_for(sandbox, tmp_path / "data"))
    assert report.differing == []
    asked = {r.parameters.get("Collection") for r in sandbox.requests.last}
    assert SMALL in asked and len(asked - {None, SMALL}) == 1
    assert sorted((tmp_path / "data").rglob("*")) == before


def test_a_password_that_the_source_repeats_is_in_no_report(serve: Serve, tmp_path: Path) -> None:
    secret = "s3cr3t-p4ss"
    server = serve(answer(f"unknown account jdoe with {secret}", 401))
    settings = Settings(
        dialect="nbia-v2", base_url=f"{server.url}/nbia-api/services/v2", username="jdoe",
        password=secret, data_dir=str(tmp_path),
    )  # fmt: skip
    text = json.dumps(examine(settings, pacing=HASTY).to_json())
    assert "no token" in text and secret not in text and "jdoe" not in text


def test_progress_is_reported_to_the_end(sandbox: Sandbox, tmp_path: Path) -> None:
    reported: list[tuple[int, int]] = []
    report = examine(
        settings_for(sandbox, tmp_path), report=lambda done, total: reported.append((done, total))
    )
    assert sorted(reported) == [(n, len(report.checks)) for n in range(1, len(report.checks) + 1)]
    assert PACING.attempts == 1


def test_without_a_temporary_folder_only_this_machine_is_looked_at(
    tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    report = examine(settings_for(sandbox, tmp_path / "data"))
    [check] = report.sections["Source"]
    assert (check.outcome, "TMPDIR" in check.advice) == (DIFFERS, True)
    assert report.sections["Data folder"]
    assert not len(sandbox.requests)


def test_the_report_names_the_settings_that_were_chosen_and_not_their_values(
    tmp_path: Path,
) -> None:
    settings = Settings(
        base_url="http://127.0.0.1:9/nbia-api/services/v4", data_dir=str(tmp_path),
        image_selection="collections: [Mine]", api_key="k3y",
    )  # fmt: skip
    report = examine(settings).to_json()
    assert report["settings"] == [
        "TCIA_API_KEY", "TCIA_BASE_URL", "TCIA_DATA_DIR", "TCIA_IMAGE_SELECTION"
    ]  # fmt: skip
    assert "k3y" not in json.dumps(report) and "Mine" not in json.dumps(report)


def test_nothing_differs_at_the_imaging_data_commons(sandbox: Sandbox, tmp_path: Path) -> None:
    settings = Settings(
        source="idc",
        idc_index=sandbox.idc_index_url,
        idc_base_url=sandbox.idc_base_url,
        data_dir=str(tmp_path / "data"),
    )
    report = examine(settings)

    assert [check for check in report.checks if check.outcome == DIFFERS] == []
    assert [check.name for check in report.checks if check.outcome == UNKNOWN] == ["shared_lists"]
    checks = by_name(report)
    assert checks["index"].seen.startswith("release 25.")
    assert "TCIA_IDC_CONNECTIONS is 32" in checks["limits"].seen
    assert report.source.startswith("idc@127.0.0.1")


def test_an_index_that_cannot_be_had_is_named(serve: Serve, tmp_path: Path) -> None:
    server = serve(answer("<Error/>", 404, Content_Type="application/xml"))
    settings = Settings(
        source="idc",
        idc_index=f"{server.url}/index",
        idc_base_url=f"{server.url}/{{bucket}}",
        data_dir=str(tmp_path / "data"),
    )
    checks = by_name(examine(settings, pacing=HASTY))
    assert checks["connection"].outcome == OK
    for name in ("index", "collections"):
        assert (checks[name].outcome, "status 404" in checks[name].seen) == (DIFFERS, True)
