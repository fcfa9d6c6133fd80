"""The homework's driver: every run, every table and figure, and nothing done twice."""

import re

import pytest
import torch
from helpers import REPOSITORY

from fewshot.studies import homework


def test_every_run_is_one_that_the_command_line_takes(only_parsed, tmp_path, monkeypatch):
    monkeypatch.setattr(homework, "test", lambda *_: None)
    monkeypatch.setattr(homework, "figures", lambda *_: None)
    monkeypatch.setattr(homework, "tables", lambda *_: {})
    homework.homework(folder=tmp_path)
    assert only_parsed == list(homework.RUNS)


@pytest.fixture
def few(monkeypatch) -> list[str]:
    """One start of the inner learning rate stands for all three. The names of the runs that are left."""
    runs = {name: run for name, run in homework.RUNS.items() if not re.match(r"maml_(0\.04|4\.0)", name)}
    kinds = {(config, *options) for config, options in homework.RUNS.values()}
    assert {(config, *options) for config, options in runs.values()} == kinds
    monkeypatch.setattr(homework, "RUNS", runs)
    monkeypatch.setattr(homework, "STARTS", ("0.4",))
    for group in ("MAML", "LEARNED"):
        monkeypatch.setattr(homework, group, [name for name in getattr(homework, group) if name in runs])
    monkeypatch.setattr(homework, "SHOTS", [1, 4])
    monkeypatch.setattr(homework, "STEPS", [1, 3])
    return list(runs)


def test_the_homework_trains_tests_and_reports(few, tiny, tmp_path, omniglot, nothing_again):
    folder = tmp_path / "homework"
    options = {"folder": folder, "configs": tiny, "episodes": 2, "root": omniglot}
    homework.homework(**options, max_steps=1)
    for name in few:
        assert torch.load(folder / "checkpoints" / name / "last.ckpt", weights_only=True)["global_step"] == 1
    report = folder / "report"
    tables = (report / "tables.md").read_text()
    for name in few:
        assert f"| {name} | 1 |" in tables
    assert len(re.findall(r"^\| [14] \|", tables, re.MULTILINE)) == 2 * 2  # a row per K
    # MAML and the prototypical network at each K, twice; two pairs of MAML; one of 20-way.
    assert tables.count(" is ahead |") + tables.count(" undecided |") == 2 * 2 + 2 + 1
    page = (REPOSITORY / "docs" / "homework.md").read_text()
    pictures = {name for name in re.findall(r"\(homework/(\w.*?\.png)\)", page) if not re.search(r"0\.04|4\.0", name)}
    assert {path.name for path in report.glob("*.png")} >= pictures

    nothing_again()
    homework.homework(**options, max_steps=1)
    assert (report / "tables.md").read_text() == tables
    with pytest.raises(pytest.fail.Exception, match="max_steps=2"):  # goes on from there
        homework.homework(**options, max_steps=2)
