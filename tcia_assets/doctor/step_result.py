"""What a step of an examination saw, whether it is as this package believes, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

OK, DIFFERS, UNKNOWN = "ok", "differs", "unknown"


@dataclass(frozen=True)
class StepResult:
    """The result of one step.

    Attributes:
        name: What was looked at.
        outcome: OK, DIFFERS or UNKNOWN. A failure of the source is DIFFERS; UNKNOWN is what was not
            checked, or what an answer does not show.
        seen: What was seen.
        advice: What to do about it; "" for nothing.
    """

    name: str
    outcome: str
    seen: str
    advice: str = ""

    def rewritten(self, rewrite: Callable[[str], str]) -> StepResult:
        """Return this result with its texts rewritten."""
        return replace(self, seen=rewrite(self.seen), advice=rewrite(self.advice))


def ok(name: str, seen: str, advice: str = "") -> StepResult:
    """Return the result for something that is as it should be."""
    return StepResult(name, OK, seen, advice)


def differs(name: str, seen: str, advice: str) -> StepResult:
    """Return the result for something that is not as this package believes."""
    return StepResult(name, DIFFERS, seen, advice)


def unknown(name: str, seen: str, advice: str = "") -> StepResult:
    """Return the result for something that nothing is known about."""
    return StepResult(name, UNKNOWN, seen, advice)


def join_names(names: list[str] | tuple[str, ...], most: int = 6) -> str:
    """Join the first names, followed by the number of the others.

    >>> join_names(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    left = len(names) - most
    return ", ".join(names[:most]) + (f" and {left} more" if left > 0 else "")
