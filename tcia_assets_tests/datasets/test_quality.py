"""The codes of findings, and their policies."""

from __future__ import annotations

from tcia_assets.datasets.quality import (
    CHANNEL_AMBIGUOUS,
    CHANNEL_BY_TIME,
    CHANNEL_MISSING,
    CHANNEL_ZEROS,
    DEFAULT_POLICIES,
    DROP,
    KEEP,
    NOT_FETCHED,
    POLICIES,
    SAMPLE_CODES,
    WITHOUT_CLASS,
    WITHOUT_TARGET,
    has_nothing_to_keep,
)
from tcia_assets.datasets.volume.findings import FINDING_CODES


def test_each_code_has_a_meaning_and_a_default_policy() -> None:
    assert SAMPLE_CODES.keys() == FINDING_CODES.keys() | {
        NOT_FETCHED,
        WITHOUT_TARGET,
        WITHOUT_CLASS,
        *(CHANNEL_MISSING, CHANNEL_ZEROS, CHANNEL_BY_TIME, CHANNEL_AMBIGUOUS),
    }
    assert DEFAULT_POLICIES.keys() == SAMPLE_CODES.keys()
    assert set(DEFAULT_POLICIES.values()) == {DROP, KEEP} < set(POLICIES)


def test_a_sample_without_a_volume_cannot_be_kept() -> None:
    impossible = {code for code in SAMPLE_CODES if has_nothing_to_keep(code)}
    assert impossible == {
        NOT_FETCHED,
        CHANNEL_MISSING,
        "no_slices",
        "undecodable_pixels",
        "values_beyond_dtype",
        "volume_not_found",
    }
    assert {DEFAULT_POLICIES[code] for code in impossible} == {DROP}
