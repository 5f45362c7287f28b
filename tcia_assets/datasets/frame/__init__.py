"""Two-dimensional images: the frames of MG, DX, CR, US and other objects, as PNG or NIfTI.

Nothing here depends on tables, cohorts or Dagster.

    frame_choice  which frames of an object are used
    frame_header  spacing, view and laterality, and findings about an object
    frame_reader  read_frames: the frames of a Series from its zip
    display       real values to grey levels: window, lookup table, inversion
    png           PNG files
"""
