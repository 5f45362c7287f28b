"""Datasets: from a question over the warehouse to what others can train on.

What belongs here: the declaration of a dataset, who is in it, who is kept apart from whom, and what
is written of it. What does not: reading volumes (`volume`), pairing (`pairing.py`), Dagster.

    yaml_tree     YAML with the line of each value, and errors that name it
    declaration   datasets/<name>.yaml as frozen values, checked before anything runs
    cohort        the Series of a dataset, frozen; what has changed since
    samples       what a row of the dataset says of each image Series
    split         which Patient is in which part, and the proof that none is in two
    dataset_info  what is true of a dataset as a whole
    sample_files  one sample: zips -> files and what its row says
    build         a cohort -> a version of its dataset
    versions      the versions on disk: their lock files, listed, compared, verified
    formats/      the samples in the forms that others read
    licenses      under which licences it is, and whom it cites
    card          README.md, and the numbers in it as tables
    contact_sheet the picture beside it
    loading       what was built, as arrays

Needs the extra `datasets`.
"""

from tcia_assets.errors import MissingExtra

try:
    import numpy as np  # noqa: F401 - an optional extra
except ImportError as error:
    raise MissingExtra(str(error.name), "datasets", "building and reading datasets") from None
