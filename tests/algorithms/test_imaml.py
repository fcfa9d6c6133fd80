"""iMAML against the closed form of a quadratic task, and its parts against dense linear algebra."""

import weakref
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from fewshot.algorithms import IMAMLModule, MAMLModule, ReptileModule
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


def test_damping_is_added_to_lambda_where_the_hessian_is_divided_by_it():
    module, episode = linear_model(cg_damping=3.0), quadratic(1)
    _, gradients = module.implicit_gradients(episode)
    adapted = closed_form(episode, theta(module))[0].detach().requires_grad_()
    query = (design(episode.query.x) @ adapted.unsqueeze(-1) - episode.query.y).square().mean()
    (g,) = torch.autograd.grad(query, adapted)
    x = design(episode.support.x)[0]
    expected = torch.linalg.solve(torch.eye(3, dtype=torch.float64) + 2 / 5 * x.mT @ x / (STRENGTH + 3.0), g[0])
    torch.testing.assert_close(torch.cat([part.flatten() for part in gradients]), expected)


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


class Peak(TorchDispatchMode):
    """Most bytes of new tensors that are alive at once: autograd's, and the weights on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[int, int] = {}
        self.now = self.most = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        results = function(*args, **(kwargs or {}))
        for result in results if isinstance(results, tuple | list) else [results]:
            if isinstance(result, Tensor) and result.untyped_storage().data_ptr() not in self.known:
                self.count(result)
        return results

    def count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        place, size = storage.data_ptr(), storage.nbytes()
        self.known[place] = size
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self.forget, place)

    def forget(self, place: int) -> None:
        self.now -= self.known.pop(place)


@pytest.mark.parametrize(
    ("learner", "flat"),
    [(IMAMLModule, True), (ReptileModule, True), (partial(MAMLModule, first_order=True), True), (MAMLModule, False)],
    ids=["imaml", "reptile", "fomaml", "maml"],
)
def test_memory_does_not_depend_on_the_number_of_inner_steps(learner, flat):
    def peak(steps: int) -> int:
        module = learner(Conv4(channels=16), outputs=3, adaptation_steps=steps)
        x, y = torch.rand(2, 3, 1, 16, 16), torch.arange(3).expand(2, 3)
        with Peak() as watch:
            module.outer_loss(Episode(Examples(x, y), Examples(x, y)))[0].backward()
        return watch.most

    four, twelve = peak(4), peak(12)
    assert twelve < 1.1 * four if flat else twelve > 2 * four


def test_the_pull_of_the_start_is_left_out_in_tests():
    module, episode = linear_model(test_adaptation_steps=5), quadratic()
    plain = MAMLModule(Pair(), outputs=1, loss="mse", inner_lr=0.1, test_adaptation_steps=5).double()
    plain.network.load_state_dict(module.network.state_dict())
    expected = plain.evaluate(episode).outputs
    torch.testing.assert_close(module.evaluate(episode).outputs, expected)
    module.test_strength = STRENGTH
    assert not torch.allclose(module.evaluate(episode).outputs, expected, rtol=1e-2)


@pytest.mark.parametrize(
    ("option", "value"), [("inner_lr", 0), ("strength", 0), ("test_strength", -1), ("cg_steps", 0), ("cg_damping", -1)]
)
def test_numbers_out_of_range_are_refused(option, value):
    with pytest.raises(FewShotError, match=f"{option} (must|not)"):
        IMAMLModule(Conv4(), **{option: value})
