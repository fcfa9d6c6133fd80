"""The driver of docs/feature_reuse.md: every run, every table and figure, and nothing done twice."""

import re

import pytest

from fewshot.studies import feature_reuse


def test_every_run_is_one_that_the_command_line_takes(only_parsed, tmp_path, monkeypatch):
    monkeypatch.setattr(feature_reuse, "SHOTS", ())
    monkeypatch.setattr(feature_reuse, "reuse", lambda *_, **__: pytest.skip("all were parsed"))
    try:
        feature_reuse.feature_reuse(folder=tmp_path)
    except pytest.skip.Exception:
        assert only_parsed == [*feature_reuse.OMNIGLOT, feature_reuse.SINUSOID]
    else:
        pytest.fail("nothing was asked")


def test_it_trains_asks_and_reports(tiny, tmp_path, omniglot, nothing_again, monkeypatch):
    monkeypatch.setattr(feature_reuse, "OMNIGLOT", {"maml": {}, "anil": feature_reuse.OMNIGLOT["anil"]})
    monkeypatch.setattr(feature_reuse, "SHOTS", (1,))
    options = {"folder": tmp_path / "study", "configs": tiny, "episodes": 2, "root": omniglot}
    feature_reuse.feature_reuse(**options, max_steps=2)
    report = tmp_path / "study" / "report"
    tables = (report / "tables.md").read_text()
    assert len(re.findall(r"^\| maml \| block 1 \|", tables, re.MULTILINE)) == 2  # frozen, and compared
    assert "| anil | NIL |" in tables
    assert "| maml_sinusoid | block 1 |" in tables  # the small one has no other
    assert len(re.findall(r"^\| [12] \|", tables, re.MULTILINE)) == 3 * 2  # two checkpoints on the way of each
    drawn = {path.name for path in report.glob("*.png")}
    assert drawn >= {"omniglot_1_freezing.png", "sinusoid_similarity.png", "anil_training.png", "curves_sinusoid.png"}

    nothing_again()
    feature_reuse.feature_reuse(**options, max_steps=2)
    assert (report / "tables.md").read_text() == tables
