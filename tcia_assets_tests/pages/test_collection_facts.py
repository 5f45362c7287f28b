"""The facts of a Collection as values: added up, and saved beside its page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tcia_assets.pages.collection_facts import CollectionFacts, Share, merge_shares
from tcia_assets.pages.collections import read_collections
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import SMALL


def test_spellings_of_one_value_are_one_share() -> None:
    shares = [Share(value=v, series=n) for v, n in (("GE", 5), ("Siemens", 3), ("SIEMENS", 4))]
    assert merge_shares(shares) == (Share(value="SIEMENS", series=7), Share(value="GE", series=5))


def test_facts_survive_being_saved(mirror: Warehouse) -> None:
    [facts] = read_collections(mirror, [SMALL])
    assert CollectionFacts.model_validate_json(facts.model_dump_json()).shares == facts.shares
    assert timedelta(0) <= datetime.now(UTC).date() - facts.days[0].day
