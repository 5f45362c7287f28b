"""The card of a dataset: what it holds, from whom, under which licences, and how to build it again.

What belongs here: `README.md` with the front matter that Hugging Face reads, and the numbers in it,
as tables for whoever else shows them. What does not: pictures (`sheet.py`), and what the archive's
licences ask (`attribution.py`).

Nothing in it tells when it was written: the same dataset has the same card.
"""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from tcia_assets.datasets import contact_sheet
from tcia_assets.datasets.dataset_info import DatasetInfo
from tcia_assets.datasets.declaration import FORMATS
from tcia_assets.datasets.formats import huggingface, nnunet
from tcia_assets.datasets.licenses import License, attribution_table, list_licenses, list_sources
from tcia_assets.datasets.quality import SAMPLE_CODES
from tcia_assets.datasets.samples import DROPPED, KEPT
from tcia_assets.metadata import attribution
from tcia_assets.metadata.markdown import markdown, markdown_license, markdown_link
from tcia_assets.store.files import publish

Record = dict[str, str | int | float]
Summary = dict[str, list[Record]]

UNTOLD = "none told"

_Row = dict[str, Any]
_DEFAULT = "nifti"
# No part is called so: their names have no blanks.
_VALUE, _ALL = "what is told", "in all"

# What each number of the summary is about, in the order of the card.
TITLES: Mapping[str, str] = {
    "parts": "By part",
    "labels": "Labels",
    "modalities": "Modality",
    "manufacturers": "Manufacturer",
    "collections": "Collection",
    "sexes": "Sex",
    "ages": "Age in years",
    "geometry": "Spacing and size",
    "quality": "What was found, and what became of it",
}
_COUNTED = {
    "modalities": "Modality",
    "manufacturers": "Manufacturer",
    "collections": "Collection",
    "sexes": "PatientSex",
}
_AGES = ((0, "0-17"), (18, "18-39"), (40, "40-59"), (60, "60-79"), (80, "80 and more"))
_DAYS = {"D": 1, "W": 7, "M": 30.4375, "Y": 365.25}
_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
)
# Those that Hugging Face knows; any other is `other`, with its name.
_HUGGING_FACE = {
    *("cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0"),
    *("cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0"),
    *("cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0"),
    "cc-by-nc-sa-4.0",
}
_ASKED = {
    "nc": "no commercial use",
    "nd": "not to be passed on in a changed form",
    "sa": "what is made of it must have the same licence",
}


# --- Numbers --------------------------------------------------------------------------------------


def summary(samples: pa.Table, parts: Sequence[str] = ()) -> Summary:
    """The numbers of the card as plain tables: the keys of `TITLES`, each a list of equal records.

    Counts are of samples that are kept, unless a column says otherwise. `parts` gives the order of
    the parts' columns; else they are sorted.
    """
    rows = samples.to_pylist()
    kept = [row for row in rows if row["state"] == KEPT]
    ordered = list(parts) or sorted({row["part"] for row in rows if row["part"]})
    return {
        "parts": list(_parts(rows, ordered)),
        "labels": _labels(kept),
        **{name: _counted(kept, _column(column), ordered) for name, column in _COUNTED.items()},
        "ages": _counted(kept, _age_group, ordered, [name for _, name in _AGES]),
        "geometry": list(_geometry(kept)),
        "quality": _quality(rows),
    }


def _parts(rows: list[_Row], parts: list[str]) -> Iterator[Record]:
    nowhere = [None] if any(row["part"] is None for row in rows) else []
    for part in (*parts, *nowhere):
        here = [row for row in rows if row["part"] == part]
        kept = [row for row in here if row["state"] == KEPT]
        yield {
            "part": part or "none",
            "patients": len({row["patient"] for row in kept}),
            KEPT: len(kept),
            DROPPED: len(here) - len(kept),
            "bytes": sum(row["image_bytes"] + (row["label_bytes"] or 0) for row in kept),
        }


