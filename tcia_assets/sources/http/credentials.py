"""Base class of credentials: sends none. A source's subclass signs requests.

Secrets are added to headers, never to a URL, and are removed from every text that leaves.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from tcia_assets.errors import RemoteError

# Posts a form to a URL and returns the JSON object of the reply.
PostForm = Callable[[str, dict[str, str]], Mapping[str, object]]

# Shortest secret prefix worth redacting.
_SHORTEST_PREFIX = 3
_URL_SAFE = str.maketrans("+/", "-_")


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

    def are_in(self, text: str) -> bool:
        """Return whether a text has a secret, as it is or encoded."""
        return any(form in text for each in self._secrets() for form in _forms(each))

    def redact(self, text: str) -> str:
        """Replace each secret that a server may have repeated, as it is or encoded."""
        for secret in (form for each in self._secrets() for form in _forms(each)):
            text = text.replace(secret, "***")
            # An excerpt may end in the middle of a secret.
            for length in range(len(secret) - 1, _SHORTEST_PREFIX - 1, -1):
                if text.endswith(secret[:length]):
                    text = text[:-length] + "***"
                    break
        return text

    def _secrets(self) -> list[str]:
        return []


def _forms(secret: str) -> list[str]:
    """Return a secret as texts may have it: plain, percent-encoded, escaped, in Base64."""
    forms = [secret, quote(secret, safe=""), quote_plus(secret), repr(secret)[1:-1]]
    # In Base64 it has three forms, by its place in the text that was encoded. The characters at its
    # ends may depend on its neighbours, so they are left out.
    raw = secret.encode()
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + raw).decode()
        bits = 8 * (before + len(raw))
        inner = encoded[-(-8 * before // 6) : bits // 6]
        if len(inner) > _SHORTEST_PREFIX:
            forms += [inner, inner.translate(_URL_SAFE)]
    return [*dict.fromkeys(form for form in forms if form)]
