"""The checkpoints that come with the repository."""

import re

import pytest
import torch
from helpers import REPOSITORY, reports

from fewshot.cli import main

FOLDER = REPOSITORY / "checkpoints" / "pretrained"
ROW = re.compile(r"^\| `(\w+\.ckpt)` \|.*\| ([\d.]+) ± ([\d.]+) \|", re.MULTILINE)
SINUSOIDS = "sinusoid_"
TABLE = {
    file: (float(mean), float(ci95)) for file, mean, ci95 in ROW.findall((FOLDER.parent / "README.md").read_text())
}


def test_the_table_has_every_checkpoint():
    assert set(TABLE) == {path.name for path in FOLDER.glob("*.ckpt")}
    assert TABLE


@pytest.mark.parametrize("file", TABLE)
def test_a_pretrained_checkpoint_is_small_and_holds_no_code(file):
    assert (FOLDER / file).stat().st_size < 2e6
    assert "optimizer_states" not in torch.load(FOLDER / file, weights_only=True)


@pytest.mark.parametrize("file", [file for file in TABLE if not file.startswith(SINUSOIDS)])
def test_a_pretrained_checkpoint_is_as_good_as_its_table_says(file, real_omniglot, tmp_path):
    name = f"pretrained/{file.removesuffix('.ckpt')}"
    main(["test", f"--ckpt_path={name}", f"--data.root={real_omniglot}", "--trainer.enable_progress_bar=false",
          f"--trainer.default_root_dir={tmp_path}"])  # fmt: skip
    (report,) = reports(tmp_path)
    mean, ci95 = TABLE[file]
    assert (report["episodes"], report["ways"], report["shots"]) == (600, 5, 1)
    # The same episodes: nothing but rounding may differ, a few of 15,000 queries. The interval is much wider.
    assert abs(100 * report["accuracy"] - mean) < 0.1 < ci95
    assert 100 * report["ci95"] == pytest.approx(ci95, abs=0.05)


@pytest.mark.parametrize("file", [file for file in TABLE if file.startswith(SINUSOIDS)])
def test_a_learner_of_sinusoids_is_as_good_as_its_table_says(file, tmp_path):
    main(["test", f"--ckpt_path=pretrained/{file.removesuffix('.ckpt')}", "--trainer.enable_progress_bar=false",
          f"--trainer.default_root_dir={tmp_path}"])  # fmt: skip
    (report,) = reports(tmp_path)
    assert (report["mse"], report["ci95"]) == pytest.approx(TABLE[file], abs=0.01)
