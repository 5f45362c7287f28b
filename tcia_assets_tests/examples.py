"""How many examples Hypothesis tries: mostly a fifth in `make test`, all in `make test-all`."""

from __future__ import annotations

import os

THOROUGH = bool(os.environ.get("THOROUGH"))


def examples(number: int, part: int = 5) -> int:
    """Return how many of so many examples are tried now: one of so many in `make test`."""
    return number if THOROUGH else max(number // part, 4)
