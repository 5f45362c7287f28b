"""DICOM zips to volumes and labels on a common grid, and NIfTI files. Needs the extra `datasets`.

Nothing here depends on tables, cohorts or Dagster.

    findings        codes of problems, and findings with numbers
    arrays          Volume and Labels, and the axis convention
    series_zip      the DICOM objects of a series zip
    attributes      values of DICOM attributes
    traits          attributes that distinguish the volumes of a Series
    frames          position, size and pixel format of each image
    slice_geometry  images to ordered slices and an affine
    slice_steps     findings about the steps between slices
    volume_groups   the images of a Series to those of its volumes
    volume_choice   which of them are used
    decoders        which library decompresses pixels
    pixels          stored values, decoded and rescaled
    padding         pixels outside the field of view
    suv             the SUV factor of PET
    intensities     values with a unit
    volume_reader   read_volume, open_volumes
    label_patterns  names of segments and ROIs to labels
    drawings        single segments and ROIs as voxels
    polygons        the pixels inside contours
    label_gaps      slices between drawn ones
    label_readers   several drawings of one structure
    label_grid      drawings to labels
    label_references  which volume of a Series labels belong to
    dicom_seg       SEG
    seg_pixels      the pixels of its frames
    rtstruct        RTSTRUCT
    label_reader    read_labels
    boxes           boxes of voxels, and images cut to them
    regrid          axes in other directions, and a different spacing
    nifti           NIfTI files
"""

from importlib.util import find_spec

from tcia_assets.errors import MissingExtra

# Looked for and not imported: a picture of one object needs no NIfTI.
for _name in ("numpy", "pydicom", "nibabel"):
    if find_spec(_name) is None:
        raise MissingExtra(_name, "datasets", "making volumes")