def _labels(kept: list[_Row]) -> list[Record]:
    samples: Counter[str] = Counter()
    voxels: Counter[str] = Counter()
    for row in kept:
        for name, count in row["label_voxels"] or ():
            samples[name] += count > 0
            voxels[name] += count
    return [{"label": n, "samples with it": samples[n], "voxels": voxels[n]} for n in voxels]


def _counted(
    kept: list[_Row],
    value_of: Callable[[_Row], str],
    parts: list[str],
    order: Sequence[str] = (),
) -> list[Record]:
    """How many samples of each part have each value; the most frequent first, or in an order."""
    counts: dict[str, Counter[str]] = {}
    for row in kept:
        counts.setdefault(value_of(row), Counter())[row["part"]] += 1
    values = [name for name in order if name in counts]
    rest = sorted(counts.keys() - set(values), key=lambda name: (-counts[name].total(), name))
    return [
        {_VALUE: name, **{part: counts[name][part] for part in parts}, _ALL: counts[name].total()}
        for name in values + rest
    ]


def _column(name: str) -> Callable[[_Row], str]:
    return lambda row: (row[name] or "").strip() or UNTOLD


def _age_group(row: _Row) -> str:
    """The group of an age such as 061Y or 009M; what is no age is shown as it is."""
    told = (row["PatientAge"] or "").strip()
    if not told:
        return UNTOLD
    number, unit = told[:-1], told[-1:].upper()
    if not number.isdecimal() or unit not in _DAYS:
        return told
    years = int(number) * _DAYS[unit] / _DAYS["Y"]
    return [name for least, name in _AGES if years >= least][-1]


def _geometry(kept: list[_Row]) -> Iterator[Record]:
    if not kept:
        return
    for column, unit in (("spacing", "mm"), ("shape", "voxels")):
        for place, axis in enumerate("xyz"):
            values = [row[column][place] for row in kept]
            yield {
                "along": f"{axis}, in {unit}",
                "least": round(min(values), 4),
                "median": round(statistics.median(values), 4),
                "greatest": round(max(values), 4),
            }


def _quality(rows: list[_Row]) -> list[Record]:
    """Of each code and policy, the samples that have it, and how many of these are in."""
    tally: dict[tuple[str, str], Counter[str]] = {}
    for row in rows:
        told = {(found["code"], found["policy"]) for found in row["findings"]}
        codes = {code for code, _ in told}
        for key in told | {(code, "drop") for code in row["reasons"] if code not in codes}:
            tally.setdefault(key, Counter())[row["state"]] += 1
    ordered = sorted(tally.items(), key=lambda item: (-item[1].total(), item[0]))
    return [
        {
            "code": code,
            "policy": policy,
            "samples": states.total(),
            KEPT: states[KEPT],
            DROPPED: states[DROPPED],
        }
        for (code, policy), states in ordered
    ]


# --- The files ------------------------------------------------------------------------------------


def write_card(root: Path, samples: pa.Table, info: DatasetInfo) -> None:
    """The card of the dataset in a folder, and what it refers to.

    `README.md`, `contact_sheet.png`, `LICENSES.md`, `CITATION.cff` and `CITATIONS.bib`; where
    nothing is kept, `README.md` alone.

    Raises:
        StorageError: the disk refuses, or a file that a sample names cannot be read.
    """
    table = attribution_table(samples, info)
    attribution.write_files(root, info.title, table, form="as NIfTI")
    has_sheet = contact_sheet.write_contact_sheet(root, samples, info)
    text = readme(samples, info, has_sheet=has_sheet)
    encoded = text.encode("utf-8", "replace")
    publish(root / "README.md", lambda draft: draft.write_bytes(encoded))


