"""Schedules of the outer step size that know how long the training is."""

import math
from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Timer
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, ReduceLROnPlateau
from torch.optim.optimizer import Optimizer

from fewshot.errors import FewShotError, blaming

ScheduleName = Literal["constant", "linear", "cosine", "step"]

LRSchedulerCallable = Callable[[Optimizer], LRScheduler]

OptimizerCallable = Callable[[Iterable, float], Optimizer]
"""From parameters and step size to an optimiser: any class of ``torch.optim``."""

FACTORS: dict[str, Callable[[float], float]] = {
    "constant": lambda progress: 1.0,
    "linear": lambda progress: 1 - progress,
    "cosine": lambda progress: (1 + math.cos(math.pi * progress)) / 2,
    "step": lambda progress: 0.1 ** ((progress >= 0.5) + (progress >= 0.75)),
}
"""What the step size is multiplied by, from the share of the training that is done, 0 to 1."""

assert set(FACTORS) == set(get_args(ScheduleName))


class Schedule(LRScheduler):
    """A step size that depends on the share of the training that is done, and on nothing else.

    So a training that is resumed with more outer steps or another step size goes on as it is told to now.

    Args:
        optimizer: Whose step size.
        name: ``constant``; ``linear`` or ``cosine``: down to zero; ``step``: to a tenth at half of the training and
            again at three quarters.
        progress: From the number of outer steps taken to the share of the training, 0 to 1.
    """

    def __init__(self, optimizer: Optimizer, name: ScheduleName, progress: Callable[[int], float]) -> None:
        self.factor = FACTORS[name]
        self.progress = progress
        super().__init__(optimizer)

    def get_lr(self) -> list[Any]:
        """The step size of each group of parameters."""
        factor = self.factor(self.progress(self.last_epoch))
        return [base * factor for base in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        """The number of outer steps taken."""
        return {"last_epoch": self.last_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from another number of outer steps, of this schedule or of any other."""
        self.last_epoch = int(state_dict["last_epoch"])
        self._last_lr = self.get_lr()
        for group, rate in zip(self.optimizer.param_groups, self._last_lr):
            group["lr"] = rate


def rehearse(
    make: OptimizerCallable, parameters: Iterable[Tensor], lr: float, lr_scheduler: ScheduleName | LRSchedulerCallable
) -> None:
    """Takes a step on copies of the parameters: what cannot be done is said before the training, not in its midst.

    Args:
        make: Of the optimiser.
        parameters: What is learned.
        lr: Step size.
        lr_scheduler: A schedule of the optimiser.

    Raises:
        FewShotError: If nothing is learned, or the optimiser or the schedule cannot be made or cannot take a step.
    """
    parameters = list(parameters)
    if not any(parameter.requires_grad for parameter in parameters):
        raise FewShotError(
            "nothing is learned, as all weights are frozen: fewshot test needs no fit, and --model.network.tune norm "
            "or all learns some of a pretrained backbone"
        )
    copies = [parameter.detach().clone().requires_grad_() for parameter in parameters]
    for copy in copies:
        copy.grad = torch.zeros_like(copy)
    with blaming("--model.optimizer"):
        optimizer = make(copies, lr)
    with blaming("--model.lr_scheduler"):
        scheduler = None if isinstance(lr_scheduler, str) else lr_scheduler(optimizer)
    if isinstance(scheduler, ReduceLROnPlateau):
        raise FewShotError(
            "--model.lr_scheduler ReduceLROnPlateau follows a metric, and the schedules here follow the outer steps: "
            f"choose one of {', '.join(FACTORS)}, or another class"
        )
    with blaming("--model.optimizer"):
        optimizer.step()
    if scheduler is not None:
        with blaming("--model.lr_scheduler"):
            scheduler.step()


def scheduled(optimizer: Optimizer, lr_scheduler: ScheduleName | LRSchedulerCallable, trainer: Trainer) -> Any:
    """An optimiser with its schedule, stepped once per outer step, as Lightning wants it.

    Raises:
        FewShotError: If the schedule does not suit the length of the training.
    """
    if isinstance(lr_scheduler, str):
        scheduler: LRScheduler = Schedule(optimizer, lr_scheduler, _progress(lr_scheduler, trainer))
    else:
        scheduler = lr_scheduler(optimizer)
    if isinstance(scheduler, OneCycleLR) and scheduler.total_steps < trainer.max_steps:
        raise FewShotError(
            f"the cycle of --model.lr_scheduler ends after {scheduler.total_steps} outer steps, before the training "
            f"does: --model.lr_scheduler.total_steps {trainer.max_steps}"
        )
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def _progress(name: str, trainer: Trainer) -> Callable[[int], float]:
    """From the number of outer steps to the share of a training that ends by ``max_steps`` or by ``max_time``."""
    if name == "constant":
        return lambda step: 0.0
    timers = [part for part in trainer.callbacks if isinstance(part, Timer)]  # type: ignore[attr-defined]
    timers = [timer for timer in timers if timer.time_remaining() is not None]
    if trainer.max_steps < 1 and not timers:
        raise FewShotError(f"lr_scheduler {name} follows the length of the training: set --trainer.max_steps")

    def progress(step: int) -> float:
        shares = [_share(timer.time_elapsed(), timer.time_remaining() or 0.0) for timer in timers]
        if shares:
            shares = trainer.strategy.broadcast(shares)  # the clocks of several processes differ, their steps must not
        if trainer.max_steps > 0:
            shares.append(step / trainer.max_steps)
        return min(1.0, max(shares))

    return progress


def _share(elapsed: float, remaining: float) -> float:
    """The share of its time that a training has had; all of it, if it has none."""
    return elapsed / (elapsed + remaining) if elapsed + remaining > 0 else 1.0
