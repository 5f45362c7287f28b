"""Where the checkout is: documents, examples and data that tests hold against the code."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
