"""Datasets: from a declaration in YAML to files that training code reads.

Reading pixels and labels is in `volume`; nothing here depends on Dagster.

    declaration           datasets/<name>.yaml as a pydantic model
    new_declaration       the text of a new one, from what is in the warehouse
    declaration_sections  its sections
    declaration_rules     what one of them asks of another
    class_settings        its section about classes
    channel_settings      its section about channels
    volume_settings       its section about volumes
    crop_settings         its keys about which part of a grid is written
    split_settings        its section about splits
    frame_settings        its section about two-dimensional images
    declaration_types     their field types
    yaml_lines            YAML with the line of each value
    quality               the codes of findings, and the policies for them
    pairing               which masks lie on which images
    cohort                the Series of a dataset, as a value
    cohort_diff           what differs between two of them
    declared_sql          SQL that a declaration holds
    channel_query         which Series is each channel of a case
    class_query           the values that classes are made of, joined with images
    classes               the classes of a dataset, and which an image has
    cohort_query          the cohort of a declaration, queried from the warehouse
    cohort_checks         whether a cohort still fits its declaration and the zips on disk
    cohort_lock           the lock file of a cohort
    split                 which Patient is in which split, and the check that none is in two
    cohort_leaks          leaks that the cohort shows before any volume is made
    sample_job            all that decides what is in a sample, with a hash
    sample_grid           the grid of a sample
    sample_channels       the channels of a case, on that grid
    sample_rows           the columns of a row about its files
    sample_files          the samples of a Series: zips -> NIfTI files
    frame_samples         the samples of two-dimensional images: a zip -> PNG or NIfTI files
    frame/                the frames of DICOM objects, and PNG files
    sample_code           the code that decides what is in them, as a digest
    written_values        their values, in the declared dtype and window
    sample_store          the finished samples on disk
    sample_pool           the processes that make samples
    sample_table          one row for each sample: findings, policies, split
    samples               the schema of that table
    plan_channels         the channels in a plan
    plan                  what a build would take and give
    plan_notes            what in it may be a mistake
    build                 a cohort -> a version of its dataset
    version_draft         the files of that version
    prune                 old versions, and the Series that datasets need
    versions              the versions on disk: found, read, verified
    version_publishing    one more of them, or one less
    version_diff          what differs between two versions
    dataset_info          what is true of a dataset as a whole
    pack                  a version as one archive to publish
    push                  a version on the Hugging Face Hub
    formats/              the samples in the formats of other tools
    label_makers          who made its labels
    licenses              the licences of a dataset, and what it has to cite
    summary               the numbers of the card
    card                  README.md
    card_attribution      its sections about makers, licences and citations
    contact_sheet         the picture beside README.md
    slice_preview         one slice of a sample, with its labels, as a picture
    grey_pictures         values as grey pixels, and JPEGs of bounded size
    loading               `load_dataset`: a built dataset as numpy arrays

Needs the extra `datasets`.
"""

from tcia_assets.errors import MissingExtra

try:
    import numpy as np  # noqa: F401 - an optional extra
except ImportError as error:
    raise MissingExtra(str(error.name), "datasets", "building and reading datasets") from None
