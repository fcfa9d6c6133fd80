"""MAML with implicit gradients: the outer gradient without the path of the inner steps."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from fewshot.algorithms.adapting import AdaptingModule
from fewshot.algorithms.base import LRSchedulerCallable, Prediction, with_gradient
from fewshot.episodes import Episode
from fewshot.errors import FewShotError
from fewshot.inner_loop import BatchNormMode, InnerRates, VectorizedInnerLoop, VectorizedLearners, Weights
from fewshot.networks import Embedding
from fewshot.objectives import LossName


class ProximalDescent(InnerRates):
    """Gradient steps on the support loss plus λ/2 ‖φ - θ‖².

    Args:
        inner_lr: Step size.
        adapted: The module whose parameters are θ.
        strength: λ.
    """

    def __init__(self, inner_lr: float, adapted: nn.Module, strength: float) -> None:
        super().__init__("none", inner_lr, adapted, 1)
        self.start = [adapted]  # in a list, so that it is not a part of this module
        self.strength = strength

    def descend(self, step: int, weights: Weights, gradients: Sequence[Tensor]) -> Weights:
        """A step down the gradients, and back towards the start."""
        start = dict(self.start[0].named_parameters())
        pulls = (self.strength * (weight - start[name].detach()) for name, weight in weights.items())
        return super().descend(step, weights, [gradient + pull for gradient, pull in zip(gradients, pulls)])


def conjugate_gradient(product: Callable[[Tensor], Tensor], b: Tensor, steps: int) -> Tensor:
    """Solves A x = b for many symmetric A at once, from x = 0.

    Hestenes and Stiefel, 1952, Methods of Conjugate Gradients for Solving Linear Systems. Where A turns out not to be
    positive definite, a system is left as far as it was solved (Steihaug, 1983), or x = b if that is at the first step.

    Args:
        product: From vectors ``[T, P]`` to A times each.
        b: Right-hand sides, ``[T, P]``.
        steps: Steps; with P of them the solution is exact but for rounding.
    """
    x, residual, direction = torch.zeros_like(b), b, b
    square = b.square().sum(1, keepdim=True)
    solving = torch.ones_like(square, dtype=torch.bool)
    for step in range(steps):
        image = product(direction)
        curvature = (direction * image).sum(1, keepdim=True)
        solving = solving & (curvature > 0)
        if step == 0:
            x = torch.where(solving, x, b)
        length = torch.where(solving, square / curvature, 0)
        x, residual = x + length * direction, residual - length * image
        before, square = square, residual.square().sum(1, keepdim=True)
        direction = residual + torch.where(solving, square / before, 0) * direction
    return x


class IMAMLModule(AdaptingModule):
    """iMAML: MAML whose adapted weights φ minimise the support loss plus λ/2 ‖φ - θ‖².

    Their outer gradient is then (I + H/λ)⁻¹ ∇L_query(φ), H the Hessian of the support loss at φ, whatever way led
    there: no path of inner steps is kept, so memory does not depend on their number. It is solved by conjugate
    gradients, with products of H from autograd.

    Rajeswaran, Finn, Kakade and Levine, 2019, Meta-Learning with Implicit Gradients,
    https://arxiv.org/abs/1909.04630. Deviations: the inner problem is solved by gradient descent alone (the paper has
    a Hessian-free solver, too), and ``cg_damping`` is 0 by default. The authors' code solves 2 I + H / (λ + 10): at
    λ = 2 that is a damping of 22, but for a factor that Adam cancels.

    Args:
        network: The embedding network; a linear head goes on top of it.
        outputs: Outputs of the head: classes per task, N, or 1 for regression; the command line takes it from the data.
        inner_lr: Inner step size.
        adaptation_steps: Inner gradient steps in training.
        test_adaptation_steps: Inner gradient steps in validation and test; as in training if not given.
        strength: λ, how strongly the adapted weights are held to the initial ones in training.
        test_strength: The same in validation and test; the authors' code tests with 0.
        cg_steps: Steps of conjugate gradients.
        cg_damping: Added to λ where the products with H are divided by it. An inner problem that is not solved has
            curvature that is not positive, which undamped gradients blow up.
        batch_norm: Whose statistics normalise the queries: their own, all queries of the task together
            (``transductive``), or the support set's (``inductive``).
        task_chunk_size: Adapt so many tasks at a time, to need less memory; all of the meta-batch if not given. Results
            are the same.
        loss: ``cross-entropy`` for classification, ``mse`` for regression.
        meta_lr: Outer step size of Adam.
        lr_scheduler: Schedule of the outer step size, stepped once per outer step; constant if not given.

    Raises:
        FewShotError: If a number is out of range, or the network's batch norm keeps running statistics.
    """

    inner_loop: VectorizedInnerLoop

    def __init__(
        self,
        network: Embedding,
        outputs: int = 5,
        inner_lr: float = 0.1,
        adaptation_steps: int = 16,
        test_adaptation_steps: int | None = None,
        strength: float = 2.0,
        test_strength: float = 0.0,
        cg_steps: int = 5,
        cg_damping: float = 0.0,
        batch_norm: BatchNormMode = "transductive",
        task_chunk_size: int | None = None,
        loss: LossName = "cross-entropy",
        meta_lr: float = 1e-3,
        lr_scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__(
            network,
            outputs=outputs,
            inner_lr=inner_lr,
            adaptation_steps=adaptation_steps,
            test_adaptation_steps=test_adaptation_steps,
            batch_norm=batch_norm,
            task_chunk_size=task_chunk_size,
            loss=loss,
            meta_lr=meta_lr,
            lr_scheduler=lr_scheduler,
        )
        if strength <= 0 or test_strength < 0:
            raise FewShotError(f"strength must be positive and test_strength not negative: {strength}, {test_strength}")
        if cg_steps < 1:
            raise FewShotError(f"cg_steps must be at least 1, not {cg_steps}")
        if cg_damping < 0:
            raise FewShotError(f"cg_damping must not be negative, not {cg_damping}")
        self.strength, self.test_strength = strength, test_strength
        self.cg_steps, self.cg_damping = cg_steps, cg_damping
        self.descent = ProximalDescent(inner_lr, self.network, strength)
        self.inner_loop = VectorizedInnerLoop(self.network, self.descent, self.loss, adapt="all", batch_norm=batch_norm)

    def forward(self, episode: Episode) -> Prediction:
        """Adapts to each task and predicts its queries; the way there cannot be differentiated."""
        return Prediction(self.adapted(episode.support, self.adaptation_steps, "none")(episode.query.x))

    def evaluate(self, episode: Episode) -> Prediction:
        """Adapts to each task and predicts its queries, before and after."""
        self.descent.strength = self.test_strength
        try:
            return super().evaluate(episode)
        finally:
            self.descent.strength = self.strength

    def outer_loss(self, episode: Episode) -> tuple[Tensor, Tensor]:
        """The loss of the queries, with the implicit gradient, and the outputs for them."""
        parameters = list(self.network.parameters())
        total = [torch.zeros_like(parameter) for parameter in parameters]
        outputs = []
        for part in episode.split(self.task_chunk_size):
            predicted, gradients = self.implicit_gradients(part)
            torch._foreach_add_(total, [gradient.sum(0) for gradient in gradients], alpha=1 / len(episode.query.y))
            outputs.append(predicted)
        whole = torch.cat(outputs)
        return with_gradient(self.loss(whole, episode.query.y), parameters, total), whole

    def implicit_gradients(self, episode: Episode) -> tuple[Tensor, list[Tensor]]:
        """The outputs for the queries, and each task's gradient in each parameter, ``[T, ...]``."""
        weights = self.adapted(episode.support, self.adaptation_steps, "none").weights
        weights = {name: weight.detach().requires_grad_() for name, weight in weights.items()}
        tensors, tasks = list(weights.values()), len(episode.query.y)
        with torch.enable_grad():
            adapted = VectorizedLearners(self.inner_loop, weights, episode.support.x, self.adaptation_steps, graph=True)
            outputs = adapted(episode.query.x)
            outer = torch.autograd.grad(tasks * self.loss(outputs, episode.query.y), tensors, materialize_grads=True)
            losses = self.inner_loop.losses(weights, episode.support)
            inner = torch.autograd.grad(losses.sum(), tensors, create_graph=True, materialize_grads=True)

        def product(vectors: Tensor) -> Tensor:
            parts = [(g, v) for g, v in zip(inner, unflatten(vectors, tensors)) if g.requires_grad]
            of_hessian = torch.autograd.grad(
                [g for g, _ in parts], tensors, [v for _, v in parts], retain_graph=True, materialize_grads=True
            )
            return vectors + flatten(of_hessian) / (self.strength + self.cg_damping)

        solved = conjugate_gradient(product, flatten(outer), self.cg_steps)
        return outputs.detach(), unflatten(solved, tensors)


def flatten(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors ``[T, ...]`` as vectors ``[T, P]``."""
    return torch.cat([tensor.flatten(1) for tensor in tensors], dim=1)


def unflatten(vectors: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Undoes :func:`flatten`."""
    parts = vectors.split([tensor[0].numel() for tensor in like], dim=1)
    return [part.view_as(tensor) for part, tensor in zip(parts, like)]
