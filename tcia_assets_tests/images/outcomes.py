"""The tables of docs/reliability.md, which the tests compare with what happens."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tcia_assets_tests.repository import ROOT

DOCUMENT = ROOT / "docs" / "reliability.md"
# Stands for any text in the document: names, numbers and addresses differ from run to run.
_ANYTHING = "…"


@dataclass(frozen=True)
class Outcome:
    """The outcome of one failure, as the document describes it."""

    statuses: tuple[str, ...]
    words: str
    on_disk: str

    @property
    def is_completed_at_once(self) -> bool:
        """Whether single images complete the zip within the same run."""
        return self.statuses[0] == "complete"

    @property
    def status(self) -> str:
        return self.statuses[-1]

    @property
    def is_quarantined(self) -> bool:
        return "quarantine" in self.on_disk

    def demand_said_in(self, text: str | None) -> None:
        pieces = (re.escape(piece.strip()) for piece in self.words.split(_ANYTHING))
        assert re.search(".*".join(pieces), text or ""), (self.words, text)


def _outcomes() -> dict[str, Outcome]:
    rows = [line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if "|" in line]
    cells = [[cell.strip() for cell in row.strip("| ").split(" | ")] for row in rows]
    return {row[0]: _outcome(row[1], row[2]) for row in cells if row[1].startswith("`")}


def _outcome(seen: str, on_disk: str) -> Outcome:
    statuses, _, words = seen.partition(": ")
    return Outcome(tuple(re.findall("`([^`]+)`", statuses)), words, on_disk)


OUTCOMES = _outcomes()
