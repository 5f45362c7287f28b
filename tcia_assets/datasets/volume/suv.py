"""The factor from rescaled PET values to SUV by body weight.

It follows the Quantitative Imaging Biomarkers Alliance ("SUV vendor-neutral pseudo-code" of the
FDG-PET/CT profile). For an image in Bq/ml that is corrected for attenuation and decay:

    SUVbw = value * weight in grams / dose at the time to which the image is corrected

The dose is `RadionuclideTotalDose * 2 ** (-(scan - injection) / RadionuclideHalfLife)` if
DecayCorrection is START, and RadionuclideTotalDose if it is ADMIN. Images in counts need a factor
that only Philips writes. Images in g/ml are SUV already, unless by lean mass or body surface.

The scan began at SeriesDate and SeriesTime, unless an acquisition began earlier. Then the Series
was derived later, and the scan began at GE's private time or, without it, at the earliest
acquisition.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from pydicom.dataset import Dataset

from tcia_assets.datasets.volume.attributes import (
    first_item,
    read_number,
    read_text,
    read_texts,
)

Attributes = tuple[tuple[str, object], ...]

# The attributes of a slice on which the factor depends, and those in the item about the tracer.
_OF_SERIES = (
    "Units",
    "SUVType",
    "DecayCorrection",
    "PatientWeight",
    "SeriesDate",
    "SeriesTime",
)
_TRACER = "RadiopharmaceuticalInformationSequence"
_OF_TRACER = (
    "RadionuclideTotalDose",
    "RadionuclideHalfLife",
    "RadiopharmaceuticalStartDateTime",
    "RadiopharmaceuticalStartTime",
)
_PHILIPS, _GE = "Philips PET Private Group", "GEMS_PETD_01"
_GRAMS = 1000.0
# After ten half-lives there is too little activity for a scan, so the times must be wrong.
_MAX_HALF_LIVES = 10.0
_DAY = timedelta(days=1)
# Between factors of one volume.
_ROUNDING = 1e-6
# Hours; with minutes; with seconds.
_TIME_LENGTHS = (2, 4, 6)


class NoSuvFactor(Exception):
    """The headers do not allow SUV; the message has the reason."""


def suv_factor(headers: Iterable[Dataset], series: Iterable[Dataset]) -> float:
    """Return the factor by which the rescaled values of a volume are multiplied.

    Args:
        headers: Those of the slices of the volume, which must all give the same factor.
        series: Those of all slices of the Series.

    Raises:
        NoSuvFactor: An attribute is missing, invalid or of an unsupported kind, or slices differ.
    """
    acquired = _earliest_acquisition(series)
    different = {tuple(_read_all(header).items()): header for header in headers}
    factors: dict[Attributes, float] = {}
    for attributes, header in different.items():
        try:
            factors[attributes] = _factor(header, acquired)
        except NoSuvFactor as error:
            raise NoSuvFactor(f"{error}{_differences(different)}") from None
    if max(factors.values()) > min(factors.values()) * (1 + _ROUNDING):
        raise NoSuvFactor(f"slices have different factors{_differences(factors)}")
    return min(factors.values())


def _read_all(header: Dataset) -> dict[str, object]:
    """Return all attributes on which the factor depends, by name."""
    tracer = first_item(header, _TRACER)
    return {
        **{keyword: read_text(header, keyword) for keyword in _OF_SERIES},
        "CorrectedImage": read_texts(header, "CorrectedImage"),
        _TRACER: tracer is not None,
        **{keyword: read_text(tracer or Dataset(), keyword) for keyword in _OF_TRACER},
        "SUV scale factor": _private_text(header, 0x7053, _PHILIPS, 0x00),
        "activity concentration factor": _private_text(header, 0x7053, _PHILIPS, 0x09),
        "GE's time of the scan": _private_text(header, 0x0009, _GE, 0x0D),
    }


def _differences(attributes: Collection[Attributes]) -> str:
    """Return the names of attributes that differ between slices, as the end of a message."""
    values: dict[str, set[object]] = defaultdict(set)
    for each in attributes:
        for name, value in each:
            values[name].add(value)
    names = [name for name, found in values.items() if len(found) > 1]
    return f"; slices differ in {', '.join(names)}" if names else ""


def _factor(header: Dataset, acquired: datetime | None) -> float:
    if not {"ATTN", "DECY"} <= set(read_texts(header, "CorrectedImage")):
        raise NoSuvFactor("CorrectedImage lacks ATTN or DECY")
    units = read_text(header, "Units")
    if units == "BQML":
        return _factor_by_weight(header, acquired)
    if units == "GML":
        kind = read_text(header, "SUVType")
        if kind not in {"", "BW"}:
            raise NoSuvFactor(f"the image has SUV of type {kind!r}")
        return 1.0
    if units == "CNTS":
        if (factor := _private_number(header, 0x7053, _PHILIPS, 0x00)) is not None:
            return factor
        if (activity := _private_number(header, 0x7053, _PHILIPS, 0x09)) is not None:
            return activity * _factor_by_weight(header, acquired)
        raise NoSuvFactor("the image is in counts, without the factors of Philips")
    raise NoSuvFactor(f"Units is {units!r}")


def _factor_by_weight(header: Dataset, acquired: datetime | None) -> float:
    tracer = first_item(header, _TRACER)
    if tracer is None:
        raise NoSuvFactor(f"{_TRACER} is missing")
    weight = _read_positive(header, "PatientWeight")
    dose = _read_positive(tracer, "RadionuclideTotalDose")
    correction = read_text(header, "DecayCorrection")
    if correction == "START":
        half_life = _read_positive(tracer, "RadionuclideHalfLife")
        delay = _delay_of_scan(_start_of_scan(header, acquired), tracer, half_life)
        dose *= 2 ** (-delay.total_seconds() / half_life)
    elif correction != "ADMIN":
        raise NoSuvFactor(f"DecayCorrection is {correction!r}, neither START nor ADMIN")
    return weight * _GRAMS / dose


def _read_positive(holder: Dataset, keyword: str) -> float:
    number = read_number(holder, keyword)
    if number is None or number <= 0:
        raise NoSuvFactor(f"{keyword} is missing or not positive")
    return number


# --- Times ----------------------------------------------------------------------------------------


def _start_of_scan(header: Dataset, acquired: datetime | None) -> datetime:
    series = _parse_time(read_text(header, "SeriesDate"), read_text(header, "SeriesTime"))
    if series is not None and (acquired is None or series <= acquired):
        return series
    private = _private_text(header, 0x0009, _GE, 0x0D)
    if (scanned := _parse_time(private[:8], private[8:])) is not None:
        return scanned
    if acquired is not None:
        return acquired
    raise NoSuvFactor("both SeriesTime and AcquisitionTime are missing")


def _earliest_acquisition(headers: Iterable[Dataset]) -> datetime | None:
    times = (
        _parse_time(read_text(header, "AcquisitionDate"), read_text(header, "AcquisitionTime"))
        for header in headers
    )
    return min((time for time in times if time is not None), default=None)


def _delay_of_scan(scan: datetime, tracer: Dataset, half_life: float) -> timedelta:
    """Return the time from injection to scan.

    The date of the injection is ignored if it is missing or impossible: anonymisation may shift it.
    """
    text = read_text(tracer, "RadiopharmaceuticalStartDateTime")
    injected = _parse_time(text[:8], text[8:])
    longest = timedelta(seconds=_MAX_HALF_LIVES * half_life)
    if injected is not None and timedelta(0) <= scan - injected <= longest:
        return scan - injected
    clock = read_text(tracer, "RadiopharmaceuticalStartTime")
    injected = _parse_time(scan.strftime("%Y%m%d"), clock)
    if injected is None:
        raise NoSuvFactor("RadiopharmaceuticalStartTime is missing")
    delay = scan - injected
    if delay < timedelta(0):
        delay += _DAY
    if delay > longest:
        raise NoSuvFactor(f"the scan is {delay} after the injection, too long for this nuclide")
    return delay


def _parse_time(date: str, clock: str) -> datetime | None:
    """Parse a DA and a TM, or the two parts of a DT; its UTC offset is that of the whole object."""
    digits = clock.replace(":", "").split("+")[0].split("-")[0]
    seconds, _, fraction = digits.partition(".")
    if len(seconds) not in _TIME_LENGTHS:
        return None
    text = f"{date}{seconds:0<6}.{fraction[:6] or '0'}"
    try:
        return datetime.strptime(text, "%Y%m%d%H%M%S.%f")  # noqa: DTZ007 - see above
    except ValueError:
        return None


# --- Private attributes ---------------------------------------------------------------------------


def _private_text(header: Dataset, group: int, creator: str, element: int) -> str:
    try:
        value = header.private_block(group, creator)[element].value
    except KeyError:
        return ""
    return value.decode("ascii", "replace").strip(" \0") if isinstance(value, bytes) else str(value)


def _private_number(header: Dataset, group: int, creator: str, element: int) -> float | None:
    """Return a positive number, or None."""
    try:
        number = float(_private_text(header, group, creator, element))
    except ValueError:
        return None
    return number if number > 0 else None
