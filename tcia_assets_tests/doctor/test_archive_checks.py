"""The store of zips, whatever it answers; nothing is left in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcia_assets.doctor.archive_checks import archives_step
from tcia_assets.doctor.step_result import DIFFERS, OK, StepResult
from tcia_assets.doctor.steps import look
from tcia_assets.settings import Settings
from tcia_assets.store.archives import open_archives
from tcia_assets_tests import s3_servers
from tcia_assets_tests.s3_proxy import Fault, Proxy


def checked(root: Path, url: str) -> StepResult:
    return look(archives_step(Settings(data_dir=str(root), archives_url=url)))


def test_a_folder_need_not_be_there_yet(tmp_path: Path) -> None:
    found = checked(tmp_path, "")
    assert (found.outcome, found.seen) == (OK, f"{tmp_path / 'archives'}: can be written to")
    assert list(tmp_path.iterdir()) == []


def test_a_bucket_is_used_once_and_is_as_before(bucket: str, tmp_path: Path) -> None:
    found = checked(tmp_path, bucket)
    assert (found.outcome, found.seen) == (OK, f"{bucket}: listed, written, read and deleted")
    assert open_archives(bucket, tmp_path, 0).list("") == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_what_a_bucket_refuses_is_named(
    bucket: str, served_s3: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "reader")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_servers.secret_of("reader"))
    found = checked(tmp_path, bucket)
    assert found.outcome == DIFFERS and "may not do this there" in found.seen
    served_s3.faults.append(Fault("status", lambda _: True, 99, code="RequestTimeTooSkewed"))
    assert "the clock of this machine is off" in checked(tmp_path, bucket).seen


@pytest.mark.slow
def test_an_endpoint_where_nothing_answers_is_named_soon(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    found = checked(tmp_path, bucket)
    assert found.outcome == DIFFERS and "check AWS_ENDPOINT_URL" in found.seen
