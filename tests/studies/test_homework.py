"""The homework's driver: every run, every table and figure, and nothing done twice."""

import re

import pytest
import torch
from conftest import REPOSITORY, shrink

from fewshot import driver, homework


@pytest.fixture
def tiny(tmp_path):
    """The configs, made to run in a second each."""
    shrink((REPOSITORY / "configs" / "homework"), tmp_path)
    return tmp_path


def test_the_homework_trains_tests_and_reports(tiny, tmp_path, omniglot, monkeypatch):
    folder = tmp_path / "homework"
    options = {"folder": folder, "configs": tiny, "episodes": 2, "root": omniglot}
    monkeypatch.setattr(homework, "SHOTS", [1, 4])
    monkeypatch.setattr(homework, "STEPS", [1, 3])
    homework.homework(**options, max_steps=1)
    for name in homework.RUNS:
        assert torch.load(folder / "checkpoints" / name / "last.ckpt", weights_only=True)["global_step"] == 1
    report = folder / "report"
    tables = (report / "tables.md").read_text()
    for name in homework.RUNS:
        assert f"| {name} | 1 |" in tables
    assert len(re.findall(r"^\| [14] \|", tables, re.MULTILINE)) == 2 * 2  # a row per K
    assert tables.count(" is ahead |") + tables.count(" undecided |") == 2 * 2 + 3 + 1 + 1
    page = (REPOSITORY / "docs" / "homework.md").read_text()
    assert {path.name for path in report.glob("*.png")} >= set(re.findall(r"\(homework/(\w.*?\.png)\)", page))

    monkeypatch.setattr(driver, "run", lambda words: pytest.fail(f"trained again: {words}"))
    homework.homework(**options, max_steps=1)
    with pytest.raises(pytest.fail.Exception, match=r"last\.ckpt"):  # goes on from there
        homework.homework(**options, max_steps=2)


def test_the_page_quotes_the_tables():
    """Every table of docs/homework.md is one that the driver wrote, and so are the figures."""
    page = (REPOSITORY / "docs" / "homework.md").read_text()
    tables = (REPOSITORY / "docs" / "homework" / "tables.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert len(rows) > 40
    assert not [row for row in rows if row not in tables]
    assert all((REPOSITORY / "docs" / picture).exists() for picture in re.findall(r"\]\((homework/.*?\.png)\)", page))