def readme(samples: pa.Table, info: DatasetInfo, *, has_sheet: bool = True) -> str:
    """The text of `README.md`."""
    numbers = summary(samples, info.splits)
    licenses = list_licenses(samples, info)
    kept = sum(int(record[KEPT]) for record in numbers["parts"])
    picture = (
        "![Slices of some samples, with their labels](contact_sheet.png)\n" if has_sheet else ""
    )
    blocks = [
        _front_matter(numbers, licenses, info, kept),
        f"# {markdown(info.title)}\n",
        _opening(numbers, info, kept),
        picture,
        _license_section(licenses, info),
        _sources_section(samples, info),
        *_number_sections(numbers),
        _files_section(info),
        _rebuild_section(info),
    ]
    return "\n".join(block for block in blocks if block)


def _front_matter(numbers: Summary, licenses: list[License], info: DatasetInfo, kept: int) -> str:
    names = list(dict.fromkeys(_hugging_face(each) for each in licenses))
    matter: dict[str, Any] = {}
    if names:
        matter["license"] = names[0] if len(names) == 1 else names
    if "other" in names:
        matter |= {"license_name": "several-see-licenses-md", "license_link": "LICENSES.md"}
    matter["pretty_name"] = " ".join(info.title.split())
    matter["task_categories"] = ["image-segmentation" if info.labels else "other"]
    matter["size_categories"] = [next((n for most, n in _SIZES if kept < most), "n>1M")]
    modalities = [str(record[_VALUE]).lower() for record in numbers["modalities"]]
    matter["tags"] = ["medical", "cancer", "tcia", *(m for m in modalities if m != UNTOLD)]
    if "huggingface" in info.settings["formats"]:
        filled = [str(record["part"]) for record in numbers["parts"] if record[KEPT]]
        matter["configs"] = huggingface.configs(info, filled)
    written = yaml.safe_dump(matter, sort_keys=False, allow_unicode=True, width=100)
    return f"---\n{written}---\n"


def _hugging_face(each: License) -> str:
    return each.short if each.short in _HUGGING_FACE else "other"


def _opening(numbers: Summary, info: DatasetInfo, kept: int) -> str:
    patients = sum(int(record["patients"]) for record in numbers["parts"])
    dropped = sum(int(record[DROPPED]) for record in numbers["parts"])
    with_labels = f", with labels for {_listed(info.labels.values())}" if info.labels else ""
    folds = f" `{info.splits[0]}` has {info.folds} folds." if info.folds else ""
    return (
        f"{kept:,} volumes of {patients:,} Patients of [The Cancer Imaging Archive]"
        f"(https://www.cancerimagingarchive.net){with_labels}, split by Patient into "
        f"{_listed(info.splits)}.{folds} Left out, for the reasons below: {dropped:,} Series.\n"
    )


def _listed(names: Iterable[str]) -> str:
    *first, last = (f"`{name}`" for name in names)
    return f"{', '.join(first)} and {last}" if first else last


def _license_section(licenses: list[License], info: DatasetInfo) -> str:
    table = [
        {
            "Licence": markdown_license(each.name, each.uri),
            "Asks": "; ".join(_asked(each)),
            "Series": f"{each.series:,}",
            "Of": markdown(", ".join(each.collections)),
        }
        for each in licenses
    ]
    policy = markdown_link("data usage policy", info.policy)
    return (
        f"## Licences\n\n{_held(licenses)} the archive's {policy} holds for whoever uses or passes "
        "on these data: do not try to identify participants; name and cite the datasets; ask the "
        f"same of those who receive them. `LICENSES.md` has all of it.\n\n{_table(table)}"
    )


def _held(licenses: list[License]) -> str:
    if not licenses:
        return "Nothing is kept; of what could be,"
    strictest = licenses[0]
    named = markdown(strictest.name or strictest.uri)
    if not named:
        return f"**No licence is told for {strictest.series:,} Series: ask the archive.** For all,"
    if len(licenses) == 1:
        return f"**The licence is: {named}.** Beside it,"
    return f"**The strictest is: {named}.** Each holds for its own Series; beside them,"


