"""One small Series is fetched, proven and removed again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcia_assets.doctor.image_checks import image_steps
from tcia_assets.doctor.step_result import DIFFERS, OK, UNKNOWN
from tcia_assets.doctor.steps import look
from tcia_assets.doctor.subject import Subject
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.server import Sandbox
from tcia_assets_tests.conftest import SMALL, settings_for
from tcia_assets_tests.doctor.conftest import MakeSubject


@pytest.mark.parametrize(
    ("dialect", "proof", "hashes"),
    [
        ("nbia-v4", "md5", "zips list MD5s; the hash of the Series is equal"),
        ("nbia-v1", "md5", "zips list MD5s; the source offers no others"),
        ("bindaas-v3", "count+size", "zips list no MD5s; the source offers no others"),
    ],
)
def test_a_series_is_proven_as_far_as_the_dialect_allows(
    dialect: str,
    proof: str,
    hashes: str,
    sandbox: Sandbox,
    tmp_path: Path,
    subject_of: MakeSubject,
) -> None:
    subject = subject_of(settings_for(sandbox, tmp_path, dialect), SMALL)
    checks = [look(step) for step in image_steps(subject)]

    assert [check.outcome for check in checks] == [OK] * len(checks)
    assert [check.name for check in checks[:-2]] == [
        f"zip by {route}" for route in subject.source.zip_routes
    ]
    assert "1 object, " in checks[0].seen and f"proven by {proof} " in checks[0].seen
    assert checks[-2].seen.startswith(hashes)
    assert checks[-1].seen == "1 listed, and one fetched, as in the zip"
    assert list(tmp_path.iterdir()) == []


def test_a_route_that_sends_a_bad_zip_differs_and_the_other_one_proves_the_series(
    subject: Subject, sandbox: Sandbox
) -> None:
    sandbox.faults.add(Fault("zip_empty", "getImage", times=0))
    checks = [look(step) for step in image_steps(subject)]
    assert [check.outcome for check in checks] == [DIFFERS, OK, OK, OK]
    assert "the zip holds no image" in checks[0].seen


def test_without_any_good_zip_nothing_is_known_of_hashes_and_objects(
    subject: Subject, sandbox: Sandbox, tmp_path: Path
) -> None:
    sandbox.faults.add(Fault("zip_flipped_byte", times=0))
    checks = [look(step) for step in image_steps(subject)]
    assert [check.outcome for check in checks] == [DIFFERS, DIFFERS, UNKNOWN, UNKNOWN]
    assert list(tmp_path.iterdir()) == []


def test_hashes_and_objects_that_contradict_the_zip_differ(
    subject: Subject, sandbox: Sandbox
) -> None:
    wrong = {"status": 200, "content_type": "text/plain"}
    sandbox.faults.add(
        Fault("status", "getMD5Hierarchy", body="0" * 32, **wrong),  # type: ignore[arg-type]
        Fault("duplicate_rows", "getSOPInstanceUIDs"),
        Fault("status", "getSingleImage", body="\0" * 128 + "DICM", **wrong),  # type: ignore[arg-type]
    )
    checks = [look(step) for step in image_steps(subject)]
    assert [check.outcome for check in checks] == [OK, OK, DIFFERS, DIFFERS]
    assert "other bytes than in the zip" in checks[-1].seen


def test_a_list_of_other_objects_differs(subject: Subject, sandbox: Sandbox) -> None:
    rows = '[{"SOPInstanceUID":"1.2.3"}]'
    sandbox.faults.add(
        Fault("status", "getSOPInstanceUIDs", status=200, body=rows, content_type="text/plain")
    )
    checks = [look(step) for step in image_steps(subject)]
    assert (checks[-1].outcome, "which is not the 1 in the zip" in checks[-1].seen) == (
        DIFFERS,
        True,
    )
