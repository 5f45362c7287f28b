"""A plan says how many cases have each channel, and what is uncertain or missing."""

from __future__ import annotations

from tcia_assets.catalog import SERIES
from tcia_assets.datasets.cohort_query import query_cohort
from tcia_assets.datasets.plan import plan_dataset
from tcia_assets.datasets.plan_channels import ChannelPlan, channel_notes, plan_channels
from tcia_assets.store.warehouse import Warehouse
from tcia_assets_tests.datasets.example_channels import FLUID, declared, series_of, set_rows


def test_a_plan_counts_the_series_of_each_channel(fetched_sarcomas: Warehouse) -> None:
    cohort = query_cohort(declared(), fetched_sarcomas)
    plan = plan_dataset(declared(), cohort, fetched_sarcomas)
    assert plan.channels == (
        ChannelPlan("t1", is_reference=True, cases=4, modalities={"MR": 4}, findings={}),
        ChannelPlan("fluid", is_reference=False, cases=4, modalities={"MR": 4}, findings={}),
    )
    assert (plan.images, plan.to_fetch) == (4, 0)
    assert [each.about for each in plan.channels] == ["4 MR (reference)", "4 MR"]


def test_what_is_missing_is_a_note(sarcomas: Warehouse) -> None:
    set_rows(sarcomas, series_of(sarcomas, FLUID)[0], {"Modality": "CT"}, SERIES)
    channels = plan_channels(query_cohort(declared(), sarcomas), sarcomas)
    assert channels[1].about == "3 MR, 1 channel_missing"
    [note] = channel_notes(channels)
    assert note == "1 case `channel_missing`, such as: a channel of the case has no Series: 'fluid'"


def test_a_channel_in_another_frame_of_reference_is_counted_as_the_build_finds_it(
    sarcomas: Warehouse,
) -> None:
    uid = series_of(sarcomas, FLUID)[0]
    set_rows(sarcomas, uid, {"FrameOfReferenceUID": "1.2.3"})
    reference, fluid = plan_channels(query_cohort(declared(), sarcomas), sarcomas)
    assert (reference.about, fluid.about) == ("4 MR (reference)", "4 MR, 1 channel_other_frame")
    [note] = channel_notes((reference, fluid))
    assert note.startswith("1 case `channel_other_frame`, such as: ") and uid in note
