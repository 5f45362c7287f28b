"""The control API, `/_sandbox/...`: control the sandbox from another process with JSON.

GET  state      Series, Collections, shared lists, pending faults
GET  requests   the requests so far
POST hold, release, hide, show, withdraw, move, revise      {"uids": [...]} or {"collection": "...",
                "count": n}; release takes "day", move "to", revise "image_count"
POST share      {"name": "...", "uids": [...]}
POST faults     a fault, or a list of them; POST faults/clear
POST idc/publish          the next release of the Imaging Data Commons; takes "release", "revised",
                          "without"
POST idc/redact           {"uids": [...]}: their objects are gone
POST idc/page_size        {"objects": n} on a page of a listing
POST tokens/expire, requests/clear, reset
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from typing import Any

from tcia_assets.errors import UsageError
from tcia_assets.sandbox.archive import Archive
from tcia_assets.sandbox.authentication import Authenticator
from tcia_assets.sandbox.faults import Fault, Faults
from tcia_assets.sandbox.idc.releases import Releases
from tcia_assets.sandbox.reply import Reply, json_reply
from tcia_assets.sandbox.request_log import RequestLog
from tcia_assets.store import sql

PREFIX = "/_sandbox/"


class ControlApi:
    """Handles the requests to the control API."""

    def __init__(
        self,
        archive: Archive,
        authenticator: Authenticator,
        faults: Faults,
        request_log: RequestLog,
        releases: Releases,
    ) -> None:
        self._archive, self._faults, self._releases = archive, faults, releases
        changes = ("hold", "release", "hide", "show", "withdraw", "move", "revise")
        self._reads: dict[str, Callable[[], object]] = {
            "state": self._state,
            "requests": request_log.summary,
        }
        self._writes: dict[str, Callable[[Any], object]] = {
            **{name: self._change_handler(name) for name in changes},
            "share": lambda sent: archive.share(**sent),
            "faults": self._add_faults,
            "faults/clear": lambda _: faults.clear(),
            "tokens/expire": lambda _: authenticator.expire(),
            "requests/clear": lambda _: request_log.clear(),
            "idc/publish": lambda sent: {"release": releases.publish(**sent)},
            "idc/redact": lambda sent: {"uids": releases.redact(**sent)},
            "idc/page_size": self._set_page_size,
            "reset": lambda _: self._reset(request_log),
        }

    def __call__(self, method: str, path: str, body: bytes) -> Reply:
        name = path.removeprefix(PREFIX)
        try:
            if method == "GET" and name in self._reads:
                return json_reply(self._reads[name]())
            if method == "POST" and name in self._writes:
                return json_reply(self._writes[name](json.loads(body or b"{}")))
        except (UsageError, sql.SqlError, TypeError, ValueError) as error:
            return json_reply({"error": f"{type(error).__name__}: {error}"}, 400)
        names = [*self._reads, *self._writes]
        return json_reply({"error": f"no such path; there are {', '.join(names)}"}, 404)

    def _change_handler(self, name: str) -> Callable[[dict[str, Any]], object]:
        change = getattr(self._archive, name)

        def handle(sent: dict[str, Any]) -> object:
            if "day" in sent:
                sent["day"] = dt.date.fromisoformat(sent["day"])
            return {"uids": change(**sent)}

        return handle

    def _add_faults(self, sent: dict[str, Any] | list[dict[str, Any]]) -> object:
        self._faults.add(*map(Fault.from_json, sent if isinstance(sent, list) else [sent]))
        return {"due": len(self._faults)}

    def _set_page_size(self, sent: dict[str, Any]) -> object:
        self._releases.page_size = int(sent["objects"])
        return {"objects": self._releases.page_size}

    def _reset(self, request_log: RequestLog) -> None:
        self._archive.reset()
        self._releases.reset()
        self._faults.clear()
        request_log.clear()

    def _state(self) -> object:
        collections = self._archive.rows(
            "SELECT Collection AS name, count(*) FILTER (state = 'visible') AS visible, "
            "count(*) FILTER (state = 'hidden') AS hidden "
            "FROM archive.everything GROUP BY ALL ORDER BY ALL"
        )
        return {
            "source": self._archive.source,
            "collections": collections,
            "shared_lists": {name: len(uids) for name, uids in self._archive.lists.items()},
            "faults": list(self._faults.pending()),
            "idc_releases": list(self._releases.releases),
        }
