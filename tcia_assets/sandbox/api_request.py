"""A request to an endpoint, and whether its parameters are ones that the dialect takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from tcia_assets.sandbox.reply import RequestRefused, missing_parameter, unknown_parameter
from tcia_assets.spec import Dialect, Endpoint


@dataclass(frozen=True)
class ApiRequest:
    """A request to an endpoint. `number` counts all requests; orders depend on it."""

    dialect: Dialect
    endpoint: Endpoint
    parameters: Mapping[str, str]
    headers: Mapping[str, str]
    number: int = 0

    @cached_property
    def values(self) -> dict[str, str]:
        """What was sent for each parameter of the endpoint, by our name of it."""
        sent = self.parameters
        return {p.name: sent[p.wire_name] for p in self.endpoint.parameters if p.wire_name in sent}

    @property
    def format(self) -> str:
        """The format asked for, in lower case; what none stands for is the endpoint's own."""
        default = self.endpoint.default_format
        sent = self.parameters.get("format", default) if self.endpoint.formats else default
        # Where CSV comes unasked as a download, it comes so when asked for, too.
        return default if default.startswith(f"{sent.lower()}-") else sent.lower()

    @property
    def series(self) -> str:
        return self.values.get("SeriesInstanceUID", "").rstrip(" ")

    @property
    def sop(self) -> str:
        return self.values.get("SOPInstanceUID", "").rstrip(" ")

    def check_parameters(self) -> None:
        """Let the request pass: strict endpoints take no other parameter, most miss required ones.

        Raises:
            RequestRefused: with the sentence that the dialect has for it.
        """
        endpoint = self.endpoint
        if endpoint.is_strict:
            taken = {p.wire_name for p in endpoint.parameters}
            taken |= {"format"} if endpoint.formats else set()
            for name in self.parameters:
                if name not in taken:
                    raise RequestRefused(unknown_parameter(endpoint, name, taken))
        needed = {p.name for p in endpoint.parameters if p.required}
        if endpoint.missing and not needed <= set(self.values):
            raise RequestRefused(missing_parameter(self.dialect, endpoint))
