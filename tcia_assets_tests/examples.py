"""How many examples Hypothesis tries: a fifth in `make test`, all in `make test-all`."""

from __future__ import annotations

import os

THOROUGH = bool(os.environ.get("THOROUGH"))


def examples(number: int) -> int:
    """Return how many of so many examples are tried now."""
    return number if THOROUGH else max(number // 5, 4)
