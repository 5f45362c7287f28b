"""A fixture for the tests of lists in zips."""

from __future__ import annotations

from tcia_assets_tests.images.acceptance.conftest import write_zip

__all__ = ["write_zip"]
