from __future__ import annotations

from tcia_assets.doctor.step_result import DIFFERS, OK, UNKNOWN, StepResult, differs, ok, unknown


def test_a_check_has_one_of_three_outcomes() -> None:
    made = [ok("a", "x"), differs("b", "x", "do it"), unknown("c", "x")]
    assert [each.outcome for each in made] == [OK, DIFFERS, UNKNOWN]


def test_all_texts_that_may_hold_a_secret_are_rewritten() -> None:
    check = differs("a", "secret", "no secret").rewritten(lambda t: t.replace("secret", "***"))
    assert check == StepResult("a", DIFFERS, "***", "no ***")
