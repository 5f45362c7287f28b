"""The connection, over the sandbox and over servers that answer like none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tcia_assets.doctor.source_checks import connection_steps, judge_clock, judge_tls, limits_step
from tcia_assets.doctor.step_result import DIFFERS, OK, UNKNOWN
from tcia_assets.doctor.steps import look
from tcia_assets.doctor.subject import Subject
from tcia_assets.sandbox.faults import Fault
from tcia_assets.sandbox.server import Sandbox
from tcia_assets.sources import Connection
from tcia_assets_tests.conftest import SMALL, settings_for
from tcia_assets_tests.doctor.conftest import HASTY, MakeSubject, Serve, check_of, settings_of
from tcia_assets_tests.sources.scripted import HANGING, RESET, Answer, answer, in_turn


def connection(**facts: object) -> Connection:
    usual: dict[str, object] = {
        "host": "archive.org",
        "address": "192.0.2.1:443",
        "proxy": "",
        "tls": "TLSv1.3",
        "certificate_until": None,
        "status": 200,
        "seconds": 0.1,
        "server_time": None,
    }
    return Connection(**(usual | facts))  # type: ignore[arg-type]


def test_a_source_that_is_reached_is_described(subject: Subject) -> None:
    steps = connection_steps(subject)
    checks = [look(step) for step in steps]
    assert [(check.name, check.outcome) for check in checks] == [
        ("connection", OK), ("tls", OK), ("proxy", OK), ("clock", OK)
    ]  # fmt: skip
    assert "status 200" in checks[0].seen


@pytest.mark.parametrize("status", [401, 404, 500, 503])
def test_any_status_is_an_answer(status: int, serve: Serve, subject_of: MakeSubject) -> None:
    subject = subject_of(settings_of(serve(answer("", status))))
    check = check_of(connection_steps(subject), "connection")
    assert (check.outcome, f" answers with status {status} after " in check.seen) == (OK, True)


@pytest.mark.parametrize(
    ("reply", "seen"), [(HANGING, "read time-out"), (RESET, "connection was cut")]
)
def test_no_answer_differs_and_leaves_the_rest_unknown(
    reply: Answer, seen: str, serve: Serve, subject_of: MakeSubject
) -> None:
    server = serve(reply)
    steps = connection_steps(subject_of(settings_of(server), pacing=HASTY))
    checks = [look(step) for step in steps]
    assert [check.outcome for check in checks] == [DIFFERS, UNKNOWN, UNKNOWN, UNKNOWN]
    assert seen in checks[0].seen and "HTTPS_PROXY" in checks[0].advice
    assert len(server.asked) <= 2  # the HTTP library repeats what was cut before an answer


def test_a_source_that_answers_once_and_no_more_differs(
    serve: Serve, subject_of: MakeSubject
) -> None:
    steps = connection_steps(subject_of(settings_of(serve(in_turn(answer("[]"), RESET)))))
    assert check_of(steps, "connection").outcome == DIFFERS


def test_a_host_without_an_address_is_named(subject_of: MakeSubject, sandbox: Sandbox) -> None:
    settings = settings_for(sandbox, Path("unused"))
    unknown_host = settings.replace(base_url="http://archive.invalid/nbia-api/services/v4")
    check = check_of(connection_steps(subject_of(unknown_host)), "connection")
    assert check.outcome == DIFFERS
    assert "no response from archive.invalid: the name of the host is unknown" in check.seen


def test_the_proxy_of_the_environment_is_seen_and_used(
    serve: Serve, subject_of: MakeSubject, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(answer('[{"Collection":"A"}]'))
    monkeypatch.setenv("http_proxy", proxy.url.replace("//", "//jane:s3cr3t@"))
    settings = settings_for(sandbox, Path("unused"))
    far = settings.replace(base_url="http://archive.invalid/nbia-api/services/v4")
    check = check_of(connection_steps(subject_of(far)), "proxy")
    assert check.seen == f"used: {proxy.url}; set in the environment: HTTP_PROXY"
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    check = check_of(connection_steps(subject_of(settings)), "proxy")
    assert check.seen == "none is used; set in the environment: HTTP_PROXY, NO_PROXY"


def test_tls_that_is_about_to_expire_or_absent_where_a_secret_is_sent_differs() -> None:
    now = datetime.now(UTC)
    until = {days: now + timedelta(days=days) for days in (3, 60)}
    assert judge_tls(connection(certificate_until=until[60]), has_secret=True).outcome == OK
    assert judge_tls(connection(certificate_until=until[3]), has_secret=False).outcome == DIFFERS
    plain = connection(tls="")
    assert judge_tls(plain, has_secret=False).outcome == OK
    assert judge_tls(plain, has_secret=True).outcome == DIFFERS
    assert judge_tls(connection(tls="", address="[::1]:80"), has_secret=True).outcome == OK


def test_a_clock_that_is_wrong_by_minutes_differs() -> None:
    now = datetime.now(UTC)
    assert judge_clock(connection(server_time=now - timedelta(minutes=2))).outcome == OK
    assert judge_clock(connection(server_time=now + timedelta(hours=1))).outcome == DIFFERS
    assert judge_clock(connection()).outcome == UNKNOWN


def test_declared_limits_are_told(serve: Serve, subject_of: MakeSubject) -> None:
    server = serve(answer("[]", X_RateLimit_Limit="60"))
    check = look(limits_step(subject_of(settings_of(server))))
    assert (check.outcome, "X-RateLimit-Limit: 60" in check.seen) == (OK, True)


def test_a_source_that_refuses_eight_requests_at_once_has_a_limit(
    subject: Subject, sandbox: Sandbox
) -> None:
    sandbox.faults.add(Fault("status", "getSeriesSize", status=429))
    assert subject.collection.get() == SMALL
    with pytest.raises(Exception, match="429"):
        subject.sizes.get()
    check = look(limits_step(subject))
    assert (check.outcome, "slowed down to 4 requests" in check.seen) == (DIFFERS, True)
    assert "TCIA_MAX_CONNECTIONS to 4" in check.advice
