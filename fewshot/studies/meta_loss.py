"""The meta-loss of a toy problem as a surface over its two parameters, and where four algorithms move from a point.

The learner has the parameters theta = (a, b) and predicts softplus(a * x + b). Each of its two tasks is a single point
(x, y), with the squared error there as its loss. The meta-loss after m inner steps is the sum over the tasks of the
loss that is left after m steps of gradient descent from theta on that task alone.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from torch import Tensor
from torch.func import grad
from torch.nn.functional import normalize, softplus

INPUTS = torch.tensor([[0.3, 1.0], [0.83, 1.0]], dtype=torch.float64)  # (x, 1) of each task
TARGETS = torch.tensor([0.05, 0.75], dtype=torch.float64)
INNER_LR = 0.3
THETA = (3.25, -2.75)  # a point near the valley, where the directions differ
PANELS = (0, 1, 2, 5, 10, 20)  # numbers of inner steps m
BASIN = 0.01  # the basin is where the meta-loss is below this
A_AXIS = torch.linspace(-2, 10, 121, dtype=torch.float64)
GRID = torch.stack(torch.meshgrid(A_AXIS, A_AXIS - 8, indexing="xy"), -1)  # b, from -10 to 2, by a by (a, b)
ARROWS = {
    "MAML": ("black", 0.022),
    "FOMAML": ("tab:red", 0.017),
    "Reptile": ("tab:orange", 0.013),
    "iMAML": ("lime", 0.01),
}


class Minimum(NamedTuple):
    """The lowest point of the meta-loss on ``GRID``.

    Attributes:
        a: First parameter.
        b: Second parameter.
        loss: The meta-loss there.
        basin: Fraction of the grid, 0 to 1, where the meta-loss is below ``BASIN``.
    """

    a: float
    b: float
    loss: float
    basin: float


def task_losses(phi: Tensor) -> Tensor:
    """Loss of each task at its own parameters: ``[..., 2, 2]``, tasks by (a, b), to ``[..., 2]``."""
    return (softplus((phi * INPUTS).sum(-1)) - TARGETS).square()


def task_gradients(phi: Tensor) -> Tensor:
    """Gradient of each task's loss by its own parameters, ``[..., 2, 2]`` as they are."""
    z = (phi * INPUTS).sum(-1)
    return (2 * (softplus(z) - TARGETS) * z.sigmoid())[..., None] * INPUTS


def task_hessians(phi: Tensor) -> Tensor:
    """Hessian of each task's loss by its own parameters: ``[..., 2, 2]`` to ``[..., 2, 2, 2]``, tasks first."""
    z = (phi * INPUTS).sum(-1)
    slope = z.sigmoid()
    curvature = 2 * (slope.square() + (softplus(z) - TARGETS) * slope * (1 - slope))
    return curvature[..., None, None] * INPUTS[:, :, None] * INPUTS[:, None, :]


def adapt(theta: Tensor, steps: int) -> Tensor:
    """Each task's parameters after gradient descent on it from theta: ``[..., 2]`` to ``[..., 2, 2]``, tasks first."""
    phi = torch.stack([theta.double()] * 2, -2)
    for _ in range(steps):
        phi = phi - INNER_LR * task_gradients(phi)
    return phi


def meta_loss(theta: Tensor, steps: int) -> Tensor:
    """Sum of the tasks' losses, each after fine-tuning on that task: float64 ``[...]``, differentiable.

    Args:
        theta: Initial parameters (a, b), ``[..., 2]``.
        steps: Number of inner steps m, 0 or more.
    """
    return task_losses(adapt(theta, steps)).sum(-1)


def proximal(theta: Tensor, strength: float) -> Tensor:
    """Minimises each task's loss plus strength / 2 * |phi - theta|^2 with 20 Newton steps: ``[2]`` to ``[2, 2]``."""
    theta = phi = torch.stack([theta.double()] * 2)
    for _ in range(20):
        slope = task_gradients(phi) + strength * (phi - theta)
        phi = phi - torch.linalg.solve(task_hessians(phi) + strength * torch.eye(2), slope)
    return phi


