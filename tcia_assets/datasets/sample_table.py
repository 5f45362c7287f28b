"""The table of samples: a row for each image Series of the cohort, with its findings and its split.

The policies for findings (`qc`) are applied here, and a dataset may be refused. The schema is in
`samples.py`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from tcia_assets.datasets.classes import Classes
from tcia_assets.datasets.cohort import IMAGE, STATES, Cohort
from tcia_assets.datasets.declaration import Declaration
from tcia_assets.datasets.quality import (
    CHANNEL_MISSING,
    DROP,
    FAIL,
    NOT_FETCHED,
    WITHOUT_CLASS,
)
from tcia_assets.datasets.sample_rows import sample_finding
from tcia_assets.datasets.sample_store import ENDING, NIFTI
from tcia_assets.datasets.sample_store import IMAGE as IMAGE_FILE
from tcia_assets.datasets.sample_store import LABEL as LABEL_FILE
from tcia_assets.datasets.samples import (
    CHANNELS,
    DROPPED,
    KEPT,
    SAMPLES,
    SAMPLES_OF_FRAMES,
    SAMPLES_WITH_CHANNELS,
    image_files,
    kept_samples,
    name_sample,
    sample_name,
)
from tcia_assets.datasets.split import Leak, assign_splits, find_leaks
from tcia_assets.errors import DatasetRefused
from tcia_assets.units import are, counted

FOLDERS = {IMAGE_FILE: "images", LABEL_FILE: "labels"}
"""The folder of a version for each kind of file."""

_Row = dict[str, Any]
_OF_FILES = ("_bytes", "_sha256")


@dataclass(frozen=True)
class SamplesResult:
    """The samples of a cohort.

    Attributes:
        samples: All images of the cohort, dropped ones too, as `samples.SAMPLES`.
        keys: The key in the sample store of each sample that was made, by UID.
        made: How many samples this build made.
        reused: How many samples were in the store already.
    """

    samples: pa.Table
    keys: Mapping[str, str]
    made: int
    reused: int

    @property
    def kept(self) -> pa.Table:
        """The samples that are in the dataset."""
        return kept_samples(self.samples)

    def leaks(self, declaration: Declaration) -> list[Leak]:
        """Return what is in several splits; an empty list proves that nothing is."""
        return find_leaks(_one_image_a_row(self.kept), declaration.split.leak_columns)

    @property
    def tally(self) -> dict[tuple[str, str], int]:
        """How many samples have each finding, by code and policy; the most frequent first."""
        counts = Counter(
            pair
            for findings in self.samples["findings"].to_pylist()
            for pair in {(finding["code"], finding["policy"]) for finding in findings}
        )
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _one_image_a_row(samples: pa.Table) -> pa.Table:
    """Return a row for each image, so that equal pixels are found in any channel."""
    if CHANNELS not in samples.schema.names:
        return samples
    rows = [
        row | {name: image[name] for name in ("SeriesInstanceUID", "pixel_sha256")}
        for row in samples.to_pylist()
        for image in image_files(row).values()
    ]
    return pa.Table.from_pylist(rows, schema=samples.schema)


def channels_by_image(cohort: Cohort) -> dict[str, list[_Row]]:
    """Return the rows of `cohort.CHANNELS` of each image, by its UID.

    Each has the Modality and ImageCount of its Series too. Images of a dataset without channels
    have an empty list.
    """
    columns = ["SeriesInstanceUID", "Modality", "ImageCount"]
    series = (
        cohort.series.select(columns) if cohort.channels.num_rows else cohort.series.slice(0, 0)
    )
    about = {row["SeriesInstanceUID"]: row for row in series.to_pylist()}
    nothing = {"Modality": None, "ImageCount": None}
    channels: dict[str, list[_Row]] = defaultdict(list)
    for row in cohort.channels.to_pylist():
        found = about.get(row["SeriesInstanceUID"], nothing)
        channels[row["image_series_instance_uid"]].append(
            row | {name: found[name] for name in nothing}
        )
    return channels


def masks_by_image(cohort: Cohort) -> dict[str, list[_Row]]:
    """Return the pairs of each image, by its UID; an empty list for an image without pairs."""
    pairs: dict[str, list[_Row]] = defaultdict(list)
    for pair in cohort.pairs.to_pylist():
        pairs[pair["image_series_instance_uid"]].append(pair)
    return pairs


def build_table(
    declaration: Declaration, cohort: Cohort, made: Mapping[str, list[_Row]]
) -> pa.Table:
    """Build the table of samples, as `samples.SAMPLES`.

    All images are split, kept or dropped, so that no policy moves a Patient.

    Args:
        declaration: Of the dataset.
        cohort: Its cohort.
        made: The rows of `sample_files.make_samples`, by UID; images without were not fetched.

    Raises:
        DataError: A sample has no PatientID.
    """
    pairs, classes = masks_by_image(cohort), Classes.of(declaration, cohort)
    channels = channels_by_image(cohort)
    rows = []
    for chosen in cohort.of_role(IMAGE).to_pylist():
        image, uid = chosen | classes.columns(chosen["class_value"]), chosen["SeriesInstanceUID"]
        image["target_series_instance_uids"] = _masks(pairs[uid])
        for row in made.get(uid, [_not_made(image, channels[uid])]):
            complete = _with_channels(image | row, channels[uid])
            rows.append(_apply_policies(declaration, complete))
    schema = SAMPLES_WITH_CHANNELS if declaration.channels else SAMPLES
    schema = SAMPLES_OF_FRAMES if declaration.frames else schema
    split = _add_splits(declaration, rows)
    complete_rows = [{name: row.get(name) for name in schema.names} for row in split]
    return pa.Table.from_pylist(complete_rows, schema=schema)


def lacks_channel(channels: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether an image has no case: a channel without a Series is not to be zeros."""
    return any(channel["finding"] == CHANNEL_MISSING for channel in channels)


