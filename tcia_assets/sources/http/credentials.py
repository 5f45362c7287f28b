"""Credentials of requests: none, as here, or what a source derives from it.

Secrets are added to headers, never to a URL, and are removed from every text that leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tcia_assets.errors import RemoteError

# Posts a form to a URL and returns the JSON object of the reply.
PostForm = Callable[[str, dict[str, str]], Mapping[str, object]]

# Shortest secret prefix worth redacting.
_SHORTEST_PREFIX = 3


class Credentials:
    """No credentials: for servers that are open to everyone."""

    # The headers that carry secrets; they must not follow a redirect to another host.
    headers: tuple[str, ...] = ()

    def sign(self, request: Any) -> Any:
        """Return the request with credentials in its headers."""
        return request

    def may_have_expired(self, error: RemoteError) -> bool:
        """Return whether new credentials could prevent that error."""
        del error
        return False

    def renew(self) -> None:
        """Drop the credentials of the calling thread's last request, if they can expire."""

    def redact(self, text: str) -> str:
        """Replace each secret that a server may have repeated in its reply."""
        for secret in self._secrets():
            text = text.replace(secret, "***")
            # An excerpt may end in the middle of a secret.
            for length in range(len(secret) - 1, _SHORTEST_PREFIX - 1, -1):
                if text.endswith(secret[:length]):
                    text = text[:-length] + "***"
                    break
        return text

    def _secrets(self) -> list[str]:
        return []
