"""MAML on images, against finite differences and against the same steps written out."""

import pytest
import torch
import torch.nn.functional as F
from helpers import conv4, image_tasks, outer_gradients
from torch import Tensor, nn

from fewshot.algorithms import MAMLModule
from fewshot.episodes import Episode, Examples
from fewshot.errors import FewShotError
from fewshot.networks import Conv4


def maml(batch_norm: str = "transductive", **options: object) -> tuple[MAMLModule, Episode]:
    """A small MAML in float64, and two 3-way 2-shot tasks."""
    module = MAMLModule(conv4(batch_norm), outputs=3, inner_lr=0.3, batch_norm=batch_norm, **options)
    return module.double(), image_tasks()


@pytest.mark.parametrize(
    ("learn", "adapt", "batch_norm", "steps", "inner_loop"),
    [
        ("none", "all", "transductive", 1, "sequential"),
        ("none", "all", "transductive", 3, "vectorized"),
        ("meta-sgd", "all", "inductive", 3, "vectorized"),
        ("per-step", "head", "inductive", 3, "vectorized"),
        ("per-step", ["features.convolutions.3", "head"], "running", 2, "vectorized"),
    ],
)
def test_the_outer_gradient_agrees_with_finite_differences(learn, adapt, batch_norm, steps, inner_loop):
    """A few cases: that the loops agree with each other is shown for all options."""
    options = {"learn_inner_lr": learn, "adapt": adapt, "adaptation_steps": steps, "inner_loop": inner_loop}
    module, episode = maml(batch_norm, **options)
    parameters = dict(module.named_parameters())
    gradients = outer_gradients(module, episode)
    directions = {name: torch.randn_like(parameter) for name, parameter in parameters.items()}
    slope = sum((gradients[name] * direction).sum() for name, direction in directions.items())

    def moved(distance: float) -> Tensor:
        with torch.no_grad():
            for name, direction in directions.items():
                parameters[name].add_(direction, alpha=distance)
        value = module.query_loss(episode).loss.detach()
        with torch.no_grad():
            for name, direction in directions.items():
                parameters[name].sub_(direction, alpha=distance)
        return value

    # The step is small so as to stay between the kinks of the ReLUs; rounding then costs 1e-16 / 1e-7 = 1e-9.
    h = 1e-7
    torch.testing.assert_close((moved(h) - moved(-h)) / (2 * h), slope, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("adapt", ["all", "head"])
def test_an_evaluation_equals_training_and_leaves_the_weights_alone(adapt):
    module, episode = maml(adaptation_steps=2, adapt=adapt)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with torch.no_grad():  # as Lightning validates
        prediction = module(episode)
    torch.testing.assert_close(prediction.outputs, module.query_loss(episode).outputs)
    assert not prediction.outputs.requires_grad
    torch.testing.assert_close(prediction.before, torch.stack([module.network(x) for x in episode.query.x]))
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def test_no_steps_leave_the_predictions_as_they_were():
    module, episode = maml(test_adaptation_steps=0)
    prediction = module.predict(episode)
    assert torch.equal(prediction.outputs, prediction.before)


def test_inference_mode_is_refused_with_the_way_out():
    module, episode = maml()
    with torch.inference_mode(), pytest.raises(FewShotError, match="make the Trainer with inference_mode=False"):
        module.predict(episode)


def test_a_head_only_learner_keeps_the_body():
    module, episode = maml(adapt="head", adaptation_steps=5)
    *_, learners = module.inner_loop.adapt(episode.support, 5, graph="none")
    support, query = episode.support, episode.query
    head = nn.Linear(4, 3).double()  # the same five steps, written out
    head.load_state_dict(module.network.head.state_dict())
    features = module.network.features(support.x[0]).detach()
    for _ in range(5):
        gradients = torch.autograd.grad(module.loss(head(features), support.y[0]), head.parameters())
        for parameter, gradient in zip(head.parameters(), gradients):
            parameter.data.sub_(0.3 * gradient)
    torch.testing.assert_close(learners(query.x)[0], head(module.network.features(query.x[0])).detach())


@pytest.mark.parametrize(("mode", "alone"), [("transductive", False), ("inductive", True), ("running", True)])
def test_a_prediction_depends_on_the_other_queries_in_the_transductive_mode_alone(mode, alone):
    module, episode = maml(mode)
    one = episode._replace(query=Examples(episode.query.x[:, :1], episode.query.y[:, :1]))
    difference = module.predict(episode).outputs[:, :1] - module.predict(one).outputs
    assert (difference.abs().max() < 1e-12) == alone


def test_second_order_gradients_survive_bf16_autocast():
    patterns = (torch.rand(4, 5, 1, 1, 7, 7) < 0.3).float()  # four tasks of five shapes, drawn with a shaky hand

    def drawings(count: int) -> Examples:
        x = patterns.expand(-1, -1, count, -1, -1, -1).flatten(0, 2)
        x = F.interpolate((x - (torch.rand_like(x) < 0.1).float()).abs(), size=(28, 28))
        return Examples(x.unflatten(0, (4, -1)), torch.arange(5).repeat_interleave(count).repeat(4, 1))

    episode = Episode(drawings(5), drawings(5))
    module = MAMLModule(Conv4(channels=32), inner_lr=1.0)

    def gradient(order: str, bf16: bool) -> Tensor:
        module.first_order = order == "first"
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            gradients = outer_gradients(module, episode)
        return torch.cat([part.flatten() for part in gradients.values()])

    exact = gradient("second", bf16=False)
    rounding = (gradient("second", bf16=True) - exact).norm()
    second_order_part = (gradient("first", bf16=False) - exact).norm()
    # What bf16 loses must be small beside what the second derivatives add: measured 0.25 against 0.96 of the whole.
    assert rounding < 0.5 * second_order_part
