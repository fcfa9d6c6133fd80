"""Transductive or inductive is found out by replacing queries, not believed."""

from pathlib import Path

import pytest
from helpers import TINY, reports
from torch import Tensor, nn

from fewshot.algorithms import EpisodicModule
from fewshot.algorithms.gradients import OuterStep
from fewshot.cli import main
from fewshot.episodes import Episode, Prediction
from fewshot.networks import Conv4, Embedding
from fewshot.runs import run

LEARNERS = {
    "MAMLModule": ["--model.batch_norm=inductive"],
    "MAMLModule ": ["--model.adapt=head", "--model.batch_norm=inductive"],
    "ReptileModule": ["--model.batch_norm=inductive", "--model.test_adaptation_steps=2"],
    "IMAMLModule": ["--model.batch_norm=inductive", "--model.adaptation_steps=1"],
}


class Ordinary(Embedding):
    """A network with torch's own batch norm, which knows of no support set."""

    def __init__(self) -> None:
        super().__init__()
        self.out_features = 4
        self.convolution = nn.Conv2d(1, 4, 3, stride=4)
        self.norm = nn.BatchNorm2d(4, track_running_stats=False)

    def forward(self, x: Tensor, support_size: int | None = None) -> Tensor:
        return self.norm(self.convolution(x)).relu().mean((2, 3))


class Centred(EpisodicModule):
    """Says nothing of itself, and subtracts the mean of the queries."""

    def __init__(self) -> None:
        super().__init__()
        self.network = Conv4(channels=4, running_statistics=True)
        self.head = nn.Linear(4, 5)

    def outputs(self, x: Tensor) -> Tensor:
        features = self.network(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return self.head(features - features.mean(1, keepdim=True))

    def outer_loss(self, episode: Episode) -> OuterStep:
        outputs = self.outputs(episode.query.x)
        return OuterStep(self.loss(outputs, episode.query.y), outputs)

    def predict(self, episode: Episode) -> Prediction:
        return Prediction(self.outputs(episode.query.x))


@pytest.fixture
def place(tmp_path: Path) -> list[str]:
    """The options of short runs on glyphs."""
    return ["--data=GlyphsDataModule", f"--trainer.default_root_dir={tmp_path}", *TINY, "--name=mine",
            "--trainer.max_steps=1"]  # fmt: skip


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_learner_that_says_inductive_is_inductive(learner, place):
    words = [f"--model={learner.strip()}", "--model.network=Conv4", "--model.network.channels=4", *LEARNERS[learner]]
    cli = run(["fit", *words, *place, "--trainer.logger=false"])
    assert cli.model.transductive is False


def test_a_network_that_ignores_the_support_set_is_refused(place, fails):
    words = ["fit", "--model=MAMLModule", f"--model.network={__name__}.Ordinary", *place]
    message = fails(*words, "--model.batch_norm=inductive")
    assert message.startswith("MAML is to judge each query on its own (batch norm inductive), but replacing ")
    assert "Layers that normalise by the batch: network.features.norm (BatchNorm2d). Use fewshot's" in message


def test_the_report_says_what_was_found(place, tmp_path):
    main(["fit", f"--model={__name__}.Centred", *place])
    main(["test", f"--ckpt_path={tmp_path}/checkpoints/mine/best.ckpt", f"--trust=[{__name__}]",
          f"--trainer.default_root_dir={tmp_path}"])  # fmt: skip
    (report,) = reports(tmp_path)
    assert report["transductive"] is True
    assert "batch_norm" not in report
