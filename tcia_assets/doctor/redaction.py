"""Leave out of a text what does not belong in a bug report: secrets, and names of users."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote

from tcia_assets.settings import Settings
from tcia_assets.store.archives import SECRET_VARIABLES

_HIDDEN = "***"
_SHORTEST_SECRET = 3
_USER_IN_URL = re.compile(r"(?<=://)[^/\s@'\"]+@")
_HOMES = re.compile(r"(?<![\w.~])/(home|Users)/[^/\s'\":;,]+")


class Redaction:
    """Rewrites texts: no secret of the settings, no user in a URL, no name of a user in a path.

    Args:
        settings: Have the secrets.
        user: The name of the user that runs this process, "" if it is not known.
        home: The user's home, which becomes `~`.
    """

    def __init__(self, settings: Settings, user: str, home: Path) -> None:
        secrets = [settings.password, settings.api_key, settings.username]
        secrets += [os.environ.get(name, "") for name in SECRET_VARIABLES]
        plain = [each for each in secrets if len(each) >= _SHORTEST_SECRET]
        # The longest first, in case one is a part of another.
        forms = {form for each in plain for form in (each, quote(each, safe=""), repr(each)[1:-1])}
        self._secrets = sorted(forms, key=len, reverse=True)
        at_home = re.escape(str(home).rstrip("/"))
        self._home = re.compile(rf"(?<![\w.~/]){at_home}(?=/|[^\w.-]|$)") if at_home else None
        self._user = re.compile(rf"(?<=/){re.escape(user)}(?=/|[^\w.-]|$)") if user else None

    def __call__(self, text: str) -> str:
        """Return the text without them."""
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        text = _USER_IN_URL.sub("", text)
        if self._home:
            text = self._home.sub("~", text)
        text = _HOMES.sub(r"/\1/USER", text)
        return self._user.sub("USER", text) if self._user else text
