"""Where the images of a dataset are from: TCIA, or folders that were imported, or both."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from tcia_assets.metadata.citations import ARCHIVE


class Origin(StrEnum):
    """Where the Series of a dataset are from, as texts name it."""

    TCIA = ARCHIVE
    FOLDER = "a folder that was imported"
    BOTH = f"{ARCHIVE} and of folders that were imported"

    @classmethod
    def of(cls, imported_from: Iterable[str | None]) -> Origin:
        """Return the origin of Series.

        Args:
            imported_from: That column of `cohort.SERIES`.
        """
        is_imported = {bool(each) for each in imported_from}
        if is_imported == {True}:
            return cls.FOLDER
        return cls.BOTH if True in is_imported else cls.TCIA

    @property
    def has_tcia(self) -> bool:
        """Whether TCIA has some of the Series."""
        return self is not Origin.FOLDER

    @property
    def advice(self) -> str:
        """Whom to ask about Series without a licence."""
        owner = "whoever owns the data"
        return {Origin.TCIA: "TCIA", Origin.FOLDER: owner}.get(self, f"TCIA, or {owner},")
