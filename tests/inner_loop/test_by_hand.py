"""Both inner loops against gradients worked out by hand."""

import pytest
import torch
from helpers import Identity
from torch import Tensor

from fewshot.episodes import Examples
from fewshot.inner_loop import (
    InnerLoop,
    InnerSGD,
    Learners,
    SequentialInnerLoop,
    VectorizedInnerLoop,
    adapted_parameters,
)
from fewshot.networks import Classifier


def half_square(prediction: Tensor, target: Tensor) -> Tensor:
    return 0.5 * (prediction - target).square().sum()


# One support point (x, y), one query point (xq, yq), start (w, b), inner rate a; all chosen freely.
X, Y, XQ, YQ, W, B, A = 2.0, 3.0, -1.0, 1.0, 0.5, 0.25, 0.1
ERROR = W * X + B - Y  # -1.75; the inner gradient is ERROR * (X, 1)


@pytest.fixture(params=[SequentialInnerLoop, VectorizedInnerLoop], ids=["sequential", "vectorized"])
def loop_class(request: pytest.FixtureRequest) -> type[InnerLoop]:
    return request.param


def linear_model(loop_class: type[InnerLoop], learn: str = "none", steps: int = 1, adapt: object = "all") -> InnerLoop:
    """The model w*x + b."""
    network = Classifier(Identity(), 1).double()
    network.head.weight.data.fill_(W), network.head.bias.data.fill_(B)
    optimizer = InnerSGD(A, adapted_parameters(network, adapt), learn, steps).double()
    return loop_class(network, optimizer, half_square, adapt=adapt, batch_norm="transductive")


def point(value: float) -> Tensor:
    return torch.full((1, 1, 1), value, dtype=torch.float64)


SUPPORT = Examples(point(X), point(Y))


def outer_loss(loop: InnerLoop, graph: str, steps: int = 1) -> Tensor:
    *_, learners = loop.adapt(SUPPORT, steps, graph=graph)
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


def test_a_weight_that_is_not_named_stays_by_hand(loop_class):
    loop = linear_model(loop_class, adapt=["head.bias"])
    loss = outer_loss(loop, "second")
    query_error = W * XQ + B - A * ERROR - YQ
    close(loss.detach(), query_error**2 / 2)
    loss.backward()
    close(loop.network.head.weight.grad, query_error * (XQ - A * X))
    close(loop.network.head.bias.grad, query_error * (1 - A))


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
    rate_w, rate_b = loop.optimizer.rates
    close(rate_w.grad, query_error * XQ * -ERROR * X)  # d adapted_w / d rate_w = -inner gradient
    close(rate_b.grad, query_error * -ERROR)


def test_per_step_rates_belong_to_their_step_and_the_last_serves_for_more(loop_class):
    loop = linear_model(loop_class, "per-step", steps=2)
    rate_w, rate_b = loop.optimizer.rates
    rate_w.data.copy_(torch.tensor([0.1, 0.2])), rate_b.data.zero_()
    w = W
    for rate in (0.1, 0.2, 0.2):
        w -= rate * (w * X + B - Y) * X
    close(outer_loss(loop, "none", steps=3), (w * XQ + B - YQ) ** 2 / 2)


def test_learners_are_given_after_every_step_with_their_weights(loop_class):
    loop = linear_model(loop_class)
    seen = [
        (learners(point(X)).item() - Y, {name: weight.item() for name, weight in learners.weights.items()})
        for learners in loop.adapt(SUPPORT, 3, graph="none")
    ]
    # A gradient step on one point shrinks its error by 1 - A (x^2 + 1).
    errors = [ERROR * (1 - A * (X**2 + 1)) ** step for step in range(4)]
    assert [error for error, _ in seen] == pytest.approx(errors)
    assert seen[0][1] == {"head.weight": W, "head.bias": B}
    assert seen[1][1] == pytest.approx({"head.weight": W - A * ERROR * X, "head.bias": B - A * ERROR})


@pytest.mark.parametrize("adapt", ["all", "head"])
@pytest.mark.parametrize("graph", ["second", "first", "none"])
def test_a_draw_may_make_its_examples_from_the_learners_before_the_step(loop_class, adapt, graph):
    """As reinforcement learning acts by what it has learned so far: here each step's x is its own last prediction."""
    loop = linear_model(loop_class, adapt=adapt)
    drawn = []

    def draw(step: int, learners: Learners) -> Examples:
        x = learners(point(X)).detach() + step
        drawn.append(x.item())
        return Examples(x, point(Y))

    *_, learners = loop.adapt(SUPPORT, 2, graph=graph, draw=draw)
    first = W * X + B
    error = W * first + B - Y
    w, b = W - A * error * first, B - A * error
    second = w * X + b + 1
    assert drawn == pytest.approx([first, second])
    error = w * second + b - Y
    close(learners.weights["head.weight"].detach(), w - A * error * second)
    close(learners.weights["head.bias"].detach(), b - A * error)
    if graph == "second":  # d w2 / dw, by the chain of (1 - A x^2) and (-A x) of each step, the examples given
        (slope,) = torch.autograd.grad(learners.weights["head.weight"], loop.network.head.weight)
        close(slope, (1 - A * second**2) * (1 - A * first**2) + A * second * A * first)
