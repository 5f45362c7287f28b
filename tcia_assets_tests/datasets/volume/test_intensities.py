"""Values have the unit that the volume states, or a finding says that they do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from tcia_assets.datasets.quality import DEFAULT_POLICIES, DROP, KEEP
from tcia_assets.datasets.volume.volume_reader import open_volumes, read_volume
from tcia_assets_tests.datasets.volume.synthetic import (
    SERIES,
    Series,
    finding_codes,
    noise,
    one_finding,
    write_zip,
)
from tcia_assets_tests.datasets.volume.test_suv import pet, tracer


def read(tmp_path: Path, objects: list[Any]) -> Any:
    return read_volume(write_zip(tmp_path / "a.zip", objects))


def changed(change: Any, series: Series | None = None, *, only: int | None = None) -> list[Any]:
    """Return the objects of a Series, each of them or only one changed."""
    objects = (series or Series()).objects()
    for place, each in enumerate(objects):
        if only in (None, place):
            change(each)
    return objects


def lut(dataset: Any) -> None:
    item = Dataset()
    item.LUTDescriptor, item.ModalityLUTType = [4, 0, 16], "US"
    item.add_new("LUTData", "US", [0, 1, 2, 3])
    dataset.ModalityLUTSequence = [item]
    del dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType


def without_slope(dataset: Any) -> None:
    del dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType


NOT_HOUNSFIELD = {
    "ModalityLUTSequence": lut,
    "RescaleType is 'US'": lambda each: setattr(each, "RescaleType", "US"),
    "RescaleType is 'Z_EFF'": lambda each: setattr(each, "RescaleType", "Z_EFF"),
    "RescaleSlope is missing or 0": without_slope,
}


@pytest.mark.parametrize("reason", NOT_HOUNSFIELD)
@pytest.mark.parametrize("only", [None, 3])
def test_a_ct_in_another_unit_is_a_finding(tmp_path: Path, reason: str, only: int | None) -> None:
    volume = read(tmp_path, changed(NOT_HOUNSFIELD[reason], only=only))
    assert volume.units == "stored"
    assert finding_codes(volume) == ["not_hounsfield"]
    assert reason in one_finding(volume, "not_hounsfield").message


@pytest.mark.parametrize("rescale_type", ["HU", "hu", None])
def test_a_ct_without_a_rescale_type_is_in_hounsfield_units(
    tmp_path: Path, rescale_type: str | None
) -> None:
    volume = read(tmp_path, changed(lambda each: setattr(each, "RescaleType", rescale_type)))
    assert (volume.units, finding_codes(volume)) == ("HU", [])


@pytest.mark.parametrize(
    "more",
    [
        # In MBq; in g; an image in Bq/ml that is labelled as SUV.
        {"RadiopharmaceuticalInformationSequence": tracer(RadionuclideTotalDose="400")},
        {"PatientWeight": "80000"},
        {"Units": "GML"},
        {"PatientWeight": "0.08"},
    ],
)
def test_an_suv_that_no_scan_has_is_a_finding(tmp_path: Path, more: dict[str, Any]) -> None:
    volume = read(tmp_path, pet(**more).objects())
    assert volume.units == "SUVbw"
    assert finding_codes(volume) == ["implausible_suv"]
    greatest = one_finding(volume, "implausible_suv").numbers["greatest"]
    assert greatest == pytest.approx(float(volume.voxels.max()))


@pytest.mark.parametrize("slope", [None, "0"])
def test_a_pet_slice_without_a_slope_has_no_suv(tmp_path: Path, slope: str | None) -> None:
    objects = changed(lambda each: setattr(each, "RescaleSlope", slope), pet(), only=1)
    volume = read(tmp_path, objects)
    assert volume.units == "stored"
    assert "RescaleSlope" in one_finding(volume, "pet_without_suv_factors").message


def test_a_ct_with_a_slope_of_0_is_not_in_hounsfield_units(tmp_path: Path) -> None:
    volume = read(tmp_path, changed(lambda each: setattr(each, "RescaleSlope", "0")))
    assert (volume.units, finding_codes(volume)) == ("stored", ["not_hounsfield"])


def test_signed_values_that_are_declared_unsigned_are_implausible(tmp_path: Path) -> None:
    series = Series(noise((4, 8, 8), -1000, 100))
    unsign = lambda each: setattr(each, "PixelRepresentation", 0)  # noqa: E731
    volume = read(tmp_path, changed(unsign, series, only=1))
    assert finding_codes(volume) == ["implausible_hounsfield"]
    numbers = one_finding(volume, "implausible_hounsfield").numbers
    assert numbers["greatest"] > 65000 and numbers["voxels"] > 50
    assert DEFAULT_POLICIES["implausible_hounsfield"] == DROP


def test_a_ct_that_has_no_negative_values_lost_its_intercept(tmp_path: Path) -> None:
    series = Series(noise((4, 8, 8), 0, 3000, np.uint16))
    assert finding_codes(read(tmp_path, series.objects())) == ["implausible_hounsfield"]
    series.intercepts = [-1024.0] * 4
    assert finding_codes(read(tmp_path, series.objects())) == []


def test_the_sign_of_each_slice_is_its_own(tmp_path: Path) -> None:
    signed, unsigned = Series(), Series(noise((6, 9, 11), 0, 4000, np.uint16))
    unsigned.intercepts = [-1024.0] * 6
    objects = [(signed, unsigned)[place % 2].object(place) for place in range(6)]
    volume = read(tmp_path, objects)
    assert finding_codes(volume) == ["mixed_rescale"]
    for place in range(6):
        assert np.array_equal(volume.voxels[place], (signed, unsigned)[place % 2].real[place])


@pytest.mark.parametrize(("value", "voxels"), [(30_710, 200), (-3024, 200), (-20_000, 5)])
def test_metal_old_padding_and_a_few_odd_voxels_are_plausible(
    tmp_path: Path, value: int, voxels: int
) -> None:
    values = noise((4, 12, 12))
    values.reshape(-1)[:voxels] = value
    volume = read(tmp_path, Series(values).objects())
    assert finding_codes(volume) == []
    assert np.array_equal(volume.voxels, values)


def test_a_mouse_has_a_plausible_suv(tmp_path: Path) -> None:
    mouse = tracer(RadionuclideTotalDose="5e6")
    more = {"PatientWeight": "0.025", "RadiopharmaceuticalInformationSequence": mouse}
    series = pet(**more)
    series.slopes = [100.0] * 4
    assert finding_codes(read(tmp_path, series.objects())) == []


def test_each_time_of_a_dynamic_pet_is_corrected_to_the_start_of_the_scan(tmp_path: Path) -> None:
    # The Series was derived later, so the scan began with its first acquisition.
    times = ["120000", "121000"]
    series = [pet(SeriesTime="180000", AcquisitionTime=time) for time in times]
    objects = [each for n, made in enumerate(series) for each in renumbered(made.objects(), n)]
    with open_volumes(write_zip(tmp_path / "a.zip", objects)) as volumes:
        first, second = (volumes.read(place) for place in range(2))
    assert first.units == second.units == "SUVbw"
    assert np.array_equal(first.voxels, second.voxels)


def renumbered(objects: list[Any], volume: int) -> list[Any]:
    for place, each in enumerate(objects):
        uid = f"{SERIES}.{100 * volume + place + 1}"
        each.SOPInstanceUID = each.file_meta.MediaStorageSOPInstanceUID = uid
    return objects


def test_inverted_greyscale_is_noted_and_voxels_stay_as_stored(tmp_path: Path) -> None:
    series = Series(noise((4, 5, 6), 0, 4000, np.uint16), modality="MR")
    invert = lambda each: setattr(each, "PhotometricInterpretation", "MONOCHROME1")  # noqa: E731
    volume = read(tmp_path, changed(invert, series))
    assert np.array_equal(volume.voxels, series.values)
    assert finding_codes(volume) == ["monochrome1"]
    assert len(one_finding(volume, "monochrome1").sop_instance_uids) == 4


def test_a_palette_is_no_greyscale(tmp_path: Path) -> None:
    palette = lambda each: setattr(each, "PhotometricInterpretation", "PALETTE COLOR")  # noqa: E731
    assert finding_codes(read(tmp_path, changed(palette, only=5))) == ["not_greyscale"]


def test_values_without_their_unit_are_dropped_unless_the_dataset_keeps_them() -> None:
    wrong = ("not_hounsfield", "pet_without_suv_factors", "implausible_suv", "zero_variance")
    assert {DEFAULT_POLICIES[code] for code in wrong} == {DROP}
    assert DEFAULT_POLICIES["monochrome1"] == KEEP


def test_the_unit_of_a_modality_may_be_chosen(tmp_path: Path) -> None:
    series = pet()
    path = write_zip(tmp_path / "pet.zip", series.objects())
    with open_volumes(path) as volumes:
        activity = volumes.read(0, {"PT": "Bq/ml", "CT": "stored"})
        assert (activity.units, *finding_codes(activity)) == ("Bq/ml",)
        assert np.allclose(activity.voxels, series.real)
        assert volumes.read(0, {"PT": "stored"}).units == "stored"
        assert volumes.read(0, {"CT": "stored"}).units == "SUVbw"
    path = write_zip(tmp_path / "counts.zip", pet(Units="CNTS").objects())
    with open_volumes(path) as volumes:
        counts = volumes.read(0, {"PT": "Bq/ml"})
    assert (counts.units, *finding_codes(counts)) == ("stored", "not_in_declared_unit")
    with open_volumes(write_zip(tmp_path / "ct.zip", changed(lut))) as volumes:
        assert not finding_codes(volumes.read(0, {"CT": "stored"}))
