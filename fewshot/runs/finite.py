"""A training that stops where its numbers are no longer finite."""

from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from fewshot.checkpoints import not_finite
from fewshot.errors import FewShotError

ADVICE = "try a smaller --model.inner_lr or --model.meta_lr, or --trainer.gradient_clip_val 10"
EVERY_N_STEPS = 50
"""How often a device that computes beside the CPU is waited for."""


class StopWhereNotFinite(Callback):
    """Stops a training whose loss, gradient or weights are not finite; what was saved before stays.

    On a CPU the outer step itself is not taken. Elsewhere it is noted on the device, and read every 50 outer steps and
    before anything is saved.
    """

    def __init__(self) -> None:
        self.first: dict[str, Tensor] = {}  # the first outer step at which something was not finite, 0 if none was

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Notes the loss."""
        self._note("loss", loss.detach(), trainer)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Notes the gradient, the same in all processes by now.

        Raises:
            FewShotError: If it, or the loss, was not finite.
        """
        parameters = (parameter for group in optimizer.param_groups for parameter in group["params"])
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if gradients and getattr(trainer.precision_plugin, "scaler", None) is None:  # a scaler skips such steps
            wide = torch.promote_types(gradients[0].dtype, torch.float32)  # sums of float16 could overflow
            sizes = torch.stack(torch._foreach_norm(gradients, 1, dtype=wide))  # maxima would take three times as long
            self._note("gradient", sizes.max(), trainer)
        if pl_module.device.type == "cpu" or (trainer.global_step + 1) % EVERY_N_STEPS == 0:
            self._stop_if_noted(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keeps a state out of the checkpoints that is not finite.

        Raises:
            FewShotError: If it is not.
        """
        self._stop_if_noted(trainer)
        wild = not_finite(checkpoint["state_dict"])
        if wild:
            raise FewShotError(f"{wild} is not finite after outer step {trainer.global_step}: {self._outcome(trainer)}")

    def _note(self, what: str, value: Tensor, trainer: Trainer) -> None:
        first = self.first.setdefault(what, torch.zeros((), dtype=torch.long, device=value.device))
        self.first[what] = torch.where((first == 0) & ~value.isfinite(), trainer.global_step + 1, first)

    def _stop_if_noted(self, trainer: Trainer) -> None:
        steps = {what: int(first) for what, first in self.first.items()}
        what = next((what for what, step in steps.items() if step), None)
        if trainer.world_size > 1 and trainer.strategy.reduce_boolean_decision(what is not None, all=False):
            what = what or "loss"  # of another process
        if what is not None:
            step = steps[what] or trainer.global_step + 1
            raise FewShotError(f"the {what} is not finite at outer step {step}: {self._outcome(trainer)}")

    @staticmethod
    def _outcome(trainer: Trainer) -> str:
        return f"training has stopped, and keeps what was saved before; {ADVICE}"
