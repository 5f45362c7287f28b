"""The facts of Series on disk."""

from __future__ import annotations

from tcia_assets.datasets.pairing import find_pairs
from tcia_assets.pages.series import add_pairs, changed_values, read_series, target_names
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.conftest import SMALL


def test_facts_are_of_series_with_a_zip(mirror: Warehouse) -> None:
    found = read_series(mirror, SMALL)
    on_disk = mirror.query("SELECT SeriesInstanceUID AS uid FROM image_archives ORDER BY uid")
    assert list(found) == on_disk["uid"].to_pylist()
    facts = next(iter(found.values()))
    names = {name: value for name, value, _ in facts.attributes}
    assert names["SeriesInstanceUID"] == facts.uid and names["Modality"] == "RTSTRUCT"
    proof = {name: value for name, value, _ in facts.provenance}
    assert proof["sha256"] == facts.zip.sha256 and proof["verified_by"] == "md5"
    assert [event["event"] for event in facts.events] == ["added", "fetched"]
    assert [target["target_name"] for target in facts.targets] == ["Body", "Lesion"]
    assert len(facts.objects) == 1 and facts.zip.middle_entry is None


def test_the_middle_object_is_known_by_its_number(fetched_mirror: Warehouse) -> None:
    found = read_series(fetched_mirror, SMALL)
    facts = next(each for each in found.values() if each.modality == "CT")
    numbers = fetched_mirror.query(
        "SELECT InstanceNumber AS number, entry_name AS name FROM images "
        "WHERE SeriesInstanceUID = $uid ORDER BY number, name",
        {"uid": facts.uid},
    )["name"].to_pylist()
    assert facts.zip.middle_entry == numbers[len(numbers) // 2]
    place = facts.zip.slice_number, facts.zip.slice_count
    assert place == (len(numbers) // 2 + 1, len(numbers))
    assert ("Rows", "64") in [(name, value) for name, value, _ in facts.acquisition]


def test_masks_and_images_know_each_other(fetched_mirror: Warehouse) -> None:
    found = read_series(fetched_mirror, SMALL)
    masks = [uid for uid, facts in found.items() if facts.modality == "RTSTRUCT"]
    add_pairs(found, find_pairs(fetched_mirror, masks))
    for uid in masks:
        [image] = found[uid].images
        assert found[image].masks == [uid] and found[image].modality == "CT"
    # The outline of the body would hide the lesion.
    assert target_names([found[masks[0]]]) == ["Lesion", "Body"]


def test_a_mask_whose_image_is_not_on_disk_lacks_it(mirror: Warehouse) -> None:
    found = read_series(mirror, SMALL)
    add_pairs(found, find_pairs(mirror, list(found)))
    assert found and all(facts.lacks_image for facts in found.values())


def test_a_change_event_gives_old_and_new_values() -> None:
    event = {
        "event": "changed",
        "changed_columns": ["ImageCount"],
        "before": '{"ImageCount": 3}',
        "after": '{"ImageCount": 4}',
    }
    assert list(changed_values(event)) == [("ImageCount", "3", "4")]
    moved = {"event": "moved", "changed_columns": None, "before": None, "after": '{"moved_to":"X"}'}
    assert list(changed_values(moved)) == [("Collection", "", "X")]
