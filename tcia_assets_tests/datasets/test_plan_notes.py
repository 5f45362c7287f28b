"""Notes about a plan name what may be a mistake, and what to do."""

from __future__ import annotations

from dataclasses import replace

from tcia_assets.datasets.plan import DatasetPlan, NamePlan, SplitPlan
from tcia_assets.datasets.plan_notes import plan_notes

SOUND = DatasetPlan(
    name="lung_ct",
    title="Lungs",
    images=3,
    patients=2,
    to_fetch=0,
    bytes_on_disk=5_000_000,
    bytes_to_fetch=0,
    masks={"series": 3},
    images_without_mask=0,
    masks_to_fetch=0,
    masks_to_fetch_bytes=0,
    names=(NamePlan("Lung_L", "lung", 3, 3),),
    classes={},
    class_join=None,
    splits=(
        SplitPlan("train", 1, 2, {"Manufacturer": {"GE": 2}}),
        SplitPlan("test", 1, 1, {"Manufacturer": {"SIEMENS": 1}}),
    ),
    leaks=(),
    licenses={"Creative Commons Attribution 4.0 International License": 6},
    built_bytes=1_000,
    built_seconds=90.0,
    free_bytes=2_000,
)


def test_a_plan_without_a_mistake_has_no_notes() -> None:
    assert plan_notes(SOUND) == []


def test_each_mistake_has_a_note_with_the_remedy() -> None:
    plan = replace(
        SOUND,
        to_fetch=1,
        masks_to_fetch=2,
        masks_to_fetch_bytes=3_000,
        images_without_mask=1,
        names=(NamePlan("Spine", "", 1, 1),),
        unmatched_labels=("tumour",),
        classes={"early": 2, "": 1},
        splits=(*SOUND.splits, SplitPlan("val", 0, 0, {"Manufacturer": {}})),
        built_bytes=3_000,
    )
    fetch, *others = plan_notes(plan)
    assert fetch.startswith("1 Series are not on disk, and 2 masks in their Studies (3.0 kB)")
    assert others == [
        "1 image without a paired mask on disk: `without_target` drops them unless `qc` says else",
        "the disk may be too small for it",
        "1 name of segments matches no label, and gives background",
        "label 'tumour' matches no name of segments, so that no voxel gets it",
        "1 image without a class: `without_class`",
        "split 'val' has no Patient: try a larger fraction, a different `salt` or `stratify`",
    ]


def test_a_note_about_several_names_is_in_the_plural() -> None:
    names = (NamePlan("Spine", "", 1, 1), NamePlan("Cord", "", 1, 1))
    [note] = plan_notes(replace(SOUND, names=names))
    assert note == "2 names of segments match no label, and give background"


def test_of_many_leaks_the_first_are_shown() -> None:
    *shown, last = plan_notes(replace(SOUND, leaks=tuple(f"leak {n}" for n in range(12))))
    assert len(shown) == 10 and "leak 9" in shown[-1]
    assert last == "and 2 more leaks"
