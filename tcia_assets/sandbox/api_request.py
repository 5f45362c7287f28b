"""A request to an endpoint, and the check of its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from tcia_assets.sandbox.endpoints import ServedEndpoint
from tcia_assets.sandbox.reply import RequestRefused, missing_parameter, unknown_parameter


@dataclass(frozen=True)
class ApiRequest:
    """A request to an endpoint.

    Args:
        served: The endpoint.
        parameters: The query parameters or form fields, by the name that was sent.
        headers: The HTTP headers.
        number: Counts all requests; the order of rows and of zip entries depends on it.
    """

    served: ServedEndpoint
    parameters: Mapping[str, str]
    headers: Mapping[str, str]
    number: int = 0

    @cached_property
    def values(self) -> dict[str, str]:
        """The values of the endpoint's own parameters, by our name of each."""
        sent, declared = self.parameters, self.served.endpoint.parameters
        return {p.name: sent[p.wire_name] for p in declared if p.wire_name in sent}

    @property
    def format(self) -> str:
        """The requested format in lower case; the endpoint's default where none was sent."""
        default = self.served.default_format
        sent = self.parameters.get("format", default) if self.served.endpoint.formats else default
        # A default of csv-download also stands for a requested csv.
        return default if default.startswith(f"{sent.lower()}-") else sent.lower()

    @property
    def series_uid(self) -> str:
        """The SeriesInstanceUID that was sent, or ""."""
        return self.values.get("SeriesInstanceUID", "").rstrip(" ")

    @property
    def sop_instance_uid(self) -> str:
        """The SOPInstanceUID that was sent, or ""."""
        return self.values.get("SOPInstanceUID", "").rstrip(" ")

    def check_parameters(self) -> None:
        """Check for unknown and missing parameters, as far as the server does.

        Raises:
            RequestRefused: With the server's error message.
        """
        endpoint = self.served.endpoint
        if self.served.rejects_unknown_parameters:
            accepted = {p.wire_name for p in endpoint.parameters}
            accepted |= {"format"} if endpoint.formats else set()
            for name in self.parameters:
                if name not in accepted:
                    raise RequestRefused(unknown_parameter(endpoint, name, accepted))
        required = {p.name for p in endpoint.parameters if p.required}
        if self.served.missing_parameter_message and not required <= set(self.values):
            raise RequestRefused(missing_parameter(self.served))
