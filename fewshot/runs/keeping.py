"""What a run keeps: its best state and its last one."""

import time
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.utilities import rank_zero_info

from fewshot import signals
from fewshot.files import write_bytes
from fewshot.objectives import Objective

BEST, LAST = "best.ckpt", "last.ckpt"


class BestCheckpoint(ModelCheckpoint):
    """Keeps the state of the best validation in ``best.ckpt``: the highest accuracy, or the lowest error.

    A resumed run goes on from the best score of its checkpoint, wherever that lies. If its validations are of other
    episodes, it starts a new best, and the old one is set aside.

    Args:
        folder: Its folder.
        objective: Says which metric that is.
        resumed: The checkpoint that the run goes on from.
    """

    def __init__(self, folder: Path, objective: Objective, resumed: Path | None = None) -> None:
        mode = "max" if objective.higher_is_better else "min"
        super().__init__(
            folder, filename="best", monitor=f"val/{objective.metric}", mode=mode, enable_version_counter=False
        )
        self.file = Path(str(self.dirpath), BEST)  # as Lightning spells it, or it would take the file for another's
        self.validations: dict[str, Any] = {}  # what decides their result, but for the weights
        self.resumed = resumed
        self.inherited: Path | None = None  # where the best state lies that the run goes on from
        self.outdated = False  # whether that cannot be compared with what comes

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Notes what decides the validations."""
        super().setup(trainer, pl_module, stage)
        data = trainer.datamodule  # type: ignore[attr-defined]
        self.validations = {
            **data.describe(),
            "episodes": data.episodes["val"],
            "limit_val_batches": repr(trainer.limit_val_batches),  # 1 is a batch, 1.0 all of them
            **pl_module.describe(),  # type: ignore[operator]
        }

    def state_dict(self) -> dict[str, Any]:
        """The best score, and what the validations are of."""
        return {**super().state_dict(), "validations": self.validations}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from the best score, if its state is at hand and the validations are the same."""
        score, best = state_dict.get("best_model_score"), (self.resumed or self.file).with_name(BEST)
        before = state_dict.get("validations", self.validations)
        if not isinstance(score, torch.Tensor) or not isinstance(before, dict):
            return
        before = {"limit_val_batches": "1.0", **before}  # before 0.5 it was not noted
        other = sorted(name for name in {*before, *self.validations} if before.get(name) != self.validations.get(name))
        if other:
            rank_zero_info(f"The validations are not those of before ({', '.join(other)} changed): a new best begins.")
            self.outdated = True
        elif not best.exists():
            rank_zero_info(f"There is no {best}, whose score was {score.item():.4f}: a new best begins.")
        else:
            self.inherited = best
            path = str(self.file)
            self.best_model_score = self.kth_value = self.current_score = score
            self.best_model_path = self.kth_best_model_path = path
            self.best_k_models = {path: score}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Brings the best state along from another folder, or sets one aside that cannot be compared."""
        super().on_train_start(trainer, pl_module)
        if not trainer.is_global_zero:
            return
        if self.resumed is None or self.resumed.parent.resolve() != self.file.parent.resolve():
            for name in (BEST, LAST):  # of a run that the user agreed to lose
                self.file.with_name(name).unlink(missing_ok=True)
            if self.inherited is not None:
                write_bytes(self.file, self.inherited.read_bytes())
        elif self.outdated and self.file.exists():
            aside = self.file.with_name(f"best_until_{trainer.global_step}.ckpt")
            if not aside.exists():  # or else this is the best of a start that was cut off
                self.file.replace(aside)
            rank_zero_info(f"The best until now is {aside}.")

    def check_monitor_top_k(self, trainer: Trainer, current: torch.Tensor | None = None) -> bool:
        """Whether a score is the best so far; one that is not finite never is."""
        return current is not None and bool(current.isfinite()) and super().check_monitor_top_k(trainer, current)


class LastCheckpoint(ModelCheckpoint):
    """Keeps the latest state in ``last.ckpt``: after each validation, every so many minutes, and at every kind of end.

    ``ModelCheckpoint(save_last=True)`` would renew it only when the best one is renewed, and ``train_time_interval``
    before a validation that is due, which a resumed run would then leave out.

    Args:
        folder: Its folder.
        minutes: How often between validations.
    """

    def __init__(self, folder: Path, minutes: float) -> None:
        super().__init__(folder, filename="last", save_on_train_epoch_end=False, enable_version_counter=False)
        self.minutes = minutes
        self.saved_at = time.monotonic()
        self.stop = 0  # the signal that ends the run after its outer step

    @property
    def saved(self) -> int:
        """The outer steps that the latest state has taken; 0 if none was saved."""
        return self._last_global_step_saved

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """There is nothing to remember."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From now on signals wait for the end of an outer step."""
        super().on_train_start(trainer, pl_module)
        self.saved_at = time.monotonic()
        signals.wait(True)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Ends the run whose end a validation preceded.

        Raises:
            Stopped: In all processes.
        """
        self._end()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves between two outer steps if it is time, and ends the run if a signal asked for it.

        Raises:
            Stopped: In all processes, if one of them was told to end.
        """
        loop = trainer.fit_loop.epoch_loop
        if (batch_idx + 1) % trainer.accumulate_grad_batches or loop.batch_progress.is_last_batch:
            return
        due = 0.5 * (time.monotonic() - self.saved_at > 60 * self.minutes)
        wish = max(signals.asked(), due)
        if trainer.world_size > 1:  # what any of the processes wishes
            own = torch.tensor(float(wish), device=trainer.strategy.root_device)
            wish = trainer.strategy.reduce(own, reduce_op="max").item()
        self.stop = int(wish)
        # A validation that is due comes first, and saves.
        if wish and not loop._should_check_val_fx(trainer.fit_loop._data_fetcher):  # type: ignore[arg-type]
            self._save(trainer)
            self._end()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves the outer steps since the last validation."""
        signals.wait(False)
        if self.saved != trainer.global_step:
            self._save(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """From now on signals end the process at once."""
        signals.wait(False)

    def _save_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        super()._save_checkpoint(trainer, filepath)
        self.saved_at = time.monotonic()

    def _save(self, trainer: Trainer) -> None:
        self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))

    def _end(self) -> None:
        if self.stop:
            raise signals.Stopped(self.stop)
