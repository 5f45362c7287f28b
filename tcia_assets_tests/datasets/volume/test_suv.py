"""PET is SUV by body weight if the header allows it; otherwise a finding has the reason."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from tcia_assets.datasets.volume.volume_reader import read_volume
from tcia_assets.sandbox import phantom
from tcia_assets_tests.datasets.volume.synthetic import (
    Series,
    finding_codes,
    noise,
    one_finding,
    write_zip,
)

HALF_LIFE = 6000.0
SLOPES = [0.5, 1.0, 2.0, 4.0]


def tracer(**more: Any) -> list[Dataset]:
    made = Dataset()
    made.RadionuclideTotalDose, made.RadionuclideHalfLife = "4e8", str(HALF_LIFE)
    made.RadiopharmaceuticalStartTime = "110000"
    for keyword, value in more.items():
        setattr(made, keyword, value)
    return [made]


def pet(**more: Any) -> Series:
    extra = {
        "Units": "BQML",
        "CorrectedImage": ["ATTN", "DECY"],
        "DecayCorrection": "START",
        "PatientWeight": "80",
        "RadiopharmaceuticalInformationSequence": tracer(),
    }
    return Series(
        noise((4, 3, 5), 0, 9000, np.uint16),
        modality="PT",
        slopes=SLOPES,
        extra={k: v for k, v in (extra | more).items() if v is not None},
    )


def read(tmp_path: Path, series: Series) -> Any:
    return read_volume(write_zip(tmp_path / "a.zip", series.objects()))


def factor(seconds: float) -> float:
    return 80_000 / (4e8 * 2 ** (-seconds / HALF_LIFE))


@pytest.mark.parametrize(
    ("seconds", "more"),
    [
        (3600, {}),
        (0, {"DecayCorrection": "ADMIN"}),
        # Across midnight; with a date of injection.
        (7200, {"RadiopharmaceuticalInformationSequence": tracer(
            RadiopharmaceuticalStartTime="230000"
        ), "SeriesTime": "010000", "AcquisitionTime": "010000"}),
        (5400, {"RadiopharmaceuticalInformationSequence": tracer(
            RadiopharmaceuticalStartDateTime="20200101103000.000000"
        )}),
        # A date that was shifted by anonymisation.
        (3600, {"RadiopharmaceuticalInformationSequence": tracer(
            RadiopharmaceuticalStartDateTime="19850101103000"
        )}),
        # A Series that was derived after the scan.
        (4200, {"SeriesTime": "180000", "AcquisitionTime": "121000.00"}),
    ],
)  # fmt: skip
def test_the_dose_decays_from_injection_to_scan(
    tmp_path: Path, seconds: float, more: dict[str, Any]
) -> None:
    series = pet(**more)
    volume = read(tmp_path, series)
    assert (volume.units, finding_codes(volume)) == ("SUVbw", [])
    assert volume.voxels.dtype == np.float32
    np.testing.assert_allclose(volume.voxels, series.real * factor(seconds), rtol=1e-6)


def test_grams_per_millilitre_are_suv_already(tmp_path: Path) -> None:
    series = pet(Units="GML", RadiopharmaceuticalInformationSequence=None)
    volume = read(tmp_path, series)
    assert volume.units == "SUVbw"
    np.testing.assert_allclose(volume.voxels, series.real, rtol=1e-6)


@pytest.mark.parametrize(("element", "expected"), [(0x00, 0.25), (0x09, 0.25 * factor(3600))])
def test_counts_use_the_factors_of_philips(tmp_path: Path, element: int, expected: float) -> None:
    series = pet(Units="CNTS")
    objects = series.objects()
    for each in objects:
        block = each.private_block(0x7053, "Philips PET Private Group", create=True)
        block.add_new(element, "DS", "0.25")
    volume = read_volume(write_zip(tmp_path / "a.zip", objects))
    assert volume.units == "SUVbw"
    np.testing.assert_allclose(volume.voxels, series.real * expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("reason", "more"),
    [
        ("PatientWeight", {"PatientWeight": None}),
        ("PatientWeight", {"PatientWeight": "0"}),
        ("RadionuclideTotalDose", {"RadiopharmaceuticalInformationSequence": tracer(
            RadionuclideTotalDose=None
        )}),
        ("RadionuclideHalfLife", {"RadiopharmaceuticalInformationSequence": tracer(
            RadionuclideHalfLife=None
        )}),
        ("RadiopharmaceuticalStartTime", {"RadiopharmaceuticalInformationSequence": tracer(
            RadiopharmaceuticalStartTime=None
        )}),
        ("too long", {"RadiopharmaceuticalInformationSequence": tracer(
            RadiopharmaceuticalStartTime="121000", RadionuclideHalfLife="122"
        )}),
        ("InformationSequence", {"RadiopharmaceuticalInformationSequence": None}),
        ("ATTN", {"CorrectedImage": ["DECY"]}),
        ("DecayCorrection", {"DecayCorrection": "NONE"}),
        ("Philips", {"Units": "CNTS"}),
        ("'PROPCPS'", {"Units": "PROPCPS"}),
        ("'LBM'", {"Units": "GML", "SUVType": "LBM"}),
    ],
)  # fmt: skip
def test_values_stay_and_the_reason_is_reported_without_a_factor(
    tmp_path: Path, reason: str, more: dict[str, Any]
) -> None:
    series = pet(**more)
    volume = read(tmp_path, series)
    assert (volume.units, finding_codes(volume)) == ("stored", ["pet_without_suv_factors"])
    assert reason in one_finding(volume, "pet_without_suv_factors").message
    np.testing.assert_allclose(volume.voxels, series.real, rtol=1e-6)


@pytest.mark.parametrize(
    ("reason", "more"),
    [
        ("Units", {"Units": "GML"}),
        ("PatientWeight", {"PatientWeight": None}),
        ("PatientWeight", {"PatientWeight": "70"}),
        ("DecayCorrection", {"DecayCorrection": "ADMIN"}),
        ("CorrectedImage", {"CorrectedImage": ["ATTN"]}),
        ("RadionuclideTotalDose", {"RadiopharmaceuticalInformationSequence": tracer(
            RadionuclideTotalDose="3e8"
        )}),
        ("RadiopharmaceuticalInformationSequence",
            {"RadiopharmaceuticalInformationSequence": None}),
        ("RadiopharmaceuticalStartTime", {"RadiopharmaceuticalInformationSequence": tracer(
            RadiopharmaceuticalStartTime="113000"
        )}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", [0, 2])
def test_slices_that_give_different_factors_have_no_suv(
    tmp_path: Path, reason: str, more: dict[str, Any], place: int
) -> None:
    objects = pet().objects()
    objects[place] = pet(**more).object(place)
    volume = read_volume(write_zip(tmp_path / "a.zip", objects))
    assert (volume.units, finding_codes(volume)) == ("stored", ["pet_without_suv_factors"])
    assert reason in one_finding(volume, "pet_without_suv_factors").message


def test_slices_may_write_the_same_factor_in_different_ways(tmp_path: Path) -> None:
    objects = pet().objects()
    objects[1].PatientWeight = "80.00"
    objects[2].CorrectedImage = ["DECY", "ATTN", "SCAT"]
    volume = read_volume(write_zip(tmp_path / "a.zip", objects))
    assert (volume.units, finding_codes(volume)) == ("SUVbw", [])


def test_suv_of_the_sandbox_is_one_in_the_body_and_eight_in_the_lesion(tmp_path: Path) -> None:
    row: dict[str, Any] = {
        "SeriesInstanceUID": "1.2.3",
        "StudyInstanceUID": "1.2",
        "PatientID": "P",
    }
    row["SeriesDate"] = date(2020, 1, 1)
    objects = phantom.objects(row | {"Modality": "PT", "ImageCount": 40})
    volume = read_volume(write_zip(tmp_path / "a.zip", [content for _, content in objects]))
    assert volume.units == "SUVbw"
    assert 4 < float(volume.voxels.max()) < 16
    assert 0.5 < float(np.median(volume.voxels[volume.voxels > 0.5])) < 2
