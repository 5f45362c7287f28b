"""What is read again for `references` follows from what `images` has of the zips."""

from __future__ import annotations

from tcia_assets.images.headers.reference_plan import ReferencePlan, plan_references
from tcia_assets_tests.images.headers.zip_warehouse import (
    COLLECTION,
    FIRST,
    MASK_SERIES,
    SECOND,
    ZipWarehouse,
    add_images,
    index_all,
    mask_object,
    objects,
)


def plan_of_new(zips: ZipWarehouse, *new: str) -> ReferencePlan:
    """Return the plan of new zips, which is that of all if there are no others."""
    plan = plan_references(COLLECTION, zips.warehouse, new)
    assert plan == plan_references(COLLECTION, zips.warehouse)
    return plan


def test_new_zips_are_read_if_their_objects_may_refer_to_images(zips: ZipWarehouse) -> None:
    add_images(zips)
    index_all(zips)
    zips.add({"seg.dcm": mask_object("SEG")}, MASK_SERIES)
    zips.add(objects(SECOND), SECOND)
    waiting = plan_of_new(zips, MASK_SERIES, SECOND)
    assert (waiting.waiting, waiting.relevant, waiting.changed) == (2, 0, set())
    zips.index()
    plan = plan_of_new(zips, MASK_SERIES, SECOND)
    assert (plan.waiting, plan.relevant, plan.changed) == (0, 1, {MASK_SERIES})
    assert plan.gone == {"references": set(), "targets": set()}
    index_all(zips)
    assert plan_of_new(zips).changed == set()


def test_the_rows_of_a_zip_without_references_go(zips: ZipWarehouse) -> None:
    zips.add({"seg.dcm": mask_object("SEG")}, MASK_SERIES)
    index_all(zips)
    zips.add(objects(MASK_SERIES), MASK_SERIES)
    zips.index()
    plan = plan_of_new(zips, MASK_SERIES)
    assert (plan.relevant, plan.changed) == (0, set())
    assert plan.gone == {"references": {MASK_SERIES}, "targets": {MASK_SERIES}}


def test_a_zip_that_could_not_be_read_is_read_again(zips: ZipWarehouse) -> None:
    zips.add({"seg.dcm": mask_object("SEG")}, MASK_SERIES)
    zips.index()
    content = zips.path(MASK_SERIES).read_bytes()
    zips.path(MASK_SERIES).unlink()
    index_all(zips)
    zips.path(MASK_SERIES).write_bytes(content)
    assert plan_of_new(zips).changed == {MASK_SERIES}
    assert plan_of_new(zips, FIRST).changed == {MASK_SERIES}


def test_what_changed_in_other_zips_than_the_new_ones_is_found(zips: ZipWarehouse) -> None:
    zips.add({"seg.dcm": mask_object("SEG")}, MASK_SERIES)
    content = zips.path(MASK_SERIES).read_bytes()
    zips.path(MASK_SERIES).unlink()
    index_all(zips)
    zips.path(MASK_SERIES).write_bytes(content)
    zips.index()
    assert plan_of_new(zips).changed == {MASK_SERIES}, "images could not read it before"
    index_all(zips)
    del zips.manifest[MASK_SERIES]
    zips.write_manifest()
    zips.index()
    gone = plan_of_new(zips).gone
    assert gone == {"references": {MASK_SERIES}, "targets": {MASK_SERIES}}


def test_objects_of_other_zips_that_may_have_another_uid_now_are_named(zips: ZipWarehouse) -> None:
    same = {"seg.dcm": mask_object("SEG")}
    zips.add(same, SECOND)
    zips.add(same, MASK_SERIES)
    index_all(zips)
    assert plan_of_new(zips).unidentified == {MASK_SERIES}
    del zips.manifest[SECOND]
    zips.write_manifest()
    zips.index()
    assert plan_of_new(zips).unidentified == {MASK_SERIES}, "it has its UID in images alone"
