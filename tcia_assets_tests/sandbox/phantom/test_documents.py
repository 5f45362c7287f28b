"""SR and REG."""

from __future__ import annotations

from tcia_assets_tests.sandbox.phantom.made_objects import opened, row


def test_a_report_contains_that_it_is_synthetic() -> None:
    (report,) = opened(row("SR"))
    assert (report.ValueType, report.CompletionFlag) == ("CONTAINER", "COMPLETE")
    (comment,) = report.ContentSequence
    assert "not a patient image" in comment.TextValue
    assert "PixelData" not in report


def test_a_registration_is_the_identity_within_the_frame_of_reference_of_the_study() -> None:
    (registration,) = opened(row("REG"))
    (image,) = opened(row("CT"))
    assert registration.FrameOfReferenceUID == image.FrameOfReferenceUID
    (moved,) = registration.RegistrationSequence
    matrix = moved.MatrixRegistrationSequence[0].MatrixSequence[0]
    assert moved.FrameOfReferenceUID == image.FrameOfReferenceUID
    assert matrix.FrameOfReferenceTransformationMatrix == [
        *(1, 0, 0, 0), *(0, 1, 0, 0), *(0, 0, 1, 0), *(0, 0, 0, 1)
    ]  # fmt: skip
