"""How often a training validates and logs."""

from typing import Any

from fewshot.errors import FewShotError

POINTS = 5
"""How often a training is validated at least, to draw a curve; one of fewer steps is validated at its end."""

LOGGED = 20
"""How often its loss is logged."""


def set_intervals(trainer: Any, chosen: bool) -> None:
    """Has a training validate and log often enough, however short it is.

    Args:
        trainer: The Trainer's options, which are changed: they count batches in place of outer steps.
        chosen: Whether the user has chosen how often to validate a training of that length. That wins.

    Raises:
        FewShotError: If it should validate more often than after each outer step.
    """
    steps, interval = trainer.max_steps, trainer.val_check_interval
    if trainer.log_every_n_steps is None and steps > 0:
        trainer.log_every_n_steps = min(50, max(1, steps // LOGGED))  # 50 is Lightning's
    if not isinstance(interval, int):
        return
    if interval < 1:
        raise FewShotError(f"--trainer.val_check_interval must be at least 1 outer step, not {interval}")
    if steps > 0:
        interval = min(interval, steps // POINTS if steps >= POINTS and not chosen else steps)
    batches = max(1, trainer.accumulate_grad_batches)  # of an outer step, which Lightning counts
    trainer.val_check_interval = batches * interval
