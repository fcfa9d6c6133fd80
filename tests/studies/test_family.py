"""The driver of the family's comparison: every table and figure, nothing done twice, and the page that quotes them."""

import re

from fewshot.studies import family


def test_every_run_is_one_that_the_command_line_takes(only_parsed, tmp_path, monkeypatch):
    monkeypatch.setattr(family, "sinusoid", lambda *_: {})
    monkeypatch.setattr(family, "omniglot", lambda *_: {})
    family.family(folder=tmp_path, parts=["sinusoid", "omniglot"])
    assert only_parsed == [*family.SINUSOID, *family.OMNIGLOT]


def test_the_family_is_trained_tested_and_reported(tiny, tmp_path, omniglot, nothing_again, monkeypatch):
    folder = tmp_path / "family"
    few = ("sinusoid_maml", "sinusoid_reptile", "omniglot_maml", "omniglot_reptile", "omniglot_maml_5w5s")
    for runs in ("SINUSOID", "OMNIGLOT"):
        monkeypatch.setattr(family, runs, {name: {} for name in getattr(family, runs) if name in few})
    monkeypatch.setattr(family, "STEPS", [0, 1, 5, 10])
    monkeypatch.setattr(family, "SHOWN", [0, 1, 5, 10])
    options = {"folder": folder, "configs": tiny, "episodes": 2, "root": omniglot, "max_steps": 1}
    family.family(**options)
    report = folder / "report"
    tables = (report / "tables.md").read_text()
    assert {path.name for path in report.glob("*.png")} == {
        "meta_loss.png", "omniglot_curves.png", "sinusoid_curves.png", "sinusoid_fits.png", "sinusoid_steps.png"
    }  # fmt: skip
    for name in few:
        assert f"| {name} | 1 |" in tables
    assert len(re.findall(r"^\| adaptation steps \| (?:1|5|10) \| sinusoid_maml \|", tables, re.MULTILINE)) == 3
    assert len(re.findall(r"^\| shots \| [15] (?:trans|in)ductive \| omniglot_maml", tables, re.MULTILINE)) == 2 * 2

    nothing_again()
    family.family(**options)
    assert (report / "tables.md").read_text() == tables
