"""The section `frames`: its defaults, and what it is refused beside."""

from __future__ import annotations

import pytest

from tcia_assets.datasets.declaration import Declaration, parse_declaration
from tcia_assets.datasets.frame_settings import FrameSettings
from tcia_assets.errors import BadDeclaration

BASE = """\
title: Breasts
cohort: {collections: [Mine]}
split: {salt: "1", fractions: {train: 0.5, test: 0.5}}
"""


def declared(text: str) -> Declaration:
    return parse_declaration(BASE + text, "breasts")


def test_by_default_images_are_shown_as_a_viewer_does() -> None:
    frames = declared("frames: {}").frames
    assert frames == FrameSettings(file="png", bits=8, window="header", choose="middle")
    assert frames.ending == ".png"
    chosen = declared("frames: {bits: 16, window: [0, 4095], choose: all}").frames
    assert chosen is not None and (chosen.bits, chosen.window) == (16, (0.0, 4095.0))
    nifti = declared("frames: {file: nifti}").frames
    assert nifti is not None and nifti.ending == ".nii.gz"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("frames: {bits: 12}", "'12' is not 8 or 16"),
        ("frames: {window: lung}", "is not one of header, full, or a lower and an upper end"),
        ("frames: {window: [5, 5]}", "[5, 5] is not"),
        ("frames: {choose: some}", "'some'"),
        ("frames: {file: jpeg}", "'jpeg'"),
        ("frames: {file: nifti, bits: 16}", "NIfTI holds real values"),
        ("frames: {spacing: 1}", "images keep their own grid"),
        ("frames: {}\nvolume: {dtype: int16}", "it cannot stand beside 'frames'"),
        ("frames: {}\ntarget: {kind: SEG, labels: {a: b}}", "it cannot stand beside 'frames'"),
        ("formats: [imagefolder]", "it needs a section 'frames'"),
        ("frames: {file: nifti}\nformats: [imagefolder]", "'imagefolder' needs 'png'"),
    ],
)
def test_what_means_nothing_is_refused(text: str, problem: str) -> None:
    with pytest.raises(BadDeclaration) as refused:
        declared(text)
    assert problem in str(refused.value)


def test_settings_without_frames_are_those_of_earlier_versions() -> None:
    assert "frames" not in declared("").settings
    assert "burned_in_annotation" not in declared("").settings["qc"]
    assert declared("frames: {}").settings["qc"]["burned_in_annotation"] == "keep"