def check_samples(declaration: Declaration, result: SamplesResult) -> None:
    """Raise DatasetRefused if `qc` fails a sample, none is left, or splits share something."""
    failing = [
        f"{sample_name(row)}: {finding['code']}: {finding['message']}"
        for row in result.samples.select(["SeriesInstanceUID", "sample", "findings"]).to_pylist()
        for finding in row["findings"]
        if finding["policy"] == FAIL
    ]
    refuse = partial(DatasetRefused, declaration.name)
    if failing:
        advice = "leave them out of the cohort, or let `qc` drop or keep them"
        raise refuse(f"{len(failing)} findings have the policy 'fail'", failing, advice)
    if not result.kept.num_rows:
        counts = _dropped_counts(result)
        raise refuse("no sample is left", counts, "see `qc` for what is dropped")
    refuse_leaks(declaration, result.leaks(declaration))


def refuse_leaks(declaration: Declaration, leaks: Sequence[Leak]) -> None:
    """Raise DatasetRefused if there are leaks; names the Patients and Series of each."""
    if leaks:
        problem = f"{counted(len(leaks), 'value')} {are(len(leaks))} in several splits"
        advice = "name the person under `split.same_patient`, or leave one of the Series out"
        raise DatasetRefused(declaration.name, problem, map(str, leaks), advice)


def _dropped_counts(result: SamplesResult) -> Iterable[str]:
    return [f"{code} {count}" for (code, policy), count in result.tally.items() if policy == DROP]


def _masks(pairs: Iterable[_Row]) -> list[str]:
    return sorted({pair["target_series_instance_uid"] for pair in pairs})


def _not_made(image: _Row, channels: list[_Row]) -> _Row:
    """Return the row of an image of which no sample was made."""
    findings = [] if lacks_channel(channels) else [_not_fetched(image, channels)]
    return {"sample": name_sample(image["SeriesInstanceUID"]), "findings": findings}


