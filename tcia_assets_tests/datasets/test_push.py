"""A push makes the repository what the version is, in one commit, or says why it cannot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from huggingface_hub import constants, hf_hub_download
from huggingface_hub.utils import disable_progress_bars

from tcia_assets.datasets import versions
from tcia_assets.datasets.pack import Publication, pack
from tcia_assets.datasets.push import PushedDataset, PushOptions, parse_address, push
from tcia_assets.datasets.versions import LOCK, Version
from tcia_assets.errors import (
    ArchiveUnreachable,
    DatasetRefused,
    RequestRefused,
    TciaError,
    UsageError,
)
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.datasets.example_builds import NO_TARGET, built, declared
from tcia_assets_tests.datasets.hub import READ_ONLY, TOKEN, Hub, serving
from tcia_assets_tests.datasets.warehouse_edits import (
    replace_zip,
    set_column,
    zip_of,
    zip_without,
)

# huggingface_hub hands files to its client in a form that this one calls old.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning")

ADDRESS, NAME = "hf://datasets/me/lung_ct", "me/lung_ct"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A Hub, to which huggingface_hub is configured as its environment variables would."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    disable_progress_bars()
    with serving(Hub()) as served:
        yield served


def _push(version: Version, hub: Hub, **options: bool) -> PushedDataset:
    return push(version, ADDRESS, PushOptions(**options, endpoint=hub.url))


def test_the_repository_is_the_version_and_a_second_push_changes_nothing(
    hub: Hub, version: Version, tmp_path: Path
) -> None:
    first = _push(version, hub)
    repository = hub.repositories[NAME]
    assert repository.private and first.is_private and first.is_changed
    assert first.url == f"{hub.url}/datasets/{NAME}" and first.notes == ()
    assert set(repository.files) == {*version.files, LOCK, ".gitattributes"}
    assert repository.commits[1:] == [first.commit]
    again = _push(version, hub)
    assert (again.commit, again.is_changed) == (first.commit, False)
    assert len(repository.commits) == 2 and len(hub.uploads) == len(set(hub.uploads))
    for path in ("README.md", versions.INDEX):
        read = hf_hub_download(
            NAME, path, repo_type="dataset", endpoint=hub.url, cache_dir=tmp_path / "cache"
        )
        assert Path(read).read_bytes() == (version.folder / path).read_bytes()


def test_another_version_replaces_the_files_of_the_one_before_only(
    hub: Hub, stocked_warehouse: Warehouse, version: Version
) -> None:
    with_monai = declared(NO_TARGET, ("formats: [", "formats: [monai, "))
    _push(built(with_monai, stocked_warehouse).version, hub)
    repository = hub.repositories[NAME]
    assert "monai/datalist.json" in repository.files
    repository.files["notes.md"] = b"written by hand"
    uploaded = len(hub.uploads)
    assert _push(version, hub).is_changed
    kept = {"notes.md", ".gitattributes"}
    assert set(repository.files) == {*version.files, LOCK, *kept}
    images = [path for path in version.files if path.startswith("images/")]
    assert images and len(hub.uploads) - uploaded < len(images)


def test_an_interrupted_push_goes_on_where_it_was(hub: Hub, version: Version) -> None:
    hub.fail_after = 2
    with pytest.raises(
        TciaError, match=r"answered 400 .* was made, and is empty.*the line was cut"
    ):
        _push(version, hub)
    assert set(hub.repositories[NAME].files) == {".gitattributes"}
    hub.fail_after, before = None, list(hub.uploads)
    assert before
    assert _push(version, hub).is_changed
    assert len(hub.uploads) == len(set(hub.uploads)), "a file was uploaded twice"


@pytest.mark.parametrize(
    ("token", "kind", "problem"),
    [
        ("hf_wrong", RequestRefused, "does not accept the token"),
        (READ_ONLY, RequestRefused, "may not write to me/lung_ct"),
        ("", UsageError, "there is no token for the Hub: set HF_TOKEN"),
    ],
)
def test_a_token_that_will_not_do_is_said_and_never_shown(
    token: str,
    kind: type[TciaError],
    problem: str,
    hub: Hub,
    version: Version,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(kind, match=problem) as raised:
        _push(version, hub)
    assert not token or token not in str(raised.value)
    assert not hub.repositories


def test_without_a_network_nothing_hangs(hub: Hub, version: Version) -> None:
    hub.url = "http://127.0.0.1:9"
    with pytest.raises(ArchiveUnreachable, match=r"cannot be reached: .*; push again"):
        _push(version, hub)


def test_an_answer_of_the_hub_is_not_a_lost_connection(hub: Hub, version: Version) -> None:
    _push(version, hub)
    hub.broken_files = 404
    with pytest.raises(RequestRefused, match="the Hub answered 404 for me/lung_ct") as raised:
        _push(version, hub)
    assert "was made" not in str(raised.value)


def test_a_push_in_between_is_not_overwritten(hub: Hub, version: Version) -> None:
    _push(version, hub)
    repository = hub.repositories[NAME]
    repository.files["README.md"] = b"other"
    hub.on_batch = lambda: repository.commits.append("1" * 40)
    hub.large.clear()
    repository.files[versions.INDEX] = b"other"
    with pytest.raises(TciaError, match="was changed meanwhile"):
        _push(version, hub)


def without_a_licence(warehouse: Warehouse) -> str:
    """Remove the licence of a CT Series, and return its UID."""
    [uid] = warehouse.query(
        "SELECT SeriesInstanceUID AS u FROM series WHERE Modality = 'CT' ORDER BY u LIMIT 1"
    )["u"].to_pylist()
    for column in ("LicenseName", "LicenseURI"):
        set_column(warehouse, column, None, uid)
    return str(uid)


def test_series_without_a_licence_are_refused_unless_asked_for(
    hub: Hub, stocked_warehouse: Warehouse
) -> None:
    uid = without_a_licence(stocked_warehouse)
    version = built(declared(NO_TARGET), stocked_warehouse).version
    with pytest.raises(UsageError, match=f"--allow-unlicensed .*no licence for 1 Series, .{uid}"):
        _push(version, hub)
    assert not hub.repositories
    pushed = _push(version, hub, allow_unlicensed=True, is_public=True)
    assert pushed.notes == ("the source states no licence for some Series",)
    assert not pushed.is_private


def test_a_series_that_is_in_no_file_needs_no_licence(
    hub: Hub, stocked_warehouse: Warehouse, tmp_path: Path
) -> None:
    uid = without_a_licence(stocked_warehouse)
    gap = zip_without(zip_of(stocked_warehouse, uid), lambda place: place == 5)
    replace_zip(stocked_warehouse, uid, gap)
    version = built(declared(NO_TARGET), stocked_warehouse).version
    assert uid not in {row["SeriesInstanceUID"] for row in version.series}
    assert uid in {row["SeriesInstanceUID"] for row in version.content["cohort"]["series"]}
    assert _push(version, hub).notes == ()
    packed = pack(version, tmp_path / "a.zip", Publication(date(2026, 11, 27)))
    metadata = json.loads(packed.metadata.read_text())["metadata"]
    assert metadata["access_right"] == "open" and "not given" not in metadata["notes"]


def test_what_a_licence_forbids_is_said(hub: Hub, stocked_warehouse: Warehouse) -> None:
    uids = stocked_warehouse.query("SELECT SeriesInstanceUID AS u FROM series")["u"].to_pylist()
    name = "Creative Commons Attribution-NonCommercial 3.0 Unported License"
    set_column(stocked_warehouse, "LicenseName", name, *uids)
    allowed = declared(NO_TARGET, ("deny: [NC, ND]", "deny: [ND]"))
    version = built(allowed, stocked_warehouse).version
    assert _push(version, hub).notes == (f"{name} forbids commercial use",)


def test_a_damaged_version_is_not_pushed(hub: Hub, version: Version) -> None:
    file = version.folder / "README.md"
    file.write_text("changed", encoding="utf-8")
    with pytest.raises(DatasetRefused, match=r"README\.md"):
        _push(version, hub)
    assert not hub.repositories


@pytest.mark.parametrize(
    "address", ["me/lung_ct", "hf://me/lung_ct", "hf://datasets/me", "hf://datasets/../x"]
)
def test_an_address_names_owner_and_repository(address: str) -> None:
    assert parse_address(ADDRESS) == NAME
    with pytest.raises(UsageError, match="not an address such as hf://datasets/OWNER/REPO"):
        parse_address(address)


def test_a_lock_file_of_something_else_removes_nothing(hub: Hub, version: Version) -> None:
    _push(version, hub)
    hub.repositories[NAME].files[LOCK] = json.dumps([]).encode()
    assert _push(version, hub).is_changed
    assert set(hub.repositories[NAME].files) == {*version.files, LOCK, ".gitattributes"}
