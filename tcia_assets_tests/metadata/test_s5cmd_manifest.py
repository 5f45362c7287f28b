"""Manifests for s5cmd are read as the IDC's portal writes them, and written so that they are."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from tcia_assets.errors import UsageError
from tcia_assets.metadata.s5cmd_manifest import format_manifest, read_versions

A, B = "040fd3e1-1f4c-4a5b-9d3f-0123456789ab", "530a443b-2233-499f-8ba2-b9ad43658974"


def manifest(folder: Path, text: str) -> Path:
    path = folder / "cart.s5cmd"
    path.write_text(text)
    return path


def test_comments_options_quotes_and_folders_do_not_matter(tmp_path: Path) -> None:
    text = (
        "# To download the files in this manifest, use s5cmd --no-sign-request\n\n"
        f"cp --show-progress 's3://idc-open-data/{A}/*' .\n"
        f"  sync s3://idc-open-data-two/{B}/ 'my folder'\r\n"
    )
    assert read_versions(manifest(tmp_path, text)).to_pylist() == [A, B]


@pytest.mark.parametrize(
    "line",
    [f"rm s3://b/{A}/*", f"cp s3://b/{A}/* s3://b/{B}/*", "cp a b", "cp s3://b/x/* .", "cp 'a"],
)
def test_a_line_that_copies_no_series_is_refused_with_its_number(tmp_path: Path, line: str) -> None:
    with pytest.raises(UsageError, match=r"cart\.s5cmd', line 2: .* is not 'cp s3:"):
        read_versions(manifest(tmp_path, f"# cart\n{line}\n"))


def test_a_manifest_without_series_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no Series"):
        read_versions(manifest(tmp_path, "# nothing\n"))


def test_what_is_written_is_read_again_each_series_once(tmp_path: Path) -> None:
    rows = pa.table(
        {"aws_bucket": ["two", "one", "one", None], "crdc_series_uuid": [B, A, A, None]}
    )
    text = format_manifest(rows, "my folder")

    assert text == f"cp s3://one/{A}/* 'my folder'\ncp s3://two/{B}/* 'my folder'\n"
    assert read_versions(manifest(tmp_path, text)).to_pylist() == [A, B]


def test_rows_without_the_columns_or_without_a_version_make_no_manifest() -> None:
    with pytest.raises(UsageError, match="needs also crdc_series_uuid"):
        format_manifest(pa.table({"aws_bucket": ["b"]}))
    nothing = pa.array([None], pa.string())
    with pytest.raises(UsageError, match="TCIA_SOURCE=idc"):
        format_manifest(pa.table({"aws_bucket": nothing, "crdc_series_uuid": nothing}))
