"""The toy problem's meta-loss and the algorithms' directions, against sums written out and finite differences."""

from collections.abc import Callable
from itertools import pairwise
from math import exp, log

import pytest
import torch
from torch import Tensor

from fewshot.studies.meta_loss import GRID, PANELS, THETA, descent_directions, meta_loss, meta_loss_figure, minima

TASKS = [(0.3, 0.05), (0.83, 0.75)]
RATE = 0.3
PLACE = (1.5, -2.0)


def softplus(z: float) -> float:
    return log(1 + exp(z))


def sigmoid(z: float) -> float:
    return 1 / (1 + exp(-z))


def loss(a: float, b: float, x: float, y: float) -> float:
    return (softplus(a * x + b) - y) ** 2


def gradient(a: float, b: float, x: float, y: float) -> tuple[float, float]:
    outer = 2 * (softplus(a * x + b) - y) * sigmoid(a * x + b)
    return outer * x, outer


def descend(a: float, b: float, x: float, y: float, steps: int) -> tuple[float, float]:
    for _ in range(steps):
        by_a, by_b = gradient(a, b, x, y)
        a, b = a - RATE * by_a, b - RATE * by_b
    return a, b


def proximal_loss(theta: Tensor, strength: float) -> Tensor:
    """Sum of the losses after 500 steps of gradient descent on loss + strength / 2 * |phi - theta|^2."""
    total = 0.0
    for x, y in TASKS:
        a0, b0 = a, b = theta.tolist()
        for _ in range(500):
            by_a, by_b = gradient(a, b, x, y)
            a, b = a - 0.2 * (by_a + strength * (a - a0)), b - 0.2 * (by_b + strength * (b - b0))
        total += loss(a, b, x, y)
    return torch.tensor(total, dtype=torch.float64)


def slope(function: Callable[[Tensor], Tensor], at: Tensor, h: float = 1e-5) -> Tensor:
    """Central differences of a function of two parameters."""
    steps = h * torch.eye(2, dtype=torch.float64)
    return torch.stack([(function(at + step) - function(at - step)) / (2 * h) for step in steps])


@pytest.fixture
def theta() -> Tensor:
    return torch.tensor(PLACE, dtype=torch.float64)


def test_without_steps_it_is_the_sum_of_the_losses():
    at_zero = meta_loss(torch.zeros(2), 0)  # softplus(0) = log 2 for both tasks
    assert at_zero.item() == pytest.approx((log(2) - 0.05) ** 2 + (log(2) - 0.75) ** 2)
    assert at_zero.dtype == torch.float64


def test_one_step_written_out():
    a, b = PLACE
    expected = 0.0
    for x, y in TASKS:
        z = a * x + b
        by_z = 2 * (log(1 + exp(z)) - y) / (1 + exp(-z))  # the derivative of softplus is the sigmoid
        moved = (a - RATE * by_z * x) * x + (b - RATE * by_z)
        expected += (log(1 + exp(moved)) - y) ** 2
    assert meta_loss(torch.tensor(PLACE), 1).item() == pytest.approx(expected)


@pytest.mark.parametrize("steps", [0, 3])
def test_many_thetas_at_once(steps):
    thetas = torch.tensor([[[1.5, -2.0], [0.0, 0.0], [4.0, -6.0]], [[5.0, 1.0], [-2.0, 0.5], [9.0, -8.0]]])
    expected = [
        [sum(loss(*descend(*theta, *task, steps), *task) for task in TASKS) for theta in row] for row in thetas.tolist()
    ]
    torch.testing.assert_close(meta_loss(thetas, steps), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("steps", [0, 1, 5, 20])
def test_maml_descends_the_meta_loss(theta, steps):
    expected = -slope(lambda at: meta_loss(at, steps), theta)
    torch.testing.assert_close(descent_directions(theta, steps)["MAML"], expected, rtol=1e-6, atol=1e-9)


def test_the_gradient_passes_through_the_inner_steps_by_backward(theta):
    meta_loss(theta.requires_grad_(), 5).backward()
    torch.testing.assert_close(-theta.grad, descent_directions(theta.detach(), 5)["MAML"])


@pytest.mark.parametrize("steps", [1, 5])
def test_fomaml_and_reptile_by_a_loop(theta, steps):
    a, b = PLACE
    fomaml, reptile = torch.zeros(2).double(), torch.zeros(2).double()
    for task in TASKS:
        adapted = descend(a, b, *task, steps)
        fomaml -= torch.tensor(gradient(*adapted, *task), dtype=torch.float64)  # no Hessian in front of it
        reptile += torch.tensor(adapted, dtype=torch.float64) - theta
    directions = descent_directions(theta, steps)
    torch.testing.assert_close(directions["FOMAML"], fomaml)
    torch.testing.assert_close(directions["Reptile"], reptile)


@pytest.mark.parametrize("strength", [0.5, 2.0])
def test_imaml_descends_the_loss_at_the_proximal_solution(theta, strength):
    expected = -slope(lambda at: proximal_loss(at, strength), theta, h=1e-4)
    actual = descent_directions(theta, 1, strength=strength)["iMAML"]
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-9)


def test_one_theta_solves_both_tasks_whatever_the_steps():
    inputs, targets = torch.tensor(TASKS, dtype=torch.float64).unbind(-1)
    z = targets.expm1().log()
    a = (z[1] - z[0]) / (inputs[1] - inputs[0])
    theta = torch.stack([a, z[0] - a * inputs[0]])
    torch.testing.assert_close(theta, torch.tensor([5.81, -4.71]).double(), atol=0.01, rtol=0)
    assert all(meta_loss(theta, steps).item() < 1e-25 for steps in (0, 1, 20))


def test_the_basin_widens_with_the_steps():
    for before, after in pairwise(minima(range(0, 21, 4)).values()):
        assert before.basin < after.basin
        assert before.loss > after.loss


def test_the_figure_marks_the_lowest_point_and_draws_the_directions():
    *panels, _ = meta_loss_figure().axes  # the colour bar comes last
    assert [int(panel.get_title().split(":")[0].removeprefix("m = ")) for panel in panels] == list(PANELS)
    for panel, m in zip(panels, PANELS):
        ((a, b),) = panel.lines[0].get_xydata()
        assert meta_loss(torch.tensor([a, b]), m).item() == pytest.approx(meta_loss(GRID, m).min().item())
        arrows = {artist.get_label(): artist for artist in panel.collections if hasattr(artist, "U")}
        assert list(arrows) == (["MAML", "FOMAML", "Reptile", "iMAML"] if m else [])
        for name, direction in descent_directions(torch.tensor(THETA), m).items() if m else []:
            drawn = torch.tensor([arrows[name].U.item(), arrows[name].V.item()])
            torch.testing.assert_close(drawn, (direction / direction.norm()).float())
