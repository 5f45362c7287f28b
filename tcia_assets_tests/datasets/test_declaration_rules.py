"""What one section of a declaration asks of another is checked before anything runs."""

from __future__ import annotations

import pytest

from tcia_assets.datasets.declaration import Declaration, parse_declaration
from tcia_assets.datasets.quality import KEEP
from tcia_assets.errors import BadDeclaration
from tcia_assets_tests.datasets.example_texts import LEAST, TARGET

OF_EACH = TARGET.replace("}}", "}, readers: each}")


def made(text: str) -> Declaration:
    return parse_declaration(text, "lungs")


@pytest.mark.parametrize(
    ("text", "line", "key", "reason"),
    [
        (LEAST + "formats: [nnunet]\n", 6, "formats", "'nnunet' needs a target"),
        (
            LEAST + OF_EACH + "formats: [nnunet]\n",
            6,
            "target.readers",
            "'nnunet' has one label for each voxel",
        ),
        (
            f"{LEAST}{TARGET}formats: [nnunet]\nqc:\n  without_target: keep\n",
            9,
            "qc.without_target",
            "'nnunet' needs labels for each image; valid with it: 'drop', 'fail'",
        ),
        (
            LEAST.replace("{train: 0.8, test: 0.2}", "\n    a-b: 0.8\n    a_b: 0.2")
            + "formats: [huggingface]\n",
            7,
            "split.fractions.a_b",
            "makes 'a_b' equal to 'a-b'",
        ),
        (
            LEAST.replace("train", "one_site")
            + "  holdout:\n    column: Site\n    part: one-site\n    values: [X]\n"
            + "formats: [huggingface]\n",
            8,
            "split.holdout.part",
            "makes 'one-site' equal to 'one_site'",
        ),
    ],
)
def test_a_format_that_the_rest_does_not_suit_is_refused(
    text: str, line: int, key: str, reason: str
) -> None:
    with pytest.raises(BadDeclaration) as refused:
        made(text)
    assert (refused.value.line, refused.value.key) == (line, key)
    assert reason in refused.value.problem


def test_a_limit_of_one_format_holds_for_that_format_only() -> None:
    keeps = f"{TARGET}qc: {{without_target: keep}}\n"
    assert made(f"{LEAST}{keeps}formats: [monai]\n").policy("without_target") == KEEP
    assert made(f"{LEAST}{TARGET}formats: [nnunet]\n").policy("without_target") == "drop"
    alike = LEAST.replace("train", "a-b").replace("test", "a_b")
    assert made(f"{alike}formats: [webdataset]\n").split.splits == ("a-b", "a_b")
    # Held-out Patients may join a split that the fractions name.
    joined = LEAST + "  holdout: {part: test, column: Site, values: [X]}\n"
    assert made(f"{joined}formats: [huggingface]\n").split.splits == ("train", "test")
