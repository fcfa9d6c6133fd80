"""The driver of the family's comparison: every table and figure, nothing done twice, and the page that quotes them."""

import json
import re

import pytest
from conftest import REPOSITORY, shrink

from benchmarks import family as costs
from fewshot import driver, family


@pytest.fixture
def tiny(tmp_path):
    """The configs, made to run in a second each."""
    shrink((REPOSITORY / "configs"), tmp_path)
    return tmp_path


def test_the_family_is_trained_tested_and_reported(tiny, tmp_path, omniglot, monkeypatch):
    folder = tmp_path / "family"
    few = ("sinusoid_maml", "sinusoid_reptile", "omniglot_maml", "omniglot_reptile", "omniglot_maml_5w5s")
    for runs in ("SINUSOID", "OMNIGLOT"):
        monkeypatch.setattr(family, runs, {name: {} for name in getattr(family, runs) if name in few})
    monkeypatch.setattr(family, "STEPS", [0, 1, 5, 10])
    monkeypatch.setattr(family, "SHOWN", [0, 1, 5, 10])
    options = {"folder": folder, "configs": tiny, "episodes": 4, "root": omniglot, "max_steps": 1}
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

    monkeypatch.setattr(driver, "run", lambda words: pytest.fail(f"trained again: {words}"))
    family.family(**options)
    assert (report / "tables.md").read_text() == tables


def test_the_page_quotes_the_tables():
    """Every table of docs/family.md is one that a command wrote, and so are the figures."""
    docs = REPOSITORY / "docs"
    page = (docs / "family.md").read_text()
    tables = (docs / "family" / "tables.md").read_text() + (docs / "family" / "costs.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert len(rows) > 60
    assert not [row for row in rows if row not in tables]
    assert all((docs / picture).exists() for picture in re.findall(r"\]\((family/.*?)\)", page))


def test_every_run_of_the_family_has_its_config():
    for name in [*family.SINUSOID, *family.OMNIGLOT]:
        assert (REPOSITORY / "configs" / f"{family.CONFIGS.get(name, name)}.yaml").exists()


def test_the_costs_are_measured_and_drawn(tmp_path, capsys):
    costs.main(out=tmp_path, algorithms=("reptile", "imaml"), rounds=1, tasks=2, steps=[1])
    rows = json.loads((tmp_path / "costs.json").read_text())["rows"]
    assert [row["engine"] for row in rows] == ["reptile", "imaml"]
    assert all(row["peak_mb"] > row["idle_mb"] > 0 and len(row["seconds"]) == 1 for row in rows)
    assert (tmp_path / "costs.png").stat().st_size > 10_000
    assert (tmp_path / "costs.md").read_text().startswith("| inner steps | reptile, ms | reptile, MB | imaml, ms |")
    assert "costs.md" in capsys.readouterr().out
