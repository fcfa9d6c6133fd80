"""Data, learners and networks of the user's own are as good as those of fewshot: named by their path, nothing else."""

import re
from pathlib import Path

import pytest
import torch
from my.nearest import NearestNeighbour

from fewshot.algorithms import EpisodicModule
from fewshot.cli import main
from fewshot.episodes import Examples
from fewshot.runs import run

HERE = Path(__file__).parent
SHAPES = [
    "--data=my.shapes.Shapes", "--data.shots=2", "--data.queries=3", "--data.meta_batch_size=4",
    "--data.val_episodes=20", "--data.test_episodes=20", "--trainer.enable_progress_bar=false",
]  # fmt: skip
CONV4 = ["--model.network=Conv4", "--model.network.channels=8", "--model.network.in_channels=3"]
RUNNING = "--model.network.running_statistics=true"
LEARNERS = {
    "maml": ["--model=MAMLModule", *CONV4],
    "protonet": ["--model=ProtoNetModule", *CONV4, RUNNING],
    "nearest": ["--model=my.nearest.NearestNeighbour", *CONV4, RUNNING],
}


@pytest.mark.parametrize("learner", LEARNERS)
def test_uneven_images_in_colour_train_any_learner(learner, tmp_path, capsys):
    place = [f"--trainer.default_root_dir={tmp_path}", f"--name={learner}"]
    steps = ["--trainer.max_steps=40", "--trainer.val_check_interval=20", "--data.ways=4", "--data.split_seed=1"]
    fit = run(["fit", *LEARNERS[learner], *SHAPES, *steps, *place])
    # Guessing is 25 %, of 240 queries with a standard error of 2.8 %.
    assert fit.trainer.callback_metrics["val/accuracy"] > 0.35
    best = tmp_path / "checkpoints" / learner / "best.ckpt"
    (trust,) = re.findall(r"Test it: .* --trust '(.*)'", capsys.readouterr().out)  # what it says is what works
    main(["test", f"--ckpt_path={best}", f"--trainer.default_root_dir={tmp_path}", f"--trust={trust}"])
    assert type(EpisodicModule.load_from_checkpoint(best, trust=["my"])) is type(fit.model)
    assert type(type(fit.model).load_from_checkpoint(best)) is type(fit.model)


def test_a_data_set_of_ones_own_is_forty_lines():
    code = [line for line in (HERE / "my" / "shapes.py").read_text().splitlines() if line.strip()]
    assert len(code) <= 40


def test_a_learner_of_ones_own_by_hand():
    support = Examples(torch.tensor([[[0.0], [10.0], [4.0]]]), torch.tensor([[0, 0, 1]]))
    logits = NearestNeighbour.compare(None, support, torch.tensor([[[1.0], [6.0], [8.0]]]))
    assert logits.tolist() == [[[-1.0, -9.0], [-16.0, -4.0], [-4.0, -16.0]]]


def test_a_frozen_backbone_is_adapted_above_it(tmp_path, fails):
    frozen = ["--model=MAMLModule", "--model.network=my.frozen.Frozen", "--model.batch_norm=running"]
    shapes = [*SHAPES, "--data.ways=4"]
    place = [f"--trainer.default_root_dir={tmp_path}", "--trainer.max_steps=60", "--trainer.logger=false"]
    prefixes = "--model.adapt=[features.top,head]"
    cli = run(["fit", *frozen, *shapes, "--data.split_seed=1", *place, prefixes, "--model.adaptation_steps=5",
               "--model.meta_lr=0.01"])  # fmt: skip
    weights = cli.model.network
    assert set(cli.model.adapted_parameters()) == {f"{part}.{kind}" for part in ("features.top", "head")
                                                   for kind in ("weight", "bias")}  # fmt: skip
    assert not weights.features.backbone[1].running_mean.any()  # as they came: nothing of the tasks leaks into them
    accuracies = {name: cli.trainer.callback_metrics[f"val/accuracy{name}"] for name in ("", "_before")}
    assert accuracies[""] > accuracies["_before"] + 0.1
    assert "adapts features.backbone.0.weight, which is frozen" in fails("fit", *frozen, *shapes, *place)
    unknown = fails("fit", *frozen, *shapes, *place, "--model.adapt=[top]")
    assert unknown == (
        "adapt: no weight's name starts with 'top'; there are features.backbone.0, features.backbone.1, features.top, "
        "head"
    )
    wrong = fails("fit", *frozen[:2], "--model.adapt=head", *shapes, *place)
    assert "needs a network without running statistics" in wrong
