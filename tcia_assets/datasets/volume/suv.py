"""The factor from a PET image's rescaled values to SUV by body weight.

What belongs here: the formula, and what it needs of a header. What does not: pixels.

The rule is that of the Quantitative Imaging Biomarkers Alliance ("SUV vendor-neutral pseudo-code",
FDG-PET/CT profile): for an image in Bq/ml that is corrected for attenuation and decay,

    SUVbw = value * weight in grams / dose at the time to which the image is corrected

where that dose is `RadionuclideTotalDose * 2 ** (-(scan - injection) / RadionuclideHalfLife)` if
DecayCorrection is START, and the dose itself if it is ADMIN. Images in counts need a factor that
only Philips writes; images in g/ml are SUV already, if not by lean mass or body surface.

The scan began at SeriesDate and SeriesTime, unless an acquisition began before: then the Series was
made later, and the time is GE's private one, or that of the earliest acquisition.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from pydicom.dataset import Dataset

from tcia_assets.datasets.volume.attributes import first_item, read_number, read_text

_PHILIPS, _GE = "Philips PET Private Group", "GEMS_PETD_01"
_GRAMS = 1000.0
# Who is scanned later than that has nothing left to be seen; the dates are then no real ones.
_MOST_HALF_LIVES = 10.0
_DAY = timedelta(days=1)
# Hours alone, with minutes, with seconds.
_CLOCK_DIGITS = (2, 4, 6)


class NoFactor(Exception):
    """The header does not allow SUV; the text says why."""


def suv_factor(headers: Sequence[Dataset]) -> float:
    """What rescaled values of a Series are multiplied by; raises NoFactor.

    Args:
        headers: those of all its slices; the first says what all have in common.
    """
    header = headers[0]
    corrected = _texts(header, "CorrectedImage")
    if not {"ATTN", "DECY"} <= corrected:
        raise NoFactor("CorrectedImage does not say ATTN and DECY")
    units = read_text(header, "Units")
    if units == "BQML":
        return _by_weight(headers)
    if units == "GML":
        kind = read_text(header, "SUVType")
        if kind not in {"", "BW"}:
            raise NoFactor(f"the image is SUV of another kind, {kind!r}")
        return 1.0
    if units == "CNTS":
        if (factor := _private(header, 0x7053, _PHILIPS, 0x00)) is not None:
            return factor
        if (activity := _private(header, 0x7053, _PHILIPS, 0x09)) is not None:
            return activity * _by_weight(headers)
        raise NoFactor("the image is in counts, without Philips' factors")
    raise NoFactor(f"the image's Units are {units!r}")


def _by_weight(headers: Sequence[Dataset]) -> float:
    header = headers[0]
    tracer = first_item(header, "RadiopharmaceuticalInformationSequence")
    if tracer is None:
        raise NoFactor("RadiopharmaceuticalInformationSequence is missing")
    weight = _positive(header, "PatientWeight")
    dose = _positive(tracer, "RadionuclideTotalDose")
    correction = read_text(header, "DecayCorrection")
    if correction == "START":
        half_life = _positive(tracer, "RadionuclideHalfLife")
        waited = _waited(_scan(headers), tracer, half_life)
        dose *= 2 ** (-waited.total_seconds() / half_life)
    elif correction != "ADMIN":
        raise NoFactor(f"DecayCorrection is {correction!r}, neither START nor ADMIN")
    return weight * _GRAMS / dose


def _positive(holder: Dataset, keyword: str) -> float:
    found = read_number(holder, keyword)
    if found is None or found <= 0:
        raise NoFactor(f"{keyword} is missing or not above zero")
    return found


# --- Times ----------------------------------------------------------------------------------------


def _scan(headers: Sequence[Dataset]) -> datetime:
    header = headers[0]
    series = _time(read_text(header, "SeriesDate"), read_text(header, "SeriesTime"))
    acquired = _earliest(headers)
    if series is not None and (acquired is None or series <= acquired):
        return series
    said = _private_text(header, 0x0009, _GE, 0x0D)
    if (scanned := _time(said[:8], said[8:])) is not None:
        return scanned
    if acquired is not None:
        return acquired
    raise NoFactor("neither SeriesTime nor AcquisitionTime say when the scan began")


def _earliest(headers: Iterable[Dataset]) -> datetime | None:
    times = (
        _time(read_text(h, "AcquisitionDate"), read_text(h, "AcquisitionTime")) for h in headers
    )
    return min((time for time in times if time is not None), default=None)


def _waited(scan: datetime, tracer: Dataset, half_life: float) -> timedelta:
    """From injection to scan; by the time of day alone where the date is missing or impossible."""
    said = read_text(tracer, "RadiopharmaceuticalStartDateTime")
    injected = _time(said[:8], said[8:])
    longest = timedelta(seconds=_MOST_HALF_LIVES * half_life)
    if injected is not None and timedelta(0) <= scan - injected <= longest:
        return scan - injected
    clock = read_text(tracer, "RadiopharmaceuticalStartTime")
    injected = _time(scan.strftime("%Y%m%d"), clock)
    if injected is None:
        raise NoFactor("RadiopharmaceuticalStartTime is missing")
    waited = scan - injected
    waited = waited + _DAY if waited < timedelta(0) else waited
    if waited > longest:
        raise NoFactor(f"from injection to scan there are {waited}, too long for this nuclide")
    return waited


def _time(date: str, clock: str) -> datetime | None:
    """A DA and a TM, or the parts of a DT, whose zone is that of all times of the object."""
    digits = clock.replace(":", "").split("+")[0].split("-")[0]
    whole, _, part = digits.partition(".")
    if len(whole) not in _CLOCK_DIGITS:
        return None
    whole = f"{whole:0<6}"
    try:
        return datetime.strptime(f"{date}{whole}.{part[:6] or '0'}", "%Y%m%d%H%M%S.%f")  # noqa: DTZ007
    except ValueError:
        return None


# --- Odd places -----------------------------------------------------------------------------------


def _texts(header: Dataset, keyword: str) -> set[str]:
    value = header.get(keyword)
    if value is None or isinstance(value, str):
        return {str(value or "").strip()}
    return {str(each).strip() for each in value}


def _private_text(header: Dataset, group: int, creator: str, element: int) -> str:
    try:
        value = header.private_block(group, creator)[element].value
    except KeyError:
        return ""
    return value.decode("ascii", "replace").strip(" \0") if isinstance(value, bytes) else str(value)


def _private(header: Dataset, group: int, creator: str, element: int) -> float | None:
    try:
        found = float(_private_text(header, group, creator, element))
    except ValueError:
        return None
    return found if found > 0 else None
