"""What the row of a sample says about its files: findings, values, geometry, hashes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tcia_assets.datasets.volume.arrays import Labels, Volume, sha256_of_values
from tcia_assets.datasets.volume.findings import Finding
from tcia_assets.datasets.volume.nifti import write_nifti
from tcia_assets.datasets.volume.regrid import axis_codes
from tcia_assets.store.files import sha256_of


def sample_finding(code: str, message: str) -> dict[str, Any]:
    """Return a finding about the sample, as opposed to its volume."""
    return {"code": code, "message": message, "numbers": {}, "sop_instance_uids": []}


def finding_row(finding: Finding, channel: str = "") -> dict[str, Any]:
    """Return a finding of a volume; that of a channel says so."""
    about = f"channel {channel!r}: " if channel else ""
    return {
        "code": finding.code,
        "message": about + finding.message,
        "numbers": {name: float(number) for name, number in sorted(finding.numbers.items())},
        "sop_instance_uids": list(finding.sop_instance_uids),
    }


def describe_read(volume: Volume) -> dict[str, Any]:
    """Return what is said of a volume as it was read."""
    return {
        "volume": volume.name or None,
        "pixel_sha256": sha256_of_values(volume.voxels),
        "units": volume.units,
        "decoder": volume.decoder or None,
    }


def describe_values(volume: Volume) -> dict[str, Any]:
    """Return what is said of the values of a volume as it is written."""
    return {
        "dtype": volume.voxels.dtype.name,
        "least": float(volume.voxels.min()),
        "greatest": float(volume.voxels.max()),
    }


def describe_grid(volume: Volume) -> dict[str, Any]:
    """Return what is said of the grid of a volume as it is written."""
    return {
        "shape": list(volume.voxels.shape[::-1]),
        "spacing": list(volume.spacing),
        "affine": volume.affine.ravel().tolist(),
        "axes": axis_codes(volume.affine),
    }


def write_image(path: Path, kind: str, image: Volume | Labels) -> dict[str, Any]:
    """Write the NIfTI file of an image, and return its size and hash."""
    size = write_nifti(path, image)
    return {f"{kind}_bytes": size, f"{kind}_sha256": sha256_of(path)}
