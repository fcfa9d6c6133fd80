"""The checkpoint that a run begins with: what it may decide, and what is different now."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from pytorch_lightning.utilities import rank_zero_only

from fewshot.checkpoints import KEY, read_checkpoint
from fewshot.errors import FewShotError
from fewshot.runs.options import flat
from fewshot.runs.words import value_of
from fewshot.trust import options_of, trusted_by


class Begun:
    """A run that a checkpoint holds the state of.

    Attributes:
        path: Of the checkpoint.
        steps: The outer steps that it has taken.
        options: Those that it may decide: ``name``, ``model``, ``data``.
        left_out: The names of those that it may not.
        trained: Whether the training can go on: the optimiser's state is there.

    Args:
        path: Of the checkpoint.
        words: Those that the user has typed.

    Raises:
        FewShotError: If it is none, or wants a class that is neither one of fewshot nor trusted.
    """

    def __init__(self, path: str, words: Sequence[str]) -> None:
        checkpoint = read_checkpoint(path)
        record = checkpoint[KEY]
        self.path, self.steps = path, checkpoint["global_step"]
        self.trained = bool(checkpoint.get("optimizer_states"))
        try:
            options, self.left_out = options_of(record["config"], trusted_by(words))
        except FewShotError as error:
            raise FewShotError(f"{path}: {error}") from None
        self.options = {"name": record["name"], **options}
        for option in (f"--{name.replace('.init_args', '')}" for name in self.left_out):
            if value_of(option, words) is None:
                rank_zero_only(print)(f"{option} is not taken from the checkpoint: give it if need be.")

    def complete(self, now: dict[str, Any]) -> dict[str, Any]:
        """Its options, those that it may not decide as they are now."""
        options = deepcopy(self.options)
        for name in self.left_out:
            theirs, ours = options, now
            *way, last = name.split(".")
            for key in way:
                if not all(isinstance(part.get(key), dict) for part in (theirs, ours)):
                    last = key  # in a list: the whole list
                    break
                theirs, ours = theirs[key], ours[key]
            if last in ours:
                theirs[last] = ours[last]
        return options

    def tell_differences(self, then: dict[str, Any], now: dict[str, Any]) -> None:
        """Tells which options of model and data are not those of before.

        Raises:
            FewShotError: If the optimiser is another one, or an option of it or of a schedule by class has changed,
                which their states would undo.
        """
        before, after = (flat({part: options[part] for part in ("model", "data")}) for options in (then, now))
        optimizers = [options.get("model.optimizer.class_path") for options in (before, after)]
        if optimizers[0] != optimizers[1]:
            raise FewShotError(
                f"{self.path} was trained by {optimizers[0]}, whose state {optimizers[1]} cannot take over: "
                "resume with the same --model.optimizer"
            )
        by_class = any("model.lr_scheduler.class_path" in options for options in (before, after))
        undone = ("model.optimizer.", *(("model.lr_scheduler", "model.meta_lr") if by_class else ()))
        for option in sorted(before.keys() | after.keys()):
            if before.get(option) != after.get(option):
                change = f"{option} = {after.get(option)}; the checkpoint had {before.get(option)}"
                if option.startswith(undone):
                    raise FewShotError(
                        f"{self.path} cannot go on with {change}, which the state of its optimiser or schedule brings "
                        "along: leave the option out"
                    )
                rank_zero_only(print)(f"Resuming with {change}.")