def _asked(each: License) -> list[str]:
    if not each.short:
        return ["ask the archive before use"] if each.strictness > 200 else ["read it"]  # noqa: PLR2004
    words = each.short.split("-")
    named = [] if each.short.startswith("cc0") else ["name the source"]
    return named + [text for word, text in _ASKED.items() if word in words] or ["nothing"]


def _sources_section(samples: pa.Table, info: DatasetInfo) -> str:
    sources = list_sources(samples, info)
    lines = [
        f"- {markdown(source.title)}: {markdown_link(source.doi or source.uri, source.url)}"
        for source in sources
    ]
    if not lines:
        return ""
    told = "\n".join(lines)
    return (
        f"## To be cited\n\n`CITATIONS.bib` and `CITATION.cff` have these for programs.\n\n{told}\n"
    )


def _number_sections(numbers: Summary) -> Iterator[str]:
    yield "## What is in it\n"
    for name, title in TITLES.items():
        if not numbers[name]:
            continue
        if name == "quality":
            yield f"## {title}\n"
            yield _table(_explained(numbers[name]))
        else:
            yield f"### {title}\n"
            yield _table([_row_of(record, title) for record in numbers[name]])


def _row_of(record: Record, title: str) -> dict[str, str]:
    return {title if key == _VALUE else key: _shown(value) for key, value in record.items()}


def _explained(records: list[Record]) -> list[dict[str, str]]:
    return [
        {
            "code": f"`{record['code']}`",
            "which means": markdown(SAMPLE_CODES.get(str(record["code"]), "")),
            **{k: _shown(v) for k, v in record.items() if k != "code"},
        }
        for record in records
    ]


def _files_section(info: DatasetInfo) -> str:
    known: dict[str, str] = {
        "samples.parquet": "one row for each Series that was asked for, kept or dropped, and why",
        "images/": "the volumes, as NIfTI, by SeriesInstanceUID",
        **({"labels/": "their labels, on the same grid; 0 is background"} if info.labels else {}),
        "dataset.lock.json": "the cohort, the settings, and the hash of each file",
    }
    for name in info.settings["formats"]:
        if name != _DEFAULT:
            path = "croissant.json" if name == "croissant" else f"{name}/"
            known[path] = FORMATS[name]
    if "nnunet" in info.settings["formats"]:
        known["nnunet/"] += f"; dataset {nnunet.number(info.name)}"
    lines = [f"- `{path}`: {markdown(about)}" for path, about in known.items()]
    code = (
        f'from tcia_assets import load_dataset\n\nsamples = load_dataset(".", "{info.splits[0]}")'
    )
    told = "\n".join(lines)
    return f"## Files\n\n{told}\n\n```python\n{code}\n```\n"


def _rebuild_section(info: DatasetInfo) -> str:
    made_with = ", ".join(f"{name} {told}" for name, told in sorted(info.made_with.items()))
    settings = json.dumps(info.settings, indent=1, ensure_ascii=False)
    return (
        "## How to build it again\n\n"
        f"```sh\ntcia-assets dataset build {info.name} --locked\n```\n\n"
        "With the same versions of what made it, that gives the same bytes, and the folder is "
        f"called by their hash. It was made with {markdown(made_with)}. Its cohort has the SHA-256 "
        f"`{info.cohort_sha256}`; when it was asked, and of what, stands in its lock file. It was "
        f"declared as:\n\n{_fenced(settings, 'json')}"
    )


# --- Markdown -------------------------------------------------------------------------------------


def _fenced(text: str, language: str) -> str:
    """A text as it is, in a fence that it cannot end."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text}\n{fence}\n"


def _table(records: Sequence[Mapping[str, str]]) -> str:
    """A table, whose cells are Markdown; columns of numbers to the right."""
    if not records:
        return ""
    head = list(records[0])
    is_number = {name: all(record[name][:1].isdigit() for record in records) for name in head}
    rule = ["---:" if is_number[name] else "---" for name in head]
    lines = [head, rule, *([record[name] for name in head] for record in records)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _shown(value: str | float) -> str:
    return markdown(value) if isinstance(value, str) else f"{value:,}"
