"""The connection to the source: the name of its host, TLS, the proxy, the clock, and limits."""

from __future__ import annotations

import ipaddress
import os
from datetime import UTC, datetime, timedelta

from tcia_assets.doctor.step_result import StepResult, differs, ok, unknown
from tcia_assets.doctor.steps import NotChecked, Step
from tcia_assets.doctor.subject import Subject
from tcia_assets.errors import ArchiveUnreachable
from tcia_assets.settings import variable
from tcia_assets.sources import Connection
from tcia_assets.units import format_bytes

_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")
_LEAST_DAYS = timedelta(days=7)
# Withdrawals and plans compare days and hours with the source's.
_MOST_SKEW = timedelta(minutes=10)


def connection_steps(subject: Subject) -> list[Step]:
    """Return the steps about the connection, in the order in which they are to be taken."""
    return [
        Step("connection", lambda: _connection(subject)),
        Step("tls", lambda: judge_tls(subject.connection.need(), has_secret=_has_secret(subject))),
        Step("proxy", lambda: _proxy(subject)),
        Step("clock", lambda: judge_clock(subject.connection.need())),
    ]


def limits_step(subject: Subject) -> Step:
    """Return the step about limits, which is to be the last one."""
    return Step("limits", lambda: _limits(subject))


def _connection(subject: Subject) -> StepResult:
    try:
        first, later = subject.connection.get(), subject.source.connect()
    except ArchiveUnreachable as error:
        advice = "check the network, the firewall and HTTPS_PROXY, and try again later"
        return differs("connection", str(error), advice)
    is_named = first.address not in {"", first.host}
    where = f"{first.host} at {first.address}" if is_named else first.host
    times = f"after {first.seconds:.2f} s, then after {later.seconds:.2f} s"
    return ok("connection", f"{where} answers with status {first.status} {times}")


def _has_secret(subject: Subject) -> bool:
    settings = subject.source.settings
    return settings.source == "nbia" and settings.api.auth != "none"


def judge_tls(found: Connection, *, has_secret: bool) -> StepResult:
    """Return the check of TLS; `has_secret` is whether an account or a key is sent."""
    if not found.tls:
        if has_secret and not _is_loopback(found.address):
            problem = "none: account or key are sent without encryption"
            return differs("tls", problem, "use a URL that begins with https:")
        return ok("tls", "none: the URL begins with http:")
    if found.certificate_until is None:
        return ok("tls", found.tls)
    seen = f"{found.tls}, certificate valid until {found.certificate_until:%Y-%m-%d}"
    if found.certificate_until - datetime.now(UTC) < _LEAST_DAYS:
        return differs("tls", seen, "tell the source's help desk: it is about to expire")
    return ok("tls", seen)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.rpartition(":")[0].strip("[]")).is_loopback
    except ValueError:
        return False


def _proxy(subject: Subject) -> StepResult:
    names = [name for name in _PROXIES if os.environ.get(name) or os.environ.get(name.lower())]
    is_set = f"set in the environment: {', '.join(names)}" if names else "none is set"
    try:
        used = subject.connection.need().proxy
    except NotChecked:
        return unknown("proxy", is_set, "if this network needs one, set HTTPS_PROXY")
    return ok("proxy", f"used: {used}; {is_set}" if used else f"none is used; {is_set}")


def judge_clock(found: Connection) -> StepResult:
    """Return the check of the difference between two clocks."""
    if found.server_time is None:
        return unknown("clock", "the source does not tell its time")
    skew = abs(datetime.now(UTC) - found.server_time)
    seen = f"{skew.total_seconds():.0f} s from the source's"
    if skew > _MOST_SKEW:
        return differs("clock", seen, "set this machine's clock: days and hours are compared")
    return ok("clock", seen)


def _limits(subject: Subject) -> StepResult:
    declared, settings = subject.connection.need().limits, subject.source.settings
    field = "idc_connections" if settings.source == "idc" else "max_connections"
    most, now, name = getattr(settings, field), subject.source.connections, variable(field)
    rate = settings.max_bytes_per_second
    own = f"{name} is {most}" + (f", {format_bytes(rate)} a second" if rate else "")
    seen = f"{own}; the source declares {'; '.join(declared) if declared else 'none'}"
    if now < most:
        advice = f"set {name} to {now}, or run it again when the source is less busy"
        problem = f"slowed down to {now} requests at once, after a refusal or no answer; {seen}"
        return differs("limits", problem, advice)
    return ok("limits", seen)
