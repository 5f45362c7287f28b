"""Croissant 1.0: what the dataset holds, as JSON-LD that search engines and loaders read.

What belongs here: `croissant.json`, beside `samples.parquet`, which it describes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from tcia_assets.datasets.dataset_info import DatasetInfo
from tcia_assets.datasets.formats.common import (
    TEST,
    TRAINING,
    VALIDATION,
    KeptSamples,
    split_role,
    write_json,
)
from tcia_assets.datasets.licenses import list_licenses, list_sources
from tcia_assets.datasets.samples import KEPT, SAMPLES
from tcia_assets.store.files import sha256_of

_SPLITS = {
    TRAINING: "cr:TrainingSplit",
    VALIDATION: "cr:ValidationSplit",
    TEST: "cr:TestSplit",
}
_TYPES = {
    pa.string(): "sc:Text",
    pa.int64(): "sc:Integer",
    pa.float64(): "sc:Float",
}
_ABOUT = {
    "SeriesInstanceUID": "The DICOM Series that the sample was made of, which is its name.",
    "state": f"`{KEPT}`: the sample is in the dataset; else `reasons` says why it is not.",
    "patient": "Whose sample it is; nobody is in two parts.",
    "part": "The part of the split.",
    "fold": "The fold, from 0, of samples of the first part.",
    "image": "The path of the volume.",
    "image_sha256": "The SHA-256 of the file of the volume.",
    "label": "The path of the labels, on the grid of the volume.",
    "label_sha256": "The SHA-256 of the file of the labels.",
    "pixel_sha256": "The SHA-256 of shape, dtype and voxels as they were read.",
}
# The context of the specification, word by word: readers compare.
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def write(root: Path, kept: KeptSamples, info: DatasetInfo) -> None:
    """`croissant.json`: the table of samples with its hash, the files, and the parts.

    Its records are the rows of `samples.parquet`, those of dropped samples too: `state` tells.
    """
    write_json(root / "croissant.json", _document(root, kept, info))


def _document(root: Path, kept: KeptSamples, info: DatasetInfo) -> dict[str, Any]:
    cited = [
        f"{source.title}. {source.url or source.uri}" for source in list_sources(kept.table, info)
    ]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": info.name,
        "alternateName": info.title,
        "description": f"{info.title}. {len(kept.rows)} volumes of The Cancer Imaging Archive"
        f"{' with labels' if info.labels else ''}, split by Patient into "
        f"{', '.join(info.splits)}.",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "license": [
            each.uri or each.name or "none told" for each in list_licenses(kept.table, info)
        ],
        "citeAs": "; ".join(cited) or "The Cancer Imaging Archive",
        "citation": cited,
        "usageInfo": info.policy,
        "url": "https://www.cancerimagingarchive.net",
        "creator": {
            "@type": "sc:Organization",
            "name": "The Cancer Imaging Archive",
            "url": "https://www.cancerimagingarchive.net",
        },
        "keywords": ["medical imaging", "cancer", *kept.modalities],
        # Which version it is, only the hash over this file and all others can tell.
        "version": f"1.0.0+{info.cohort_sha256[:12]}",
        "distribution": _distribution(root, info),
        "recordSet": [_parts(info), _samples()],
    }


def _distribution(root: Path, info: DatasetInfo) -> list[dict[str, Any]]:
    table = root / "samples.parquet"
    digest = sha256_of(table)
    files = [
        {
            "@type": "cr:FileObject",
            "@id": "samples.parquet",
            "name": "samples.parquet",
            "description": "One row for each sample, kept or dropped, with the hashes of files.",
            "contentUrl": "samples.parquet",
            "contentSize": f"{table.stat().st_size} B",
            "encodingFormat": "application/x-parquet",
            "sha256": digest,
        },
        _file_set("images", "The volumes, as NIfTI."),
    ]
    return files + ([_file_set("labels", "The labels, as NIfTI.")] if info.labels else [])


def _file_set(folder: str, about: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": folder,
        "name": folder,
        "description": about,
        "includes": f"{folder}/*.nii.gz",
        "encodingFormat": "application/gzip",
    }


def _parts(info: DatasetInfo) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "parts",
        "name": "parts",
        "description": "The parts of the split, and what they are for.",
        "dataType": "cr:Split",
        "key": {"@id": "parts/name"},
        "field": [
            {"@type": "cr:Field", "@id": "parts/name", "name": "name", "dataType": "sc:Text"},
            {"@type": "cr:Field", "@id": "parts/url", "name": "url", "dataType": "sc:URL"},
        ],
        "data": [
            {"parts/name": part, "parts/url": _SPLITS[split_role(part, info)]}
            for part in info.splits
        ],
    }


def _samples() -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "samples",
        "name": "samples",
        "description": "The rows of samples.parquet, without its nested columns.",
        "key": {"@id": "samples/SeriesInstanceUID"},
        "field": [_field(field) for field in SAMPLES if field.type in _TYPES],
    }


def _field(field: pa.Field) -> dict[str, Any]:
    made = {
        "@type": "cr:Field",
        "@id": f"samples/{field.name}",
        "name": field.name,
        "description": _ABOUT.get(field.name, f"{field.name}, as the archive tells it or as read."),
        "dataType": _TYPES[field.type],
        "source": {"fileObject": {"@id": "samples.parquet"}, "extract": {"column": field.name}},
    }
    if field.name == "part":
        made["references"] = {"field": {"@id": "parts/name"}}
    return made
