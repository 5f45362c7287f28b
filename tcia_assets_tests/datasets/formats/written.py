"""What a format wrote."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np


def written(root: Path, name: str) -> dict[str, Any]:
    return json.loads((root / name).read_text(encoding="ascii"))


def files_below(root: Path) -> dict[str, str]:
    paths = [path for path in sorted(root.rglob("*")) if path.is_file()]
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths
    }


def array(path: Path) -> Any:
    return np.asanyarray(nibabel.load(path).dataobj).T
