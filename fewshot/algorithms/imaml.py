"""MAML with implicit gradients: the outer gradient without the path of the inner steps."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from fewshot.algorithms.adapting import AdaptingModule
from fewshot.algorithms.gradients import Gradient, OuterStep, as_loss
from fewshot.episodes import Episode
from fewshot.errors import FewShotError, at_least_one
from fewshot.inner_loop import InnerSGD, VectorizedInnerLoop, VectorizedLearners, Weights
from fewshot.networks import Embedding


class ProximalSGD(InnerSGD):
    """Gradient steps on the support loss plus λ/2 ‖φ - θ‖².

    Args:
        inner_lr: Step size.
        adapted: The parameters that are adapted, by name.
        weight: λ.
    """

    def __init__(self, inner_lr: float, adapted: Mapping[str, Tensor], weight: float) -> None:
        super().__init__(inner_lr, adapted)
        self.weight = weight

    def start(self, weights: Weights) -> Weights:
        """θ, which stays as it is."""
        return {name: weight.detach() for name, weight in weights.items()}

    def step(
        self, number: int, weights: Weights, gradients: Sequence[Tensor], state: Weights
    ) -> tuple[Weights, Weights]:
        """A step down the gradients, and back towards the start."""
        pulls = (self.weight * (weight - state[name]) for name, weight in weights.items())
        return super().step(number, weights, [gradient + pull for gradient, pull in zip(gradients, pulls)], state)


def conjugate_gradient(product: Callable[[Tensor], Tensor], b: Tensor, steps: int) -> Tensor:
    """Solves A x = b for many symmetric A at once, from x = 0, as far as x is no longer than b.

    Hestenes and Stiefel, 1952, Methods of Conjugate Gradients for Solving Linear Systems. Where A turns out not to be
    positive definite, or x would become longer than b, the last step ends where x is as long as b (Steihaug, 1983, The
    Conjugate Gradient Method and Trust Regions). For A = I + H with a positive semidefinite H it never does.

    Args:
        product: From vectors ``[T, P]`` to A times each.
        b: Right-hand sides, ``[T, P]``.
        steps: Steps; with P of them the solution is exact but for rounding.
    """
    x, residual, direction = torch.zeros_like(b), b, b
    square = radius = _dot(b, b)  # of the residual; the longest that x may be, squared
    solving = torch.ones_like(square, dtype=torch.bool)
    for _ in range(steps):
        image = product(direction)
        curvature = _dot(direction, image)
        length = torch.where(curvature > 0, square / curvature, torch.inf)
        edge = _edge(x, direction, radius)
        taken = torch.where(solving, torch.minimum(length, edge), 0)
        x, residual = x + taken * direction, residual - taken * image
        solving = solving & (length < edge)
        before, square = square, _dot(residual, residual)
        direction = residual + torch.where(solving, square / before, 0) * direction
    return x


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(1, keepdim=True)


def _edge(x: Tensor, direction: Tensor, radius: Tensor) -> Tensor:
    """How far x, ``[T, P]``, can go in a direction until its squared length is the radius; 0 if there is none."""
    along, square = _dot(x, direction), _dot(direction, direction)
    room = (radius - _dot(x, x)).clamp_min(0)
    return ((along.square() + square * room).sqrt() - along) / square.clamp_min(torch.finfo(x.dtype).tiny)


class IMAMLModule(AdaptingModule):
    """iMAML: MAML whose adapted weights φ minimise the support loss plus λ/2 ‖φ - θ‖².

    Their outer gradient is then (I + H/λ)⁻¹ ∇L_query(φ), H the Hessian of the support loss at φ, whatever way led
    there: no path of inner steps is kept, so memory does not depend on their number. It is solved by conjugate
    gradients, with products of H from autograd.

    Rajeswaran, Finn, Kakade and Levine, 2019, Meta-Learning with Implicit Gradients,
    https://arxiv.org/abs/1909.04630. Deviations: the inner problem is solved by gradient descent alone (the paper has
    a Hessian-free solver, too); a task's gradient gets no longer than its ∇L_query, which it does not where the support
    loss is convex; and ``cg_damping`` is 0 by default. The authors' code solves 2 I + H / (λ + 10): at λ = 2 that is a
    damping of 22, but for a factor that Adam cancels.

    Args:
        network: The embedding network; a linear head goes on top of it.
        inner_lr: Inner step size.
        adaptation_steps: Inner gradient steps in training.
        proximal_weight: λ, how strongly the adapted weights are held to the initial ones in training.
        test_proximal_weight: The same in validation and test; the authors' code tests with 0.
        cg_steps: Steps of conjugate gradients.
        cg_damping: Added to λ where the products with H are divided by it. An inner problem that is not solved has
            curvature that is not positive, which damping evens out.
        **shared: The options of every learner that adapts.

    Raises:
        FewShotError: If a number is out of range, or the network's batch norm is of the other kind.
    """

    inner_loop: VectorizedInnerLoop

    def __init__(
        self,
        network: Embedding,
        inner_lr: float = 0.1,
        adaptation_steps: int = 16,
        proximal_weight: float = 2.0,
        test_proximal_weight: float = 0.0,
        cg_steps: int = 5,
        cg_damping: float = 0.0,
        **shared: Any,
    ) -> None:
        super().__init__(network, inner_lr=inner_lr, adaptation_steps=adaptation_steps, adapt="all", **shared)
        if proximal_weight <= 0 or test_proximal_weight < 0:
            raise FewShotError(
                f"proximal_weight must be positive and test_proximal_weight not negative: {proximal_weight}, "
                f"{test_proximal_weight}"
            )
        at_least_one(cg_steps=cg_steps)
        if cg_damping < 0:
            raise FewShotError(f"cg_damping must not be negative, not {cg_damping}")
        self.proximal_weight = proximal_weight
        self.cg_steps, self.cg_damping = cg_steps, cg_damping
        self.inner_loop, self.test_inner_loop = (
            self.make_loop(ProximalSGD(inner_lr, self.adapted_parameters(), weight), VectorizedInnerLoop)
            for weight in (proximal_weight, test_proximal_weight)
        )

    def outer_loss(self, episode: Episode) -> OuterStep:
        """The loss of the queries, with the implicit gradient."""
        chunks, parameters = self.chunks(episode), list(self.network.parameters())
        return as_loss(map(self.implicit_gradient, chunks), parameters, tasks=len(episode.query.y))

    def implicit_gradient(self, episode: Episode) -> Gradient:
        """The mean over the tasks of each task's implicit gradient."""
        tasks = len(episode.query.y)
        weights = self.adapted(episode.support, self.adaptation_steps, "none").weights
        weights = {name: weight.detach().requires_grad_() for name, weight in weights.items()}
        tensors = list(weights.values())
        with torch.enable_grad():
            adapted = VectorizedLearners(self.inner_loop, weights, episode.support.x, self.adaptation_steps, graph=True)
            outputs = adapted(episode.query.x)
            loss = self.loss(outputs, episode.query.y)
            outer = torch.autograd.grad(tasks * loss, tensors, materialize_grads=True)
            losses = self.inner_loop.losses(weights, episode.support, self.adaptation_steps)
            inner = torch.autograd.grad(losses.sum(), tensors, create_graph=True, materialize_grads=True)

        def product(vectors: Tensor) -> Tensor:
            parts = [(g, v) for g, v in zip(inner, unflatten(vectors, tensors)) if g.requires_grad]
            of_hessian = torch.autograd.grad(
                [g for g, _ in parts], tensors, [v for _, v in parts], retain_graph=True, materialize_grads=True
            )
            return vectors + flatten(of_hessian) / (self.proximal_weight + self.cg_damping)

        solved = unflatten(conjugate_gradient(product, flatten(outer), self.cg_steps), tensors)
        return Gradient(loss.detach(), outputs.detach(), [gradient.sum(0) * (1 / tasks) for gradient in solved])


def flatten(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors ``[T, ...]`` as vectors ``[T, P]``."""
    return torch.cat([tensor.flatten(1) for tensor in tensors], dim=1)


def unflatten(vectors: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Undoes :func:`flatten`."""
    parts = vectors.split([tensor[0].numel() for tensor in like], dim=1)
    return [part.view_as(tensor) for part, tensor in zip(parts, like)]
