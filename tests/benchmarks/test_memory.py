"""The formula for memory is held to what was measured, and docs/scaling.md to both."""

from helpers import REPOSITORY

from benchmarks.memory import FORMULA, Setting, amounts, fitted, predicted


def test_the_published_table_agrees_with_the_formula_within_a_quarter():
    lines = (REPOSITORY / "docs" / "scaling.md").read_text().split("| ratio |")[1].splitlines()[2:]
    rows = [line.strip("| ").split(" | ") for line in lines[: lines.index("")]]
    assert len(rows) > 20
    for *numbers, how, formula, measured, _ in rows:
        marks = {"first_order": "first order" in how, "record": "recorded" in how}
        setting = Setting(*map(int, numbers), **marks)
        assert f"{predicted(setting):.0f}" == formula
        assert 0.75 < predicted(setting) / float(measured) < 1.25


def test_the_example_of_the_page_by_hand():
    assert round(predicted(Setting(20, 5, 5, 5, 32))) == round(115 + 32 * (2.4 + 264)) == 8640
    assert round(predicted(Setting(20, 5, 5, 5, 16))) == 4377


def test_a_fit_finds_the_numbers_that_made_the_peaks():
    settings = [Setting(5, 1, 1, 1, 4), Setting(5, 1, 1, 5, 4), Setting(20, 5, 5, 1, 32), Setting(5, 5, 5, 3, 16)]
    peaks = [predicted(setting) for setting in settings]
    assert fitted(settings, peaks).round(6).tolist() == list(FORMULA)
    assert amounts(Setting(5, 1, 2, 3, 2, first_order=True)) == (1, 8, 20, 0)
