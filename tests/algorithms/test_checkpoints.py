"""A learner from its checkpoint, in Python: every class, with all that it has learned, and with other options."""

from pathlib import Path

import pytest
import torch
from helpers import COMPARING, PLACES, TINY
from torch.optim import AdamW

from fewshot.algorithms import (
    AdaptingModule,
    BaselineModule,
    EpisodicModule,
    IMAMLModule,
    MAMLModule,
    MetricModule,
    ProtoNetModule,
    ReptileModule,
)
from fewshot.data import EpisodicDataModule
from fewshot.episodes import Episode
from fewshot.errors import FewShotError
from fewshot.runs import run

REGRESSION = [
    "--model.loss=mse", "--model.network=MLP", "--model.network.widths=[4]", "--model.inner_lr=0.01",
    "--data=SinusoidDataModule",
]  # fmt: skip
IMAGES = ["--model.network=Conv4", "--model.network.channels=2", "--data=GlyphsDataModule"]
RUNS = {
    **{learner: [*IMAGES, *PLACES] for learner in COMPARING},
    MAMLModule: [*REGRESSION, "--model.learn_inner_lr=per-step", "--model.multi_step_loss_steps=always"],
    ReptileModule: [*REGRESSION, "--model.lr_scheduler=cosine"],
    IMAMLModule: [*REGRESSION, "--model.adaptation_steps=2"],
    BaselineModule: [*REGRESSION, "--model.adapt=[features.layers.0,head]"],
    ProtoNetModule: [
        *IMAGES, "--model.network.running_statistics=true",
        "--model.optimizer=torch.optim.AdamW", "--model.optimizer.weight_decay=0.5",
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory):
    """Each learner after an outer step, its data, and its checkpoint."""
    folder, done = tmp_path_factory.mktemp("runs"), {}

    def trained(learner: type[EpisodicModule]) -> tuple[EpisodicModule, EpisodicDataModule, Path]:
        if learner not in done:
            name = learner.__name__
            words = [f"--trainer.default_root_dir={folder}", "--trainer.logger=false", "--trainer.max_steps=1"]
            cli = run(["fit", f"--model={name}", *RUNS[learner], *TINY, f"--name={name}", *words])
            done[learner] = cli.model.eval(), cli.datamodule, folder / "checkpoints" / name / "last.ckpt"
        return done[learner]

    return trained


def unseen(data: EpisodicDataModule) -> Episode:
    data.setup("test")
    return data.on_after_batch_transfer(data.dataset("test").__getitems__(range(2)), 0)


@pytest.mark.parametrize("learner", RUNS)
def test_a_loaded_learner_predicts_what_the_trained_one_does(runs, learner):
    module, data, path = runs(learner)
    episode = unseen(data)
    for loader in (learner, EpisodicModule):
        loaded = loader.load_from_checkpoint(path)
        assert type(loaded) is learner
        assert not loaded.training
        for ours, theirs in zip(loaded(episode), module(episode)):
            assert (ours is theirs is None) or torch.equal(ours, theirs)
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in loaded.state_dict().items())


@pytest.mark.parametrize("learner", [learner for learner in RUNS if issubclass(learner, AdaptingModule)])
def test_its_options_can_be_changed(runs, learner):
    module, data, path = runs(learner)
    episode = unseen(data)
    loaded = learner.load_from_checkpoint(path, test_adaptation_steps=7)
    assert not torch.equal(loaded(episode).outputs, module(episode).outputs)
    as_trained, module.test_adaptation_steps = module.test_adaptation_steps, 7
    assert torch.equal(loaded(episode).outputs, module(episode).outputs)
    module.test_adaptation_steps = as_trained  # for the next test


def test_it_keeps_its_optimiser(runs):
    *_, path = runs(ProtoNetModule)
    optimizer = ProtoNetModule.load_from_checkpoint(path).optimizer([torch.zeros(1, requires_grad=True)], 0.1)
    assert type(optimizer) is AdamW
    assert (optimizer.defaults["lr"], optimizer.defaults["weight_decay"]) == (0.1, 0.5)


def test_the_checkpoint_of_another_learner_is_refused_in_one_line(runs):
    *_, path = runs(ProtoNetModule)
    with pytest.raises(FewShotError, match=r"^.*last\.ckpt holds ProtoNetModule, not MAMLModule$"):
        MAMLModule.load_from_checkpoint(path)
    assert isinstance(MetricModule.load_from_checkpoint(path), ProtoNetModule)  # of its family


def test_another_network_or_an_option_that_there_is_not_is_refused_in_one_line(runs):
    *_, path = runs(ReptileModule)
    network = {"class_path": "MLP", "init_args": {"widths": [5]}}
    with pytest.raises(
        FewShotError, match=r"^the checkpoint is of another network: .* has shape \(4, 1\) there and \(5"
    ):
        ReptileModule.load_from_checkpoint(path, network=network)
    with pytest.raises(FewShotError, match=r"^--model.adaption_steps: .* did you mean --model.adaptation_steps\?$"):
        ReptileModule.load_from_checkpoint(path, adaption_steps=7)
