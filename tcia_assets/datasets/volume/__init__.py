"""Series' zips -> volumes, labels and files that others can train on.

What belongs here: from DICOM in a zip to arrays in millimetres, and what is amiss with them. What
does not: which Series (`cohort`), what becomes of those with findings, and Dagster. It reads no
table and writes none. Needs the extra `dicom`.

    findings      the codes of what may be amiss, and which of them leave no array
    model         Volume and Labels, and the convention on axes
    members       the objects of a zip: headers first, pixels later
    frames        what a header says of each image
    stack         images -> slices in order, and an affine
    pixels        stored values, decoded and rescaled
    suv           the factor of PET
    reading       read_volume
    targets       names of segments and ROIs -> labels
    canvas        the grid on which labels are put
    segmentation  SEG
    contours      RTSTRUCT
    labelling     read_labels
    regrid        other axes, another spacing
    nifti         NIfTI files
"""

from tcia_assets.errors import MissingExtra

try:
    import numpy as np  # noqa: F401 - an optional extra
    import pydicom  # noqa: F401 - an optional extra
except ImportError as error:
    raise MissingExtra(str(error.name), "dicom", "making volumes") from None

from tcia_assets.datasets.volume.findings import CODES, Code, Finding, NoVolume
from tcia_assets.datasets.volume.labelling import read_labels
from tcia_assets.datasets.volume.model import Labels, Slice, Volume
from tcia_assets.datasets.volume.nifti import write_nifti
from tcia_assets.datasets.volume.reading import read_volume
from tcia_assets.datasets.volume.regrid import axis_codes, reoriented, resampled
from tcia_assets.datasets.volume.targets import Targets

__all__ = [
    "CODES",
    "Code",
    "Finding",
    "Labels",
    "NoVolume",
    "Slice",
    "Targets",
    "Volume",
    "axis_codes",
    "read_labels",
    "read_volume",
    "reoriented",
    "resampled",
    "write_nifti",
]
