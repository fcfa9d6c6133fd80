"""The protocol of all learners, by one of one's own that scales the inputs: what it gets without asking for it."""

from functools import partial

import pytest
import torch
from helpers import image_tasks, quiet_trainer
from torch import nn
from torch.optim import SGD, Adam, AdamW
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader

from fewshot.algorithms import (
    BaselineModule,
    EpisodicModule,
    IMAMLModule,
    MAMLModule,
    OuterStep,
    ProtoNetModule,
    ReptileModule,
)
from fewshot.episodes import Episode, Examples, Prediction
from fewshot.errors import FewShotError
from fewshot.networks import Conv4


class Scale(EpisodicModule):
    """Scales both numbers of an example by numbers that are learned: the outputs for two classes."""

    def __init__(self, **shared: object) -> None:
        super().__init__(**shared)
        self.scales = nn.Parameter(torch.ones(2))

    def outer_loss(self, episode: Episode) -> OuterStep:
        outputs = self.scales * episode.query.x
        return OuterStep(self.loss(outputs, episode.query.y), outputs)

    def predict(self, episode: Episode) -> Prediction:
        return Prediction((self.scales * episode.query.x).detach())


def trained(module: EpisodicModule, steps: int = 1) -> EpisodicModule:
    """After outer steps on one task of two queries, which it takes for class 1; they are of class 0 and of class 1."""
    examples = Examples(torch.tensor([[[1.0, 3.0], [0.0, 2.0]]]), torch.tensor([[0, 1]]))
    loader = DataLoader([Episode(examples, examples)] * steps, batch_size=None)
    quiet_trainer(max_steps=steps).fit(module, loader, loader)
    return module


def test_a_learner_of_ones_own_need_ask_for_nothing():
    module = trained(Scale(), steps=3)
    assert type(module.trainer.optimizers[0]) is Adam
    assert module.trainer.optimizers[0].param_groups[0]["lr"] == 1e-3  # still
    # Adam goes one step size at a time where the gradient is nearly the same at every step, here to four digits.
    moved = torch.tensor([1.003, 0.997], dtype=torch.float64)
    torch.testing.assert_close(module.scales.detach(), moved, rtol=0, atol=1e-6)
    assert (module.title, module.describe(), module.data_spec) == ("Scale", {}, None)


def test_what_it_logs_by_hand():
    module = trained(Scale(meta_lr=1e-9))
    # Outputs (1, 3) and (0, 2): the right class is behind by 2, and ahead by 2.
    loss = (torch.tensor([2.0, -2.0]).exp() + 1).log().mean().item()
    logged = {name: value.item() for name, value in module.trainer.callback_metrics.items()}
    assert logged["train/loss"] == pytest.approx(loss)
    assert logged["val/loss"] == pytest.approx(loss)
    assert (logged["train/accuracy"], logged["val/accuracy"]) == (0.5, 0.5)
    assert not [name for name in logged if "before" in name]
    assert module.episode_scores == [0.5]
    assert module.summary.mean == 0.5


def test_one_episode_logs_no_spread_and_outputs_that_are_not_finite_no_accuracy():
    class Diverged(Scale):
        def predict(self, episode: Episode) -> Prediction:
            outputs = super().predict(episode).outputs
            return Prediction(outputs * torch.nan, before=outputs)

    logged = trained(Diverged()).trainer.callback_metrics
    assert logged["val/accuracy"].isnan()
    assert logged["val/accuracy_before"] == 0.5
    assert not [name for name in logged if name.endswith(("_std", "_ci95"))]


def test_weight_decay_decays():
    class Unseen(Scale):
        def outer_loss(self, episode: Episode) -> OuterStep:
            return super().outer_loss(episode)._replace(loss=0 * self.scales.sum())

    module = Unseen(meta_lr=0.1, optimizer=partial(AdamW, weight_decay=0.5))
    decayed = (1 - 0.1 * 0.5) ** 2
    assert trained(module, steps=2).scales.tolist() == pytest.approx([decayed, decayed])
    assert trained(Unseen(meta_lr=0.1), steps=2).scales.tolist() == [1, 1]


def test_any_optimiser_and_any_schedule_of_torch_will_do():
    module = Scale(meta_lr=0.5, optimizer=SGD, lr_scheduler=partial(StepLR, step_size=1, gamma=0.1))
    first, second = 1 / (1 + torch.tensor([-2.0, 2.0], dtype=torch.float64).exp())  # probabilities of the wrong class
    # The gradient of the loss in an output is the probability of its class, less one if it is the right one.
    by_first, by_second = -first * 1 + second * 0, first * 3 - second * 2
    expected = 1 - 0.5 * torch.stack([by_first, by_second]) / 2
    torch.testing.assert_close(trained(module).scales.detach(), expected)
    assert module.trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.05)


@pytest.mark.parametrize("rate", [0, -1.0])
def test_a_step_size_that_goes_nowhere_is_refused(rate):
    with pytest.raises(FewShotError, match=f"^meta_lr must be positive, not {rate}$"):
        Scale(meta_lr=rate)


def test_one_says_what_is_descended_and_what_is_predicted():
    with pytest.raises(TypeError, match=r"abstract.*outer_loss.*predict"):
        EpisodicModule()


@pytest.mark.parametrize(
    ("learner", "options"),
    [
        (MAMLModule, {"outputs": 3}),
        (ReptileModule, {"outputs": 3, "test_adaptation_steps": 2}),
        (IMAMLModule, {"outputs": 3, "adaptation_steps": 2}),
        (BaselineModule, {"outputs": 3, "train_classes": 9, "test_adaptation_steps": 2}),
        (ProtoNetModule, {}),
    ],
)
def test_a_prediction_has_no_graph_and_changes_nothing(learner, options):
    network = Conv4(channels=2, running_statistics=learner in (BaselineModule, ProtoNetModule))
    module, episode = learner(network, **options).double().eval(), image_tasks()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    prediction = module(episode)
    assert prediction.outputs.shape == (2, 9, 3)
    assert not any(outputs.requires_grad for outputs in prediction if outputs is not None)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())
