"""The checkpoints that come with the repository."""

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from helpers import REPOSITORY, reports

from fewshot.checkpoints import KEY, read_checkpoint
from fewshot.cli import main
from fewshot.studies.exported import exported

FOLDER = REPOSITORY / "checkpoints" / "pretrained"
ROW = re.compile(r"^\| `(\w+\.ckpt)` \|.*\| ([\d.]+) ± ([\d.]+) \|", re.MULTILINE)
ALL = {file: (float(mean), float(ci95)) for file, mean, ci95 in ROW.findall((FOLDER.parent / "README.md").read_text())}
SINUSOIDS, LAKE = (
    {file: figures for file, figures in ALL.items() if file.startswith(kind)} for kind in ("sinusoid_", "lake_")
)
TABLE = {file: figures for file, figures in ALL.items() if file not in {*SINUSOIDS, *LAKE}}
EXACT = {"maml_5w1s.ckpt", "protonet_5w1s.ckpt", "ridge_5w1s.ckpt"}
"""One of each kind, tested in full; ``make results`` does that with all, in minutes."""
FIRST = 60


def test_the_tables_have_every_checkpoint():
    assert set(ALL) == {path.name for path in FOLDER.glob("*.ckpt")}
    assert TABLE
    assert LAKE
    assert SINUSOIDS


@pytest.mark.parametrize("file", ALL)
def test_a_pretrained_checkpoint_is_small_and_holds_no_code(file):
    assert (FOLDER / file).stat().st_size < 1e6
    assert "optimizer_states" not in torch.load(FOLDER / file, weights_only=True)


@pytest.mark.parametrize("row", exported(), ids=lambda row: row.checkpoint)
def test_the_command_of_a_checkpoint_is_that_of_its_training(row, capsys):
    with pytest.raises(SystemExit):
        main([*shlex.split(row.command)[1:], "--print_config"])
    typed = yaml.safe_load(capsys.readouterr().out)
    checkpoint = read_checkpoint(f"pretrained/{row.checkpoint}")[KEY]["config"]
    left_out = {"optimizer", "test_queries"}  # whose step size is meta_lr, and what was added after a training
    for part in ("model", "data"):
        theirs = {name: value for name, value in checkpoint[part]["init_args"].items() if name not in left_out}
        assert {name: typed[part]["init_args"][name] for name in theirs} == theirs


def report_of(file: str, root: Path, folder: Path, *options: str) -> Mapping[str, Any]:
    """What ``fewshot test`` reports of a checkpoint."""
    main(["test", f"--ckpt_path=pretrained/{file.removesuffix('.ckpt')}", f"--data.root={root}", *options,
          "--trainer.enable_progress_bar=false", f"--trainer.default_root_dir={folder}"])  # fmt: skip
    (report,) = reports(folder)
    assert f"{report['ways']}w{report['shots']}s" in file
    return report


@pytest.mark.parametrize("file", sorted(EXACT))
def test_a_pretrained_checkpoint_is_as_good_as_its_table_says(file, real_omniglot, tmp_path):
    report = report_of(file, real_omniglot, tmp_path)
    mean, ci95 = TABLE[file]
    assert report["episodes"] == 600
    # The same episodes: nothing but rounding may differ, a few of 15,000 queries. The interval is much wider.
    assert abs(100 * report["accuracy"] - mean) < 0.1 < ci95
    assert 100 * report["ci95"] == pytest.approx(ci95, abs=0.05)


@pytest.mark.parametrize("file", sorted(set(TABLE) - EXACT))
def test_a_pretrained_checkpoint_is_about_as_good_on_the_first_episodes(file, real_omniglot, tmp_path):
    report = report_of(file, real_omniglot, tmp_path, f"--data.test_episodes={FIRST}")
    mean, ci95 = TABLE[file]
    # The first are drawn alike with the others, so the interval is wider by the root of their share.
    assert abs(100 * report["accuracy"] - mean) < ci95 * (600 / FIRST) ** 0.5


def test_the_errors_on_lakes_runs_are_those_of_the_table(real_omniglot, tmp_path):
    paths = ",".join(f"pretrained/{file.removesuffix('.ckpt')}" for file in LAKE)
    main(["lake", f"--ckpt_paths=[{paths}]", "--ensemble=true", f"--data.root={real_omniglot}", f"--folder={tmp_path}"])
    *single, mean, ensemble = json.loads((tmp_path / "lake.json").read_text())
    for row, (error, ci95) in zip(single, LAKE.values()):
        assert 100 * row["error"] == pytest.approx(error, abs=0.26)  # rounding may turn one of 400 queries
        assert 100 * row["ci95"] == pytest.approx(ci95, abs=0.2)
    page = (REPOSITORY / "docs" / "lake.md").read_text()
    for row, name in ((mean, "mean of the three"), (ensemble, "the three as an ensemble")):
        (quoted,) = re.findall(rf"^\| {name} \| ([\d.]+) ±", page, re.MULTILINE)
        assert 100 * row["error"] == pytest.approx(float(quoted), abs=0.26)


@pytest.mark.parametrize("file", SINUSOIDS)
def test_a_learner_of_sinusoids_is_as_good_as_its_table_says(file, tmp_path):
    main(["test", f"--ckpt_path=pretrained/{file.removesuffix('.ckpt')}", "--trainer.enable_progress_bar=false",
          f"--trainer.default_root_dir={tmp_path}"])  # fmt: skip
    (report,) = reports(tmp_path)
    assert (report["mse"], report["ci95"]) == pytest.approx(SINUSOIDS[file], abs=0.01)
