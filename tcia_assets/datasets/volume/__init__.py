"""Series' zips -> volumes, labels and files that others can train on.

What belongs here: from DICOM in a zip to arrays in millimetres, and what is amiss with them. What
does not: which Series (`cohort`), what becomes of those with findings, and Dagster. It reads no
table and writes none. Needs the extra `datasets`.

    findings        the codes of what may be amiss, and which of them leave no array
    arrays          Volume and Labels, and the convention on axes
    series_zip      the DICOM objects of a series zip: headers first, pixels later
    frames          what a header contains about each image
    slice_geometry  images -> slices in order, and an affine
    pixels          stored values, decoded and rescaled
    suv             the SUV factor of PET
    volume_reader   read_volume
    label_patterns  names of segments and ROIs -> labels
    label_grid      the grid on which labels are set
    dicom_seg       SEG
    rtstruct        RTSTRUCT
    label_reader    read_labels
    resampling      other axes, another spacing
    nifti           NIfTI files
"""

from tcia_assets.errors import MissingExtra

try:
    # nibabel last: it needs numpy, and the error should name what is missing.
    import nibabel  # noqa: F401 - an optional extra
    import numpy as np  # noqa: F401 - an optional extra
    import pydicom  # noqa: F401 - an optional extra
except ImportError as error:
    raise MissingExtra(str(error.name), "datasets", "making volumes") from None

from tcia_assets.datasets.volume.arrays import Labels, Slice, Volume
from tcia_assets.datasets.volume.findings import FINDING_CODES, Finding, FindingCode, NoVolume
from tcia_assets.datasets.volume.label_patterns import LabelPatterns
from tcia_assets.datasets.volume.label_reader import read_labels
from tcia_assets.datasets.volume.nifti import write_nifti
from tcia_assets.datasets.volume.orientation import axis_codes, reorient
from tcia_assets.datasets.volume.resampling import resample
from tcia_assets.datasets.volume.volume_reader import read_volume

__all__ = [
    "FINDING_CODES",
    "Finding",
    "FindingCode",
    "LabelPatterns",
    "Labels",
    "NoVolume",
    "Slice",
    "Volume",
    "axis_codes",
    "read_labels",
    "read_volume",
    "reorient",
    "resample",
    "write_nifti",
]
