"""iMAML against the closed form of a quadratic task, and its parts against dense linear algebra."""

import pytest
import torch
from helpers import Identity, outer_gradients
from torch import Tensor

from fewshot.algorithms import IMAMLModule, MAMLModule
from fewshot.algorithms.imaml import conjugate_gradient
from fewshot.episodes import Episode, Examples
from fewshot.errors import FewShotError
from fewshot.networks import Conv4

PULL = 2.0  # λ


def quadratic(tasks: int = 3) -> Episode:
    """Linear regression of five points: the loss is a quadratic function of w1, w2 and b."""
    parts = torch.randn(2, tasks, 5, 3, dtype=torch.float64)
    return Episode(*(Examples(part[..., :2], part[..., 2:]) for part in parts))


def linear_model(**options: object) -> IMAMLModule:
    options = {"inner_lr": 0.1, "proximal_weight": PULL, "cg_steps": 3, "adaptation_steps": 400, **options}
    return IMAMLModule(Identity(2), outputs=1, loss="mse", **options).double()


def design(x: Tensor) -> Tensor:
    return torch.cat([x, torch.ones_like(x[..., :1])], dim=-1)


def closed_form(episode: Episode, theta: Tensor) -> tuple[Tensor, Tensor]:
    """The adapted parameters ``[T, 3]``, and the query loss, differentiable in theta.

    mean (X φ - y)² + λ/2 |φ - θ|² is least where (2/n XᵀX + λ I) φ = 2/n Xᵀy + λ θ.
    """
    x, y = design(episode.support.x), episode.support.y
    hessian = 2 / 5 * x.mT @ x
    right = 2 / 5 * x.mT @ y + PULL * theta.unsqueeze(-1)
    adapted = torch.linalg.solve(hessian + PULL * torch.eye(3, dtype=torch.float64), right)
    return adapted.squeeze(-1), (design(episode.query.x) @ adapted - episode.query.y).square().mean()


def theta(module: IMAMLModule) -> Tensor:
    return torch.cat([module.network.head.weight.flatten(), module.network.head.bias])


def test_the_inner_steps_end_at_the_proximal_minimum():
    module, episode = linear_model(), quadratic()
    *_, learners = module.adapt(episode.support, 400, "none")
    ours = torch.cat([learners.weights["head.weight"].flatten(1), learners.weights["head.bias"]], dim=1)
    torch.testing.assert_close(ours, closed_form(episode, theta(module))[0])


def test_the_outer_gradient_is_that_of_the_closed_form():
    module, episode = linear_model(), quadratic()
    loss = module.outer_loss(episode).loss
    loss.backward()
    start = theta(module).detach().requires_grad_()
    _, expected = closed_form(episode, start)
    expected.backward()  # through the solved minimum, by autograd: no implicit formula
    torch.testing.assert_close(loss, expected)
    head = module.network.head
    torch.testing.assert_close(torch.cat([head.weight.grad.flatten(), head.bias.grad]), start.grad)


def test_damping_is_added_to_lambda_where_the_hessian_is_divided_by_it():
    module, episode = linear_model(cg_damping=3.0), quadratic(1)
    gradients = module.implicit_gradient(episode).gradients
    adapted = closed_form(episode, theta(module))[0].detach().requires_grad_()
    query = (design(episode.query.x) @ adapted.unsqueeze(-1) - episode.query.y).square().mean()
    (g,) = torch.autograd.grad(query, adapted)
    x = design(episode.support.x)[0]
    expected = torch.linalg.solve(torch.eye(3, dtype=torch.float64) + 2 / 5 * x.mT @ x / (PULL + 3.0), g[0])
    torch.testing.assert_close(torch.cat([part.flatten() for part in gradients]), expected)


def test_chunks_of_tasks_give_the_same_gradient():
    whole, episode = linear_model(), quadratic()
    parts = linear_model(task_chunk_size=2)
    parts.load_state_dict(whole.state_dict())
    expected = outer_gradients(whole, episode)
    for name, gradient in outer_gradients(parts, episode).items():  # of two tasks, and of one
        torch.testing.assert_close(gradient, expected[name])


def test_conjugate_gradients_solve_many_systems_at_once():
    roots = torch.randn(4, 6, 6, dtype=torch.float64)
    matrices = roots @ roots.mT + torch.eye(6, dtype=torch.float64)
    b = torch.randn(4, 6, dtype=torch.float64)
    solved = conjugate_gradient(lambda v: (matrices @ v.unsqueeze(-1)).squeeze(-1), b, steps=6)
    torch.testing.assert_close(solved, torch.linalg.solve(matrices, b))


def test_a_solved_system_stays_solved():
    b = torch.tensor([[1.0, 2.0], [0.0, 0.0]])  # solved after one step, and before the first
    assert torch.equal(conjugate_gradient(lambda v: 2 * v, b, steps=5), b / 2)


def test_a_system_that_is_not_positive_definite_is_solved_until_the_solution_is_as_long_as_its_right_hand_side():
    scale = torch.tensor([[1.0, 3.0], [-1.0, -1.0], [0.1, 0.1], [3.0, -0.5]])
    b = torch.tensor([[1.0, 1.0], [1.0, 2.0], [3.0, 4.0], [1.0, 1.0]])
    solved = conjugate_gradient(lambda v: scale * v, b, steps=2)
    assert solved[:3].allclose(torch.tensor([[1.0, 1 / 3], [1.0, 2.0], [3.0, 4.0]]))  # the third is ten times as long
    assert solved[3].norm().isclose(b[3].norm())
    # After (0.8, 0.8) the direction is (0.56, 3.36), of negative curvature: the solution grows along it.
    assert solved[3, 1] > solved[3, 0]


def test_the_pull_of_the_start_is_left_out_in_tests_unless_asked_for():
    module, episode = linear_model(test_adaptation_steps=5), quadratic()
    plain = MAMLModule(Identity(2), outputs=1, loss="mse", inner_lr=0.1, test_adaptation_steps=5).double()
    plain.network.load_state_dict(module.network.state_dict())
    torch.testing.assert_close(module.predict(episode).outputs, plain.predict(episode).outputs)

    held = linear_model(test_adaptation_steps=400, test_proximal_weight=PULL)
    adapted = closed_form(episode, theta(held))[0].unsqueeze(-1)
    torch.testing.assert_close(held.predict(episode).outputs, (design(episode.query.x) @ adapted).detach())


@pytest.mark.parametrize(
    ("option", "value"),
    [("inner_lr", 0), ("proximal_weight", 0), ("test_proximal_weight", -1), ("cg_steps", 0), ("cg_damping", -1)],
)
def test_numbers_out_of_range_are_refused(option, value):
    with pytest.raises(FewShotError, match=f"{option} (must|not)"):
        IMAMLModule(Conv4(), **{option: value})