def _not_fetched(image: _Row, channels: list[_Row]) -> _Row:
    if image["archive_sha256"] is None:
        return sample_finding(NOT_FETCHED, STATES[image["state"]])
    others = {channel["SeriesInstanceUID"] for channel in channels}
    others -= {image["SeriesInstanceUID"], None}
    kinds = {"masks": image["target_series_instance_uids"], "channels": sorted(others)}
    named = [f"its {kind} are {', '.join(uids)}" for kind, uids in kinds.items() if uids]
    one_of = " or ".join(kind for kind, uids in kinds.items() if uids)
    problem = f"the zip of one of its {one_of} is not on disk; {', '.join(named)}"
    return sample_finding(NOT_FETCHED, problem)


def _with_channels(row: _Row, channels: list[_Row]) -> _Row:
    """Return the row of a sample with what the cohort has about its channels."""
    found = [sample_finding(c["finding"], c["message"]) for c in channels if c["finding"]]
    row = row | {"findings": [*row["findings"], *found]}
    if row.get(CHANNELS):
        modalities = {channel["channel"]: channel["Modality"] for channel in channels}
        row[CHANNELS] = [each | {"Modality": modalities[each["name"]]} for each in row[CHANNELS]]
    return row


def _without_class(value: str | None) -> _Row:
    problem = "it has no value" if value is None else f"the value {value!r} is of no class"
    return sample_finding(WITHOUT_CLASS, problem)


def _apply_policies(declaration: Declaration, row: _Row) -> _Row:
    """Return the row of a sample with its state, its reasons and the paths of its files."""
    found = list(row["findings"])
    if declaration.classes and row["class_name"] is None:
        found.append(_without_class(row["class_value"]))
    findings = [
        {**each, "policy": declaration.policy(each["code"]), "numbers": [*each["numbers"].items()]}
        for each in found
    ]
    reasons = sorted({each["code"] for each in findings if each["policy"] in (DROP, FAIL)})
    row = row | {
        "state": DROPPED if reasons else KEPT,
        "reasons": reasons,
        "findings": findings,
    }
    if reasons:
        row |= dict.fromkeys(f"{kind}{end}" for kind in FOLDERS for end in ("", *_OF_FILES))
    else:
        row = _with_paths(row)
    if row.get(CHANNELS) and reasons:
        without = dict.fromkeys(f"{IMAGE_FILE}{end}" for end in _OF_FILES)
        row[CHANNELS] = [channel | without for channel in row[CHANNELS]]
    if row.get("label_voxels") is not None:
        row["label_voxels"] = [*row["label_voxels"].items()]
    return row


def _with_paths(row: _Row) -> _Row:
    """Return the row of a kept sample with the paths of its files."""
    name = sample_name(row)
    endings = dict.fromkeys(FOLDERS, NIFTI) | {IMAGE_FILE: row.get(ENDING, NIFTI)}
    paths: _Row = {
        k: f"{folder}/{name}{endings[k]}" for k, folder in FOLDERS.items() if row.get(f"{k}_sha256")
    }
    if channels := row.get(CHANNELS):
        folder = FOLDERS[IMAGE_FILE]
        named = [each | {IMAGE_FILE: f"{folder}/{name}_{each['name']}.nii.gz"} for each in channels]
        paths[IMAGE_FILE] = next(each[IMAGE_FILE] for each in named if each["is_reference"])
        paths[CHANNELS] = named
    return row | paths


def _add_splits(declaration: Declaration, rows: list[_Row]) -> list[_Row]:
    """Return the rows with patient, part and fold; a dropped row without PatientID has none."""
    known = [row for row in rows if (row["PatientID"] or "").strip() or row["state"] == KEPT]
    columns = declaration.split.columns
    table = pa.table(
        {name: pa.array([row[name] for row in known], pa.string()) for name in columns}
    )
    split = assign_splits(table, declaration.split).select(["patient", "part", "fold"])
    split_rows = {
        sample_name(row): row | added for row, added in zip(known, split.to_pylist(), strict=True)
    }
    return [split_rows.get(sample_name(row), row) for row in rows]
