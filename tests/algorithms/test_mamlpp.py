"""The parts of MAML++, each against a computation written out, and FOMAML against second order without its Hessian."""

import pytest
import torch
from helpers import conv4, image_tasks, outer_gradients
from torch import Tensor, nn
from torch.func import functional_call, hessian

from fewshot.algorithms import MAMLModule
from fewshot.data import SinusoidDataModule
from fewshot.episodes import Episode, Examples
from fewshot.errors import FewShotError
from fewshot.networks import MLP, Conv4


@pytest.fixture
def at_step(monkeypatch):
    """Lets learners believe that so many outer steps were taken."""

    def set_step(step: int) -> None:
        monkeypatch.setattr(MAMLModule, "global_step", step)

    set_step(0)
    return set_step


def gradients(module: MAMLModule, episode: Episode) -> list[Tensor]:
    return [gradient.clone() for gradient in outer_gradients(module, episode).values()]


def maml(**options: object) -> MAMLModule:
    """A small MAML for 3-way tasks, in float64."""
    return MAMLModule(conv4(), outputs=3, inner_lr=0.3, **options).double()


def test_the_weights_of_the_losses_by_hand(at_step):
    module = maml(adaptation_steps=4, multi_step_loss_steps=100)
    expected = {
        0: [0.25, 0.25, 0.25, 0.25],
        50: [0.125, 0.125, 0.125, 0.625],
        99: [0.0075, 0.0075, 0.0075, 0.9775],  # 3 % of a quarter is the least
    }
    for step, weights in expected.items():
        at_step(step)
        assert module.importance().tolist() == pytest.approx(weights)
    at_step(100)
    assert module.importance() is None


def test_all_losses_may_weigh_the_same_to_the_end(at_step):
    module = maml(adaptation_steps=4, multi_step_loss_steps="always")
    for step in (0, 10**6):
        at_step(step)
        assert module.importance().tolist() == [0.25, 0.25, 0.25, 0.25]


def regression(**options: object) -> tuple[MAMLModule, Episode]:
    """A small MAML and two sinusoids, in float64."""
    module = MAMLModule(MLP(widths=(5, 5)), outputs=1, loss="mse", inner_lr=0.1, **options).double()
    drawn = SinusoidDataModule().dataset("train").__getitems__(range(2))
    return module, Episode(*(Examples(part.x.double(), part.y.double()) for part in drawn[:2]))


@pytest.mark.parametrize(
    "options", [{}, {"task_chunk_size": 1}, {"record": True}], ids=["whole", "in chunks", "recorded"]
)
def test_the_multi_step_loss_is_the_sum_over_learners_of_so_many_steps(at_step, options):
    module, episode = regression(adaptation_steps=3, multi_step_loss_steps=10, **options)
    after_steps = []
    for steps in (1, 2, 3):
        single, _ = regression(adaptation_steps=steps)
        single.load_state_dict(module.state_dict())
        after_steps.append(gradients(single, episode))
    # The second is replayed with other weights of the losses, the third is recorded anew.
    for step, weights in {0: [1 / 3, 1 / 3, 1 / 3], 5: [1 / 6, 1 / 6, 2 / 3], 10: [0, 0, 1]}.items():
        at_step(step)
        for ours, *theirs in zip(gradients(module, episode), *after_steps):
            torch.testing.assert_close(ours, sum(weight * part for weight, part in zip(weights, theirs)))


def test_second_derivatives_are_taken_from_the_step_asked_for(at_step):
    module, episode = regression(first_order_steps=10, adaptation_steps=2, record=True)  # recorded anew at the change
    for step, first_order in ((9, True), (10, False)):
        at_step(step)
        reference, _ = regression(first_order=first_order, adaptation_steps=2)
        reference.load_state_dict(module.state_dict())
        for ours, theirs in zip(gradients(module, episode), gradients(reference, episode)):
            torch.testing.assert_close(ours, theirs)


