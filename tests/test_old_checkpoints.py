"""What version 0.1 wrote is read, tested with the same result, and trained on as it would have been."""

import json

import pytest
import torch
from helpers import REPOSITORY

from fewshot.algorithms import BaselineModule, EpisodicModule, IMAMLModule, MAMLModule
from fewshot.checkpoints import KEY, read_checkpoint
from fewshot.cli import main

FOLDER = (
    REPOSITORY / "tests" / "old_checkpoints"
)  # written by 0.1 after a few outer steps on glyphs, and what it measured
RESULTS = json.loads((FOLDER / "results.json").read_text())


def report_of(path, folder):
    main(["test", f"--ckpt_path={path}", f"--trainer.default_root_dir={folder}", "--trainer.enable_progress_bar=false"])
    (file,) = folder.glob("logs/*/test/version_0/test.json")
    return json.loads(file.read_text())


def the_same(report, expected):
    # Another processor adds up in another order, which batch norm over five images amplifies.
    assert report["loss"] == pytest.approx(expected["loss"], rel=1e-3)
    assert report["accuracy"] == pytest.approx(expected["accuracy"], abs=0.005)  # a query or two of 500


@pytest.mark.parametrize("name", RESULTS)
def test_an_old_checkpoint_is_tested_and_trained_on_with_the_old_results(name, tmp_path):
    the_same(report_of(FOLDER / f"{name}.ckpt", tmp_path / "as it is"), RESULTS[name]["as it is"])
    at_once = ["--model.record=false"] if name.startswith("maml") else []  # recording takes seconds
    main(["fit", f"--ckpt_path={FOLDER / name}.ckpt", *at_once, f"--trainer.default_root_dir={tmp_path}", "--name=more",
          "--trainer.max_steps=6", "--trainer.logger=false", "--trainer.enable_progress_bar=false"])  # fmt: skip
    last = tmp_path / "checkpoints" / "more" / "last.ckpt"
    start, ours = (next(iter(read_checkpoint(file)["state_dict"].values())) for file in (FOLDER / f"{name}.ckpt", last))
    theirs = torch.tensor(RESULTS[name]["first weights after 6 outer steps"]).view_as(ours)
    assert (theirs - start).abs().max() > 5e-5
    if name == "imaml":  # 0.1 let the solutions of its conjugate gradients grow without a bound
        assert not ours.isclose(start).all()
        return
    # Adam's first steps are as long for a gradient of nothing but rounding: a weight or two may go another way.
    assert ((ours - theirs).abs() < 1e-5).float().mean() > 0.9
    the_same(report_of(last, tmp_path / "after"), RESULTS[name]["after 6 outer steps"])


def test_old_words_are_translated():
    maml, imaml, baseline = (read_checkpoint(FOLDER / f"{name}.ckpt") for name in ("mamlpp", "imaml", "pretrained"))
    options = maml[KEY]["config"]["model"]["init_args"]
    assert options["record"]
    assert "compile" not in options
    assert maml[KEY]["outputs"] == 5
    assert "inner_optimizer.rates.0" in maml["state_dict"]
    assert not [name for name in maml["state_dict"] if name.startswith("inner_rates")]
    assert maml["lr_schedulers"] == [{"last_epoch": 3}]
    options = imaml[KEY]["config"]["model"]["init_args"]
    assert (options["proximal_weight"], options["test_proximal_weight"]) == (1.5, 0.5)
    assert baseline["algorithm"] == "BaselineModule"
    assert baseline[KEY]["config"]["model"]["class_path"] == "fewshot.algorithms.BaselineModule"


@pytest.mark.parametrize(
    ("name", "learner"), [("mamlpp", MAMLModule), ("imaml", IMAMLModule), ("pretrained", BaselineModule)]
)
def test_an_old_learner_is_loaded_in_python(name, learner):
    module = EpisodicModule.load_from_checkpoint(FOLDER / f"{name}.ckpt")
    assert type(module) is learner
    saved = torch.load(FOLDER / f"{name}.ckpt", weights_only=True)["state_dict"]
    assert torch.equal(module.network.head.weight, saved["network.head.weight"])