def descent_directions(theta: Tensor, steps: int, strength: float = 1.0) -> dict[str, Tensor]:
    """Where the outer step of four algorithms moves theta: the sum over the tasks, at its natural length.

    - MAML: minus the gradient of the meta-loss, through the inner steps. Finn et al. 2017,
      https://arxiv.org/abs/1703.03400.
    - FOMAML: minus the gradient at the adapted parameters, second derivatives dropped. The same paper.
    - Reptile: the adapted parameters minus theta. Nichol, Achiam and Schulman 2018, https://arxiv.org/abs/1803.02999.
    - iMAML: minus (I + H / lambda)^-1 g, with the gradient g and the Hessian H at the solution of the inner problem,
      loss + lambda / 2 * |phi - theta|^2. It has no inner steps to count. Rajeswaran et al. 2019,
      https://arxiv.org/abs/1909.04630.

    Args:
        theta: Parameters (a, b), ``[2]``.
        steps: Number of inner steps m of the first three.
        strength: lambda of iMAML. From 0.2 on its inner problem is convex.

    Returns:
        A direction ``[2]`` in float64 for each algorithm.
    """
    adapted, solved = adapt(theta, steps), proximal(theta, strength)
    implicit = torch.linalg.solve(torch.eye(2) + task_hessians(solved) / strength, task_gradients(solved))
    return {
        "MAML": -grad(meta_loss)(theta.double(), steps),
        "FOMAML": -task_gradients(adapted).sum(0),
        "Reptile": (adapted - theta).sum(0),
        "iMAML": -implicit.sum(0),
    }


def minima(steps: Iterable[int]) -> dict[int, Minimum]:
    """The lowest point of the grid for each number of inner steps.

    With theta near (5.81, -4.71) the learner passes through both points, so the exact minimum is 0 for every m; what
    changes with m is the basin around it.
    """
    lowest = {}
    for m in steps:
        loss = meta_loss(GRID, m)
        a, b = GRID.flatten(0, 1)[loss.argmin()].tolist()
        lowest[m] = Minimum(a, b, loss.min().item(), (loss < BASIN).double().mean().item())
    return lowest


def draw_directions(axis: Axes, steps: int) -> None:
    """Draws an arrow of the same length for each algorithm, thinner ones on top so that those below can be seen."""
    for name, direction in descent_directions(torch.tensor(THETA), steps).items():
        u, v = normalize(direction, dim=0).tolist()
        color, width = ARROWS[name]
        arrow = axis.quiver(*THETA, u, v, angles="xy", scale_units="xy", scale=0.35, width=width, label=name)
        arrow.set(color=color, edgecolor="white", linewidth=0.5, zorder=3)


def meta_loss_figure() -> Figure:
    """Draws the meta-loss over (a, b), a panel per number of inner steps, and where the algorithms move ``THETA``."""
    figure = Figure(figsize=(11.5, 7.7), layout="constrained")
    axes = figure.subplots(2, 3, sharex=True, sharey=True)
    a, b = GRID.unbind(-1)
    levels = np.logspace(-4, 1, 21)
    for axis, (m, lowest) in zip(axes.flat, minima(PANELS).items()):
        loss = meta_loss(GRID, m)
        surface = axis.contourf(a, b, loss, levels, norm=LogNorm(), cmap="Blues_r", extend="both")
        axis.contour(a, b, loss, [BASIN], colors="white", linewidths=1.2)
        axis.plot(lowest.a, lowest.b, "*", color="gold", markeredgecolor="black", markersize=12, label="lowest point")
        axis.text(-1.6, -9.6, f"lowest: {lowest.loss:.0e} at ({lowest.a:.1f}, {lowest.b:.1f})", fontsize="small")
        axis.set(title=f"m = {m}: below {BASIN:g} on {lowest.basin:.1%}", aspect="equal")
        if m > 0:
            draw_directions(axis, m)
    figure.supxlabel("a")
    figure.supylabel("b")
    figure.colorbar(surface, ax=axes, label="meta-loss", ticks=levels[::4], aspect=40, pad=0.02)
    figure.legend(*axes[-1, -1].get_legend_handles_labels(), loc="outside upper center", ncols=5)
    return figure
