"""Requests in a dialect: which server and endpoint, and how the parameters are spelled.

A request that a dialect does not support is refused before it is sent: servers ignore a parameter
that they do not have, and then return everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from tcia_assets.catalog import FORMATS, SHARED_LISTS
from tcia_assets.errors import UnknownReply, UsageError, require_known
from tcia_assets.settings import Settings
from tcia_assets.spec import Dialect, Endpoint


@dataclass(frozen=True)
class Request:
    """One request; `form` is the format in which its rows are sent."""

    dialect: Dialect
    endpoint: Endpoint
    url: str
    parameters: dict[str, str]
    form: str

    @property
    def name(self) -> str:
        return self.endpoint.name

    def empty_reply(self) -> UnknownReply:
        """Return the error for an empty reply where something was expected."""
        problem = f"{self.name}: empty reply (zero bytes or no rows); the reason is unknown"
        return UnknownReply(problem, url=self.url)


class RequestBuilder:
    """Build requests for the server and dialect of the settings.

    Args:
        settings: URLs and dialect.
        form: The format of rows: "json", or "csv", "xml", "html" for a cross-check.
    """

    def __init__(self, settings: Settings, form: str) -> None:
        require_known("format", [form], FORMATS)
        self._settings, self._form = settings, form

    def build(self, name: str, filters: Mapping[str, str | date], *answers: str) -> Request:
        """Build a request to endpoint `name`, which must return one of `answers`."""
        dialect, base = self.server_of(name)
        endpoint = dialect.endpoint(name)
        if endpoint.returns not in answers:
            problem = f"{name} returns {endpoint.returns}, not {' or '.join(answers)}"
            raise UsageError(problem)
        parameters = _spell(endpoint, filters)
        form = self._form if self._form in endpoint.formats else "json"
        if endpoint.formats:
            parameters["format"] = form
        return Request(dialect, endpoint, f"{base}/{endpoint.path}", parameters, form)

    def server_of(self, name: str) -> tuple[Dialect, str]:
        """Return the dialect and the base URL that serve an endpoint."""
        settings, dialect = self._settings, self._settings.api
        is_shared_list = name == SHARED_LISTS.endpoint and settings.shared_list_url
        if name in dialect.delegated_endpoints or is_shared_list:
            return settings.shared_lists_api, settings.shared_lists_url
        return dialect, settings.url


def _spell(endpoint: Endpoint, filters: Mapping[str, str | date]) -> dict[str, str]:
    """Return the query parameters in the dialect's spelling and date format."""
    missing = [p.name for p in endpoint.parameters if p.required and p.name not in filters]
    if missing:
        raise UsageError(f"{endpoint.name} needs {' and '.join(missing)}")
    sent = dict(endpoint.fixed_parameters)
    for name, value in filters.items():
        spelling = endpoint.parameter(name).wire_name  # first, for a filter that it does not have
        sent[spelling] = _format(endpoint, name, value)
    return sent


def _format(endpoint: Endpoint, name: str, value: str | date) -> str:
    # Servers do not refuse a date of another format or an empty value: they list all or nothing.
    if isinstance(value, date) != (name == "since"):
        noun = "a date" if name == "since" else "a text"
        raise UsageError(f"{endpoint.name}: {name} must be {noun}, not {value!r}")
    if isinstance(value, date):
        return value.strftime(endpoint.since_format)
    if not value.strip():
        raise UsageError(f"{endpoint.name}: {name} is empty")
    return value