def test_first_order_is_second_order_with_the_hessian_removed():
    """After one step, second order is (I - α H) g: g the query gradient at the adapted weights, H at the start."""
    second, both = regression()
    episode = both.chunks(1)[0]
    first, _ = regression(first_order=True)
    first.load_state_dict(second.state_dict())
    names = [name for name, _ in second.network.named_parameters()]
    start = torch.cat([parameter.detach().flatten() for parameter in second.network.parameters()])

    def support_loss(flat: Tensor) -> Tensor:
        parts = flat.split([parameter.numel() for parameter in second.network.parameters()])
        weights = {name: part.view_as(value) for name, part, value in zip(names, parts, second.network.parameters())}
        return nn.functional.mse_loss(
            functional_call(second.network, weights, (episode.support.x[0],)), episode.support.y[0]
        )

    g, whole = (torch.cat([part.flatten() for part in gradients(module, episode)]) for module in (first, second))
    torch.testing.assert_close(whole, g - 0.1 * hessian(support_loss)(start) @ g)
    assert (whole - g).norm() > 1e-2 * g.norm()


@pytest.mark.parametrize("options", [{}, {"adapt": "head"}, {"batch_norm": "inductive"}])
def test_the_outer_gradient_of_batch_norm_per_step_agrees_with_finite_differences(at_step, options):
    steps = {"adaptation_steps": 2, "learn_inner_lr": "per-step", "multi_step_loss_steps": 9}
    module, episode = maml(per_step_batch_norm=True, **steps, **options), image_tasks()
    parameters = list(module.parameters())
    for parameter in parameters:
        parameter.data += 0.1 * torch.rand_like(parameter)  # so that no two steps are the same
    directions = [torch.randn_like(parameter) for parameter in parameters]
    slope = sum((g * direction).sum() for g, direction in zip(gradients(module, episode), directions))

    def moved(distance: float) -> Tensor:
        torch._foreach_add_([parameter.data for parameter in parameters], directions, alpha=distance)
        value = module.outer_loss(episode).loss.detach()
        torch._foreach_add_([parameter.data for parameter in parameters], directions, alpha=-distance)
        return value

    h = 1e-7  # between the kinks of the ReLUs; rounding then costs 1e-16 / 1e-7 = 1e-9
    torch.testing.assert_close((moved(h) - moved(-h)) / (2 * h), slope, rtol=1e-6, atol=1e-7)


def test_the_inner_loop_leaves_batch_norm_per_step_alone():
    module = maml(per_step_batch_norm=True, adaptation_steps=2, learn_inner_lr="meta-sgd")
    *_, learners = module.adapt(image_tasks().support, 2, "none")
    assert set(learners.weights) == {
        *(f"features.convolutions.{i}.weight" for i in range(4)), "head.weight", "head.bias"
    }  # fmt: skip
    assert len(module.inner_optimizer.rates) == len(learners.weights)
    assert sum(name.startswith("network.features.norms") for name, _ in module.named_parameters()) == 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"multi_step_loss_steps": 5, "adaptation_steps": 0}, "adaptation_steps must be at least 1"),
        ({"multi_step_loss_steps": -1}, "must not be negative"),
        ({"first_order_steps": -1}, "must not be negative"),
        ({"per_step_batch_norm": True, "inner_loop": "sequential"}, "per_step_batch_norm needs inner_loop vectorized"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(FewShotError, match=message):
        maml(**options)


def test_batch_norm_per_step_needs_a_batch_norm():
    with pytest.raises(FewShotError, match="needs fewshot's BatchNorm in the network"):
        MAMLModule(MLP(), per_step_batch_norm=True)
    with pytest.raises(FewShotError, match="per_step_batch_norm normalises by the batch at hand, not by running"):
        MAMLModule(Conv4(running_statistics=True), per_step_batch_norm=True, batch_norm="running")
