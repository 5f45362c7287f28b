"""What requests to an S3 store need of the environment, and what its errors become."""

from __future__ import annotations

import pytest
from obstore.exceptions import GenericError, PreconditionError

from tcia_assets.errors import StorageError, UsageError
from tcia_assets.store.archives import requests
from tcia_assets.store.archives.requests import connect, s3_errors, writer_timeout

REFUSED = (
    "Generic S3 error: Error performing PUT http://h/b/k in 1ms - Server returned non-2xx status "
    "code: {status}: <?xml?><Error><Code>{code}</Code><Message>{message}</Message></Error>\n\n"
    "Debug source:\nsk-s3cr3t"
)


@pytest.mark.parametrize(
    ("status", "code", "message", "says"),
    [
        ("403 Forbidden", "AccessDenied", "No.", r"403 AccessDenied \(No\.\); the account of AWS_"),
        ("404 Not Found", "NoSuchBucket", "x", "make the bucket, or correct TCIA_ARCHIVES_URL"),
        ("301 Moved", "PermanentRedirect", "x", "set AWS_REGION"),
        ("403 Forbidden", "RequestTimeTooSkewed", "x", "the clock of this machine is off"),
        ("400 Bad", "Other", "the server&#39;s&#10;time", r"\(the server's\\ntime\)"),
        ("507 Full", "Other", "for sk-s3cr3t", r"507 Other \(for \*\*\*\); the store fails; try"),
    ],
)
def test_an_answer_becomes_what_it_says_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, status: str, code: str, message: str, says: str
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "sk-s3cr3t")
    text = REFUSED.format(status=status, code=code, message=message)
    with pytest.raises(StorageError, match=says) as error, s3_errors("s3://b/k"):
        raise GenericError(text)
    assert str(error.value).startswith("s3://b/k: the store answered ")
    assert "s3cr3t" not in str(error.value)


def test_conflicts_and_files_that_are_not_there_pass() -> None:
    with pytest.raises(PreconditionError), s3_errors("s3://b/k"):
        raise PreconditionError
    with pytest.raises(FileNotFoundError), s3_errors("s3://b/k"):
        raise FileNotFoundError


def test_an_endpoint_where_nothing_answers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "RETRY_S", 0.1)
    for name, value in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StorageError, match="check AWS_ENDPOINT_URL"), s3_errors("s3://zips/k"):
        connect("zips", "").head("k")


def test_images_go_unencrypted_to_this_machine_or_where_that_is_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for url in ("http://localhost:1", "http://127.0.0.2:1", "http://[::1]:1", "https://far"):
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        connect("zips", "")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://far.example:1")
    with pytest.raises(UsageError, match=r"far\.example is not this machine: use https://, or set"):
        connect("zips", "")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    connect("zips", "")


def test_a_large_object_has_more_time_and_there_are_few_times() -> None:
    assert writer_timeout(1) == 240
    assert writer_timeout(5 << 30) > (5 << 30) / (256 << 10)
    assert len({writer_timeout(size << 20) for size in range(5000)}) < 7
