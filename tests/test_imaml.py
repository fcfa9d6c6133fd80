"""iMAML against the closed form of a quadratic task, and its parts against dense linear algebra."""

import pytest
import torch
from torch import Tensor

from fewshot.algorithms import IMAMLModule
from fewshot.algorithms.imaml import conjugate_gradient
from fewshot.episodes import Episode, Examples
from fewshot.errors import FewShotError
from fewshot.networks import Conv4, Embedding

STRENGTH = 2.0


class Pair(Embedding):
    """Passes two numbers through: the head on top is the linear model w1 x1 + w2 x2 + b."""

    out_features = 2

    def forward(self, x: Tensor, support_size: int | None = None) -> Tensor:
        return x


def quadratic(tasks: int = 3) -> Episode:
    """Linear regression of five points: the loss is a quadratic function of the three parameters."""
    parts = torch.randn(2, tasks, 5, 3, dtype=torch.float64)
    return Episode(*(Examples(part[..., :2], part[..., 2:]) for part in parts))


def linear_model(**options: object) -> IMAMLModule:
    options = {"inner_lr": 0.1, "strength": STRENGTH, "cg_steps": 3, "adaptation_steps": 400, **options}
    return IMAMLModule(Pair(), outputs=1, loss="mse", **options).double()


def design(x: Tensor) -> Tensor:
    return torch.cat([x, torch.ones_like(x[..., :1])], dim=-1)


def closed_form(episode: Episode, theta: Tensor) -> tuple[Tensor, Tensor]:
    """The adapted parameters ``[T, 3]``, and the query loss, differentiable in theta.

    mean (X φ - y)² + λ/2 |φ - θ|² is least where (2/n XᵀX + λ I) φ = 2/n Xᵀy + λ θ.
    """
    x, y = design(episode.support.x), episode.support.y
    hessian = 2 / 5 * x.mT @ x
    right = 2 / 5 * x.mT @ y + STRENGTH * theta.unsqueeze(-1)
    adapted = torch.linalg.solve(hessian + STRENGTH * torch.eye(3, dtype=torch.float64), right)
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
    loss = module.outer_loss(episode)[0]
    loss.backward()
    start = theta(module).detach().requires_grad_()
    _, expected = closed_form(episode, start)
    expected.backward()  # through the solved minimum, by autograd: no implicit formula
    torch.testing.assert_close(loss, expected)
    head = module.network.head
    torch.testing.assert_close(torch.cat([head.weight.grad.flatten(), head.bias.grad]), start.grad)


def test_chunks_of_tasks_give_the_same_gradient():
    whole, episode = linear_model(), quadratic()
    parts = linear_model(task_chunk_size=2)
    parts.load_state_dict(whole.state_dict())
    for module in (whole, parts):
        module.outer_loss(episode)[0].backward()
    torch.testing.assert_close(whole.network.head.weight.grad, parts.network.head.weight.grad)


def test_conjugate_gradients_solve_many_systems_at_once():
    roots = torch.randn(4, 6, 6, dtype=torch.float64)
    matrices = roots @ roots.mT + torch.eye(6, dtype=torch.float64)
    b = torch.randn(4, 6, dtype=torch.float64)
    solved = conjugate_gradient(lambda v: (matrices @ v.unsqueeze(-1)).squeeze(-1), b, steps=6)
    torch.testing.assert_close(solved, torch.linalg.solve(matrices, b), rtol=1e-6, atol=1e-8)


def test_a_solved_system_stays_solved():
    b = torch.tensor([[1.0, 2.0], [0.0, 0.0]])  # solved after one step, and before the first
    assert torch.equal(conjugate_gradient(lambda v: 2 * v, b, steps=5), b / 2)


def test_a_system_that_is_not_positive_definite_is_left_as_far_as_it_was_solved():
    scale = torch.tensor([[1.0, 3.0], [-1.0, -1.0]])
    b = torch.tensor([[1.0, 1.0], [1.0, 2.0]])
    solved = conjugate_gradient(lambda v: scale * v, b, steps=2)
    torch.testing.assert_close(solved, torch.tensor([[1.0, 1 / 3], [1.0, 2.0]]))


def test_what_is_kept_does_not_depend_on_the_number_of_inner_steps():
    def saved(steps: int) -> int:
        """Most bytes that autograd held at once during an outer step."""
        now, most = 0, 0

        class Held:
            def __init__(self, tensor: Tensor) -> None:
                nonlocal now, most
                self.tensor = tensor
                now += tensor.nbytes
                most = max(most, now)

            def __del__(self) -> None:
                nonlocal now
                now -= self.tensor.nbytes

        module = IMAMLModule(Conv4(channels=4), outputs=3, adaptation_steps=steps)
        x, y = torch.rand(2, 3, 1, 16, 16), torch.arange(3).expand(2, 3)
        with torch.autograd.graph.saved_tensors_hooks(Held, lambda held: held.tensor):
            module.outer_loss(Episode(Examples(x, y), Examples(x, y)))[0].backward()
        return most

    assert saved(8) == saved(2) > 0


@pytest.mark.parametrize(("option", "value"), [("inner_lr", 0), ("strength", 0), ("cg_steps", 0)])
def test_numbers_out_of_range_are_refused(option, value):
    with pytest.raises(FewShotError, match=f"{option} must be"):
        IMAMLModule(Conv4(), **{option: value})
