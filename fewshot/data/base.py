"""From tasks to meta-batches: what every episodic data set shares."""

import warnings
import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset, DistributedSampler, Sampler

from fewshot.episodes import SPLITS, DataSpec, Episode, Prediction
from fewshot.errors import FewShotError, at_least_one, in_range

MOST_TASKS = 10**9  # in a meta-batch or an evaluation; sizes beyond are mistyped, and overflow
MOST_SEED = 2**63 - 1  # beyond, NumPy would round the key of its Philox


class EpisodicDataModule(LightningDataModule, ABC):
    """Serves meta-batches of tasks.

    Episode i of a split is a pure function of ``seed`` and i: processes, resumed runs and different algorithms see the
    same tasks.

    Attributes:
        splits: The splits that there are; data for tests alone have ``("test",)``.

    Args:
        shots: Support examples per class (per task, for regression) in training.
        queries: Query examples per class (per task, for regression) in training.
        test_shots: Support examples in validation and test; ``shots`` if not given.
        test_queries: Query examples in validation and test; ``queries`` if not given.
        meta_batch_size: Tasks per outer step, over all devices together.
        val_episodes: Episodes per validation, the same ones each time.
        test_episodes: Episodes per test, the same ones each time.
        seed: Seed of the episodes.
        train_seed: Seed of the episodes of the training alone; ``seed`` if not given. Trainings of one recipe differ in
            it, and are validated and tested on the same episodes.

    Raises:
        FewShotError: If a number is out of its range.
    """

    splits: Sequence[str] = SPLITS

    def __init__(
        self,
        shots: int = 1,
        queries: int = 5,
        test_shots: int | None = None,
        test_queries: int | None = None,
        meta_batch_size: int = 32,
        val_episodes: int = 200,
        test_episodes: int = 600,
        seed: int = 0,
        train_seed: int | None = None,
    ) -> None:
        super().__init__()
        self.shots, self.queries = shots, queries
        self.test_shots = shots if test_shots is None else test_shots
        self.test_queries = queries if test_queries is None else test_queries
        self.meta_batch_size = meta_batch_size
        self.episodes = {"val": val_episodes, "test": test_episodes}
        self.seed, self.train_seed = seed, seed if train_seed is None else train_seed
        at_least_one(shots=shots, queries=queries, test_shots=self.test_shots, test_queries=self.test_queries)
        in_range(1, MOST_TASKS, meta_batch_size=meta_batch_size, val_episodes=val_episodes, test_episodes=test_episodes)
        in_range(0, MOST_SEED, seed=seed, train_seed=self.train_seed)

    @abstractmethod
    def dataset(self, split: str, length: int | None = None, first: int = 0) -> Dataset[Episode]:
        """The episodes of a split, ``length`` of them (a meta-batch if not given) from number ``first`` on."""

    @property
    @abstractmethod
    def spec(self) -> DataSpec:
        """What the data state about themselves."""

    @property
    @abstractmethod
    def digest(self) -> str:
        """Fingerprint of what the tasks are drawn from."""

    @property
    def content(self) -> str:
        """Fingerprint of the very data that a test's tasks are drawn from; the digest, where that says it all."""
        return self.digest

    def split_name(self) -> str:
        """What to call the split in reports: data set and kind."""
        return type(self).__name__.removesuffix("DataModule").lower()

    def figure(self, episode: Episode, prediction: Prediction) -> Figure | None:
        """Draws an episode and what was predicted of it, for TensorBoard; ``None`` if the data have no picture."""
        return None

    def setup(self, stage: str) -> None:
        """Checks that the episodes asked for can be drawn and shared out.

        Raises:
            FewShotError: If a split is missing, or the tasks cannot be shared out evenly over the devices.
        """
        needed = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}.get(stage, ())
        if self.trainer is not None and self.trainer.limit_val_batches == 0:  # a training without validation
            needed = tuple(split for split in needed if split != "val" or stage == "validate")
        for split in needed:
            if split not in self.splits:
                raise FewShotError(
                    f"{type(self).__name__} has no {split} split, but {', '.join(self.splits)}: "
                    f"it cannot {getattr(stage, 'value', stage)}"  # Lightning gives an enumeration
                    + (f". {self.without_validation()}" if stage == "fit" and split == "val" else "")
                )
        later = ("test",) if stage == "fit" and "test" in self.splits else ()  # else the training would be in vain
        for split in (*needed, *later):
            self.dataset(split)
        world_size = self.trainer.world_size if self.trainer else 1
        for name, tasks in {"meta_batch_size": self.meta_batch_size, **self.episodes}.items():
            if tasks % world_size:
                raise FewShotError(f"{tasks} tasks ({name}) cannot be shared out evenly over {world_size} devices")

    def without_validation(self) -> str:
        """What to do where a training is to be validated and has no split for it."""
        return "--trainer.limit_val_batches 0 trains without validation"

    def describe(self) -> dict[str, Any]:
        """What decides which episodes a test sees, for reports and comparisons."""
        return {
            "split": self.split_name(),
            "split_digest": self.digest,
            "episodes": self.episodes["test"],
            "shots": self.test_shots,
            "queries": self.test_queries,
            "seed": self.seed,
        }

    def on_before_batch_transfer(self, batch: Episode, dataloader_idx: int) -> Episode:
        """Seeds what is random in an outer step by the step and its tasks: a resumed run draws the same."""
        if self.trainer is not None and self.trainer.training:
            first = batch.support.x[0].contiguous().view(torch.uint8).numpy()  # NumPy has no bfloat16
            key = [self.train_seed, self.trainer.global_step, self.trainer.global_rank, zlib.crc32(first.data)]
            seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)
            if self.trainer.lightning_module.device.type == "cpu":
                torch.default_generator.manual_seed(seed)  # the other looks for devices of every kind, for half a ms
            else:
                torch.manual_seed(seed)
        return batch

    def train_dataloader(self) -> DataLoader:
        """The whole training as one epoch, beginning at the outer step where a resumed run stopped.

        Raises:
            FewShotError: If ``max_steps`` is not set.
        """
        trainer = self.trainer
        assert trainer is not None
        if trainer.max_steps < 1:
            raise FewShotError("training is counted in outer steps: set --trainer.max_steps")
        # Lightning fears for the order of the data after a resume; the episodes below start at the right number.
        warnings.filterwarnings("ignore", "You're resuming from a checkpoint that ended before the epoch ended")
        batches = trainer.accumulate_grad_batches
        return self._loader(
            self.dataset(
                "train",
                length=trainer.max_steps * batches * self.meta_batch_size,
                first=trainer.global_step * batches * self.meta_batch_size,
            )
        )

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        """The validation episodes; none, where a training goes without."""
        if "val" not in self.splits:
            return []
        return self._loader(self.dataset("val", length=self.episodes["val"]))

    def test_dataloader(self) -> DataLoader:
        """The test episodes."""
        return self._loader(self.dataset("test", length=self.episodes["test"]))

    def _loader(self, dataset: Dataset[Episode]) -> DataLoader:
        ranks, rank = (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)
        # Not left to Lightning, whose distributed sampler shuffles the training data.
        sampler: Sampler | None = DistributedSampler(dataset, ranks, rank, shuffle=False) if ranks > 1 else None
        # No workers: drawing a meta-batch takes less time than passing it between processes.
        return DataLoader(dataset, self.meta_batch_size // ranks, sampler=sampler, collate_fn=_as_drawn)

    @property
    def dtype(self) -> torch.dtype:
        """What the learner computes in."""
        return self.trainer.lightning_module.dtype if self.trainer else torch.float32  # type: ignore[return-value]

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint remembers of the data."""
        return {"split": self.split_name(), "digest": self.digest}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Compares a checkpoint's data with these.

        Raises:
            FewShotError: If training would go on with other tasks.
        """
        if not isinstance(state, dict) or not all(isinstance(state.get(name), str) for name in ("split", "digest")):
            raise FewShotError("the checkpoint is damaged: what it remembers of its data is not as fewshot writes it")
        if state["digest"] != self.digest and self.trainer is not None and self.trainer.training:
            raise FewShotError(
                f"the checkpoint was trained on split {state['split']} (digest {state['digest']}), which is not "
                f"{self.split_name()} (digest {self.digest}): resume with the options of data that it was started with"
            )


def _as_drawn(episode: Any) -> Any:
    """Keeps a meta-batch as the data set drew it."""
    return episode
