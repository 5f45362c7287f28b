"""Zips in a bucket of a real S3 server: each verb, and what happens when the network fails."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import pytest

from tcia_assets.errors import StorageError
from tcia_assets.store.archives import Archives, ChangedFile
from tcia_assets.store.archives import bucket as bucket_module
from tcia_assets_tests import s3_servers
from tcia_assets_tests.page_server import PAGE_HEADERS, page_server
from tcia_assets_tests.s3_proxy import Fault, Proxy, Request, is_put
from tcia_assets_tests.store.archives.stores import CONTENT, FOLDER, NAME, SHA256, opened, put

OTHER = CONTENT + b"other"
OTHER_SHA256 = hashlib.sha256(OTHER).hexdigest()


@pytest.fixture
def archives(bucket: str, tmp_path: Path) -> Archives:
    return opened(bucket, tmp_path / "one")


@pytest.fixture
def elsewhere(bucket: str, tmp_path: Path) -> Archives:
    """Return the same place as another machine sees it."""
    return opened(bucket, tmp_path / "two")


def test_an_object_is_there_once_it_is_put_and_gone_once_it_is_deleted(
    archives: Archives, elsewhere: Archives, bucket: str
) -> None:
    with pytest.raises(FileNotFoundError, match=f"{bucket}/{NAME} is not there"):
        archives.head(NAME)
    assert list(archives.list(FOLDER)) == [] and list(archives.folders()) == []
    put(archives)

    found = elsewhere.head(NAME)
    assert (found.name, found.size_bytes, found.sha256) == (NAME, len(CONTENT), SHA256)
    assert [each.name for each in elsewhere.list(FOLDER)] == [NAME]
    assert list(elsewhere.folders()) == [FOLDER]
    assert elsewhere.sha256(NAME) == SHA256
    with elsewhere.open(NAME) as file:
        file.seek(5)
        assert file.read(3) == CONTENT[5:8]
    with elsewhere.local(NAME, SHA256) as path, elsewhere.copy(NAME) as other:
        assert path.read_bytes() == other.read_bytes() == CONTENT and path != other
    archives.delete(NAME)
    archives.delete(NAME)
    with pytest.raises(FileNotFoundError):
        elsewhere.head(NAME)


def test_a_put_is_one_request_and_what_was_put_is_read_here_without_any(
    archives: Archives, served_s3: Proxy
) -> None:
    put(archives)
    with archives.local(NAME, SHA256) as path:
        assert path.read_bytes() == CONTENT
    assert [request.method for request in served_s3.seen] == ["PUT"]


def test_an_object_that_another_machine_has_put_is_not_replaced_unawares(
    archives: Archives, elsewhere: Archives
) -> None:
    put(elsewhere, content=OTHER)
    with pytest.raises(FileExistsError, match="was put by another machine meanwhile"):
        put(archives)
    with pytest.raises(FileExistsError):
        put(archives, replaces=SHA256)
    assert elsewhere.sha256(NAME) == OTHER_SHA256

    put(archives, replaces=OTHER_SHA256)
    assert elsewhere.sha256(NAME) == SHA256


def test_the_same_bytes_from_two_machines_are_no_conflict(
    archives: Archives, elsewhere: Archives
) -> None:
    put(elsewhere)
    put(archives)
    assert archives.sha256(NAME) == SHA256


def test_an_object_of_another_program_is_replaced_by_what_its_bytes_are(
    archives: Archives, bucket: str, served_s3: Proxy
) -> None:
    assert archives.put_text(NAME, OTHER.decode("latin-1"))  # without a recorded SHA-256
    assert archives.head(NAME).sha256 == ""
    sha256 = archives.sha256(NAME)
    with pytest.raises(FileExistsError):
        put(archives, replaces=SHA256)
    put(archives, replaces=sha256)
    assert archives.head(NAME).sha256 == SHA256


@pytest.mark.parametrize("kind", ["cut", "unanswered"])
def test_a_put_that_the_network_cuts_is_repeated(
    archives: Archives, elsewhere: Archives, served_s3: Proxy, kind: str
) -> None:
    served_s3.faults.append(Fault(kind, is_put()))
    put(archives)
    assert elsewhere.head(NAME).sha256 == elsewhere.sha256(NAME) == SHA256
    assert served_s3.faults[0].times == 0


def test_a_put_that_is_always_cut_is_an_error_and_leaves_nothing(
    archives: Archives, elsewhere: Archives, served_s3: Proxy
) -> None:
    served_s3.faults.append(Fault("cut", is_put(), times=99))
    with pytest.raises(StorageError, match=r"1\.2\.zip: .*; check AWS_ENDPOINT_URL"):
        put(archives)
    with pytest.raises(FileNotFoundError):
        elsewhere.head(NAME)


def test_a_large_object_goes_in_parts_and_is_compared(
    archives: Archives, elsewhere: Archives, served_s3: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_module, "MAX_PUT_BYTES", 1 << 20)
    monkeypatch.setattr(bucket_module, "PART_BYTES", 5 << 20)
    content = bytes(range(256)) * (12 << 12)
    sha256 = put(archives, content=content)
    assert any("uploadId" in request.path for request in served_s3.seen)
    assert elsewhere.head(NAME).sha256 == elsewhere.sha256(NAME) == sha256
    with pytest.raises(FileExistsError):
        put(archives, content=content[1:])
    put(archives, content=content[1:], replaces=sha256)
    assert elsewhere.head(NAME).size_bytes == len(content) - 1


def test_a_page_of_a_list_that_is_lost_is_asked_for_again_and_never_left_out(
    archives: Archives, served_s3: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        archives.put_text(f"{FOLDER}/{number}.zip", "x")

    def is_page(request: Request) -> bool:
        return request.is_list

    served_s3.faults.append(Fault("status", is_page, times=2, status=503, code="SlowDown"))
    assert len(archives.list(FOLDER)) == 5
    served_s3.faults.append(Fault("status", is_page, times=99, status=403))
    with pytest.raises(StorageError, match=r"403 AccessDenied \(Access Denied\.\); the account"):
        archives.list(FOLDER)


def test_an_object_that_is_replaced_while_it_is_read_is_no_mixture_of_both(
    archives: Archives, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_module, "RANGE_BYTES", 1000)
    put(archives)
    with archives.open(NAME) as file:
        file.read(10)
        put(archives, content=OTHER, replaces=SHA256)
        with pytest.raises(ChangedFile):
            file.read()


def test_bytes_that_differ_from_the_manifest_are_never_returned(archives: Archives) -> None:
    put(archives, content=OTHER)
    with pytest.raises(ChangedFile), archives.local(NAME, SHA256):
        pass
    assert archives.work_folder("..").exists()


def test_a_text_is_put_when_it_changes(
    archives: Archives, elsewhere: Archives, served_s3: Proxy
) -> None:
    name = f"{FOLDER}/LICENSES.md"
    assert archives.put_text(name, "CC BY")
    assert not archives.put_text(name, "CC BY")
    assert archives.put_text(name, "CC0")
    assert elsewhere.open(name).read() == b"CC0"
    assert archives.put_text(name, "")
    assert not archives.put_text(name, "")
    assert [request.method for request in served_s3.seen].count("PUT") == 2
    with pytest.raises(FileNotFoundError):
        elsewhere.head(name)


# --- What is refused ------------------------------------------------------------------------------


def test_an_account_that_may_not_write_is_named(
    archives: Archives, elsewhere: Archives, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(elsewhere)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "reader")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_servers.secret_of("reader"))
    assert archives.sha256(NAME) == SHA256
    with pytest.raises(StorageError, match=r"403 AccessDenied .* AWS_ACCESS_KEY_ID may not"):
        put(archives, name=f"{FOLDER}/1.3.zip")


def test_an_account_that_may_not_list_can_read(
    archives: Archives,
    elsewhere: Archives,
    served_s3: Proxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put(elsewhere)
    served_s3.reset()
    # Amazon does not tell such an account that a name is not there.
    served_s3.faults.append(Fault("status", lambda request: ".absent" in request.path, times=9))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "getter")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_servers.secret_of("getter"))
    assert [archives.sha256(NAME) for _ in range(2)] == [SHA256] * 2
    with archives.local(NAME, SHA256) as path:
        assert path.read_bytes() == CONTENT
    assert sum(".absent" in request.path for request in served_s3.seen) == 1  # once a process
    with pytest.raises(StorageError, match=r"403 AccessDenied .* AWS_ACCESS_KEY_ID may not"):
        archives.list(FOLDER)


def test_a_wrong_secret_is_named_and_not_repeated(
    archives: Archives, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wr0ng-s3cr3t")
    with pytest.raises(StorageError, match=r"SignatureDoesNotMatch.*check AWS_") as refused:
        archives.head(NAME)
    assert "wr0ng" not in str(refused.value)


def test_a_bucket_that_is_not_there_is_not_taken_for_an_empty_one(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = opened("s3://nowhere/x", tmp_path)
    with pytest.raises(StorageError, match=r"404 NoSuchBucket .*make the bucket, or correct"):
        absent.head(NAME)
    with pytest.raises(StorageError, match="NoSuchBucket"):
        absent.list(FOLDER)


def test_a_bucket_that_goes_while_zips_are_put_is_named(
    archives: Archives, served_s3: Proxy
) -> None:
    assert list(archives.list(FOLDER)) == []
    gone = Fault("status", lambda _: True, times=99, status=404, code="NoSuchBucket")
    served_s3.faults.append(gone)
    for request in (
        lambda: put(archives),
        lambda: archives.put_text(NAME, "text"),
        lambda: archives.delete(NAME),
    ):
        with pytest.raises(StorageError, match=r"404 NoSuchBucket .*make the bucket, or correct"):
            request()


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        pytest.param(404, {}, id="not found"),
        pytest.param(200, {}, id="a page"),
        pytest.param(200, PAGE_HEADERS, id="a page as of a cache"),
    ],
)
def test_a_server_that_is_no_store_is_named_and_has_no_empty_bucket(
    status: int, headers: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Such as the web page of a store, the login of a network, or a reverse proxy.
    with page_server(status, headers) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "writer")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t")
        archives = opened("s3://zips/x", tmp_path)
        for request in (
            lambda: archives.list(FOLDER),
            archives.folders,
            lambda: archives.head(NAME),
            lambda: archives.sha256(NAME),
            lambda: archives.delete(NAME),
            archives.probe,
        ):
            with pytest.raises(StorageError, match="check AWS_ENDPOINT_URL"):
                request()


def test_a_server_that_refuses_a_look_has_no_empty_bucket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with page_server(200, {}, head_status=403) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "writer")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t")
        archives = opened("s3://zips/x", tmp_path)
        for request in (lambda: archives.list(FOLDER), archives.folders):
            with pytest.raises(StorageError, match="403"):
                request()


def test_a_clock_that_is_off_is_named(archives: Archives, served_s3: Proxy) -> None:
    skewed = Fault("status", lambda _: True, times=99, code="RequestTimeTooSkewed", message="off")
    served_s3.faults.append(skewed)
    for request in (lambda: archives.head(NAME), lambda: put(archives)):
        with pytest.raises(StorageError, match="the clock of this machine is off: correct it"):
            request()


def test_a_store_opens_again_in_another_process(archives: Archives) -> None:
    put(archives)
    assert pickle.loads(pickle.dumps(archives)).sha256(NAME) == SHA256
