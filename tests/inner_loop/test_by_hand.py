"""Both inner loops against gradients worked out by hand, and against finite differences."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from fewshot.algorithms import MAMLModule
from fewshot.data import GlyphsDataModule
from fewshot.episodes import Episode, Examples, ImageEpisodes
from fewshot.errors import FewShotError
from fewshot.inner_loop import InnerLoop, InnerRates, SequentialInnerLoop, VectorizedInnerLoop
from fewshot.networks import Classifier, Conv4, Embedding


class Scalar(Embedding):
    """Passes a number through: the classifier on top is the linear model w*x + b."""

    out_features = 1

    def forward(self, x: Tensor, support_size: int | None = None) -> Tensor:
        return x


def half_square(prediction: Tensor, target: Tensor) -> Tensor:
    return 0.5 * (prediction - target).square().sum()


# One support point (x, y), one query point (xq, yq), start (w, b), inner rate a; all chosen freely.
X, Y, XQ, YQ, W, B, A = 2.0, 3.0, -1.0, 1.0, 0.5, 0.25, 0.1
ERROR = W * X + B - Y  # -1.75; the inner gradient is ERROR * (X, 1)


@pytest.fixture(params=[SequentialInnerLoop, VectorizedInnerLoop], ids=["sequential", "vectorized"])
def loop_class(request: pytest.FixtureRequest) -> type[InnerLoop]:
    return request.param


def linear_model(loop_class: type[InnerLoop], learn: str = "none", steps: int = 1, adapt: str = "all") -> InnerLoop:
    network = Classifier(Scalar(), 1).double()
    network.head.weight.data.fill_(W), network.head.bias.data.fill_(B)
    rates = InnerRates(learn, A, network.head if adapt == "head" else network, steps).double()
    return loop_class(network, rates, half_square, adapt=adapt, batch_norm="transductive")


def outer_loss(loop: InnerLoop, graph: str, steps: int = 1) -> Tensor:
    def point(value: float) -> Tensor:
        return torch.full((1, 1, 1), value, dtype=torch.float64)

    *_, learners = loop.adapt(Examples(point(X), point(Y)), steps, graph=graph)
    return half_square(learners(point(XQ)), point(YQ))


def close(actual: Tensor, expected: float | list[float]) -> None:
    torch.testing.assert_close(actual.flatten(), torch.tensor(expected, dtype=torch.float64).flatten())


@pytest.mark.parametrize("adapt", ["all", "head"])
def test_one_step_of_maml_by_hand(loop_class, adapt):
    loop = linear_model(loop_class, adapt=adapt)
    loss = outer_loss(loop, "second")
    adapted_w, adapted_b = W - A * ERROR * X, B - A * ERROR
    query_error = adapted_w * XQ + adapted_b - YQ
    close(loss.detach(), query_error**2 / 2)
    loss.backward()
    # d adapted_w / dw = 1 - A x^2, d adapted_b / dw = -A x, d adapted_w / db = -A x, d adapted_b / db = 1 - A
    close(loop.network.head.weight.grad, query_error * (XQ * (1 - A * X**2) - A * X))
    close(loop.network.head.bias.grad, query_error * (-XQ * A * X + 1 - A))


def test_first_order_drops_the_second_derivatives(loop_class):
    loop = linear_model(loop_class)
    outer_loss(loop, "first").backward()
    query_error = (W - A * ERROR * X) * XQ + B - A * ERROR - YQ
    close(loop.network.head.weight.grad, query_error * XQ)
    close(loop.network.head.bias.grad, query_error)


@pytest.mark.parametrize("learn", ["meta-sgd", "per-step"])
def test_learned_rates_by_hand(loop_class, learn):
    loop = linear_model(loop_class, learn)
    outer_loss(loop, "second").backward()
    query_error = (W - A * ERROR * X) * XQ + B - A * ERROR - YQ
    rate_w, rate_b = loop.rates.values
    close(rate_w.grad, query_error * XQ * -ERROR * X)  # d adapted_w / d rate_w = -inner gradient
    close(rate_b.grad, query_error * -ERROR)


def test_per_step_rates_belong_to_their_step_and_the_last_serves_for_more(loop_class):
    loop = linear_model(loop_class, "per-step", steps=2)
    rate_w, rate_b = loop.rates.values
    rate_w.data.copy_(torch.tensor([0.1, 0.2])), rate_b.data.zero_()
    w = W
    for rate in (0.1, 0.2, 0.2):
        w -= rate * (w * X + B - Y) * X
    close(outer_loss(loop, "none", steps=3), (w * XQ + B - YQ) ** 2 / 2)


def test_learners_are_given_after_every_step(loop_class):
    loop = linear_model(loop_class)
    point = torch.full((1, 1, 1), X, dtype=torch.float64)
    support = Examples(point, torch.full((1, 1, 1), Y, dtype=torch.float64))
    errors = [learners(point).item() - Y for learners in loop.adapt(support, 3, graph="none")]
    # A gradient step on one point shrinks its error by 1 - A (x^2 + 1).
    assert errors == pytest.approx([ERROR * (1 - A * (X**2 + 1)) ** step for step in range(4)])


def as_numbers(episode: Episode) -> Episode:
    """In float64, 0 to 1."""
    return Episode(*(Examples(part.x.double() / 255, part.y) for part in (episode.support, episode.query)))


def maml(**options: object) -> tuple[MAMLModule, Episode]:
    """A small MAML in float64, and two 3-way 2-shot tasks."""
    module = MAMLModule(Conv4(channels=4), outputs=3, inner_lr=0.3, **options).double()
    images = torch.randint(256, (9, 6, 16, 16), dtype=torch.uint8)
    episode = ImageEpisodes(images, split="train", ways=3, shots=2, queries=3, length=2).__getitems__([0, 1])
    return module, as_numbers(episode)


OPTIONS = list(
    itertools.product(["none", "meta-sgd", "per-step"], ["all", "head"], ["transductive", "inductive"], [1, 3])
)


@pytest.mark.parametrize("inner_loop", ["sequential", "vectorized"])
@pytest.mark.parametrize(("learn", "adapt", "batch_norm", "steps"), OPTIONS)
def test_the_outer_gradient_agrees_with_finite_differences(inner_loop, learn, adapt, batch_norm, steps):
    module, episode = maml(
        inner_loop=inner_loop, learn_inner_lr=learn, adapt=adapt, batch_norm=batch_norm, adaptation_steps=steps
    )

    def loss() -> Tensor:
        return module.loss(module(episode).outputs, episode.query.y)

    parameters = list(module.parameters())
    gradients = torch.autograd.grad(loss(), parameters)
    directions = [torch.randn_like(parameter) for parameter in parameters]
    slope = sum((gradient * direction).sum() for gradient, direction in zip(gradients, directions))

    def moved(distance: float) -> Tensor:
        with torch.no_grad():
            for parameter, direction in zip(parameters, directions):
                parameter.add_(direction, alpha=distance)
        value = loss().detach()
        with torch.no_grad():
            for parameter, direction in zip(parameters, directions):
                parameter.sub_(direction, alpha=distance)
        return value

    # The step is small so as to stay between the kinks of the ReLUs; rounding then costs 1e-16 / 1e-7 = 1e-9.
    h = 1e-7
    torch.testing.assert_close((moved(h) - moved(-h)) / (2 * h), slope, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("adapt", ["all", "head"])
def test_an_evaluation_equals_training_and_leaves_the_weights_alone(adapt):
    module, episode = maml(adaptation_steps=2, adapt=adapt)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with torch.no_grad():  # as Lightning validates
        prediction = module.evaluate(episode)
    torch.testing.assert_close(prediction.outputs, module(episode).outputs)
    assert not prediction.outputs.requires_grad
    torch.testing.assert_close(prediction.before, torch.stack([module.network(x) for x in episode.query.x]))
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def test_no_steps_leave_the_predictions_as_they_were():
    module, episode = maml(test_adaptation_steps=0)
    prediction = module.evaluate(episode)
    assert torch.equal(prediction.outputs, prediction.before)


def test_inference_mode_is_refused_with_the_way_out():
    module, episode = maml()
    with torch.inference_mode(), pytest.raises(FewShotError, match="make the Trainer with inference_mode=False"):
        module.evaluate(episode)


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


def test_an_inductive_prediction_does_not_depend_on_the_other_queries():
    for mode, same in (("inductive", True), ("transductive", False)):
        module, episode = maml(batch_norm=mode)
        one = episode._replace(query=Examples(episode.query.x[:, :1], episode.query.y[:, :1]))
        difference = module.evaluate(episode).outputs[:, :1] - module.evaluate(one).outputs
        assert (difference.abs().max() < 1e-12) == same


def test_second_order_gradients_survive_bf16_autocast():
    data = GlyphsDataModule(shots=5, meta_batch_size=4)
    data.setup("fit")
    episode = data.on_after_batch_transfer(data.dataset("train").__getitems__(range(4)), 0)
    module = MAMLModule(Conv4(channels=32), inner_lr=1.0)

    def gradient(order: str, bf16: bool) -> Tensor:
        module.first_order = order == "first"
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss = module.loss(module(episode).outputs, episode.query.y)
        return torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(module.network.parameters()))])

    exact = gradient("second", bf16=False)
    rounding = (gradient("second", bf16=True) - exact).norm()
    second_order_part = (gradient("first", bf16=False) - exact).norm()
    # What bf16 loses must be small beside what the second derivatives add: measured 0.32 against 0.92 of the whole.
    assert rounding < 0.5 * second_order_part
