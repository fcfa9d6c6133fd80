"""What a learner is asked for: the loss that it descends, and the metric that it is judged by."""

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot.errors import FewShotError

LossName = Literal["cross-entropy", "mse"]

NOT_FINITE = "not finite"
"""What stands in a table in place of a number that is none."""


@dataclass(frozen=True)
class Objective:
    """A loss, and the metric that goes with it.

    Attributes:
        name: What the loss is called in options.
        loss: Mean over all examples (and tasks): from outputs ``[..., n, D]`` and targets ``[..., n]`` or
            ``[..., n, D]`` to a scalar.
        metric: What the scores are called in logs and reports.
        scores: The metric of each task: from outputs ``[T, n, D]`` and targets to ``[T]``.
        higher_is_better: Of the metric.
        percent: Whether the metric is shown in percent.
    """

    name: LossName
    loss: Callable[[Tensor, Tensor], Tensor]
    metric: str
    scores: Callable[[Tensor, Tensor], Tensor]
    higher_is_better: bool
    percent: bool

    @property
    def scale(self) -> int:
        """What the metric is multiplied by where it is shown."""
        return 100 if self.percent else 1

    @property
    def label(self) -> str:
        """What to write along an axis."""
        return f"{self.metric} (%)" if self.percent else self.metric

    def judge(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The scores, but NaN of a task whose outputs are not finite: of NaN, ``argmax`` makes the first class."""
        return torch.where(outputs.isfinite().flatten(1).all(1), self.scores(outputs, targets), torch.nan)

    def show(self, mean: float | None, ci95: float | None = None) -> str:
        """``97.12% ± 0.34%``, or ``0.345 ± 0.021`` of a metric that is not in percent; ``None`` is not finite."""
        if mean is None or not isfinite(mean):
            return NOT_FINITE
        form = ".2%" if self.percent else ".3f"
        return f"{mean:{form}}" + ("" if ci95 is None else f" ± {ci95:{form}}")

    def difference(self, mean: float, ci95: float) -> str:
        """``+0.12 ± 0.34``; of a metric in percent, in percentage points."""
        if not isfinite(mean):
            return NOT_FINITE
        form = ".2f" if self.percent else ".3f"
        return f"{self.scale * mean:+{form}} ± {self.scale * ci95:{form}}"


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy over all examples: logits ``[..., N]``, labels ``[...]``."""
    return F.cross_entropy(logits.flatten(0, -2), labels.flatten())


def accuracies(logits: Tensor, labels: Tensor) -> Tensor:
    """Accuracy of each task, 0 to 1: logits ``[T, n, N]``, labels ``[T, n]``, result ``[T]``."""
    return (logits.argmax(-1) == labels).float().mean(-1)


def mean_squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error over all examples: outputs and targets ``[..., n, D]``.

    Raises:
        FewShotError: If they have other shapes, which torch would broadcast.
    """
    if outputs.shape != targets.shape:
        raise FewShotError(
            f"the learner has {outputs.shape[-1]} outputs per example, and a target has {targets.shape[-1]} numbers: "
            "give it as many outputs"
        )
    return F.mse_loss(outputs, targets)


def squared_errors(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error of each task: outputs and targets ``[T, n, D]``, result ``[T]``."""
    return (outputs - targets).square().mean((-2, -1))


CLASSIFICATION = Objective("cross-entropy", cross_entropy, "accuracy", accuracies, higher_is_better=True, percent=True)
REGRESSION = Objective("mse", mean_squared_error, "mse", squared_errors, higher_is_better=False, percent=False)

OBJECTIVES: dict[LossName, Objective] = {objective.name: objective for objective in (CLASSIFICATION, REGRESSION)}

BY_METRIC = {objective.metric: objective for objective in OBJECTIVES.values()}
