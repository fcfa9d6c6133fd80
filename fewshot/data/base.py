"""From images and a split to meta-batches: what every episodic data set shares."""

import hashlib
import warnings
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler, Sampler

from fewshot.episodes import SPLITS, Episode, ImageEpisodes
from fewshot.errors import FewShotError

Split = dict[str, list[int]]
"""The classes, by index, of ``train``, ``val`` and ``test``."""


class ClassImages(NamedTuple):
    """All images of a data set.

    Attributes:
        images: ``uint8`` with ink bright, ``[classes, drawings, H, W]``.
        names: A name for each class, ``ALPHABET/character``.
    """

    images: Tensor
    names: list[str]


class EpisodicDataModule(LightningDataModule, ABC):
    """Serves episodes of N ways and K shots with Q queries per class.

    Episode i of a split is a pure function of ``seed`` and i: processes, resumed runs and different algorithms see the
    same tasks.

    Args:
        ways: Classes per task in training.
        shots: Support examples per class in training.
        queries: Query examples per class in training.
        test_ways: Classes per task in validation and test; ``ways`` if not given.
        test_shots: Support examples per class in validation and test; ``shots`` if not given.
        test_queries: Query examples per class in validation and test; ``queries`` if not given.
        meta_batch_size: Tasks per outer step, over all devices together.
        val_episodes: Episodes per validation, the same ones each time.
        test_episodes: Episodes per test, the same ones each time.
        rotations: Make each image's rotations by 90, 180 and 270 degrees new classes in training.
        test_rotations: Make rotations new classes in validation and test, too.
        split_seed: Seed of a random split.
        seed: Seed of the episodes.

    Raises:
        FewShotError: If a number is not positive.
    """

    def __init__(
        self,
        ways: int = 5,
        shots: int = 1,
        queries: int = 5,
        test_ways: int | None = None,
        test_shots: int | None = None,
        test_queries: int | None = None,
        meta_batch_size: int = 32,
        val_episodes: int = 200,
        test_episodes: int = 600,
        rotations: bool = False,
        test_rotations: bool = False,
        split_seed: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.ways, self.shots, self.queries = ways, shots, queries
        self.test_ways = ways if test_ways is None else test_ways
        self.test_shots = shots if test_shots is None else test_shots
        self.test_queries = queries if test_queries is None else test_queries
        self.meta_batch_size = meta_batch_size
        self.episodes = {"val": val_episodes, "test": test_episodes}
        self.rotations, self.test_rotations = rotations, test_rotations
        self.split_seed, self.seed = split_seed, seed
        counts = {
            "ways": min(self.ways, self.test_ways),
            "shots": min(self.shots, self.test_shots),
            "queries": min(self.queries, self.test_queries),
            "meta_batch_size": meta_batch_size,
            "val_episodes": val_episodes,
            "test_episodes": test_episodes,
        }
        for name, value in counts.items():
            if value < 1:
                raise FewShotError(f"{name} must be at least 1, not {value}")
        if min(seed, split_seed) < 0:
            raise FewShotError(f"seed and split_seed must not be negative, got {seed} and {split_seed}")
        self._images: dict[str, Tensor] = {}
        self.classes: dict[str, list[str]] = {}

    @abstractmethod
    def load(self) -> ClassImages:
        """Loads all images, on every process; :meth:`prepare_data` has run before, on one."""

    @abstractmethod
    def split(self, names: list[str]) -> Split:
        """Divides the classes."""

    @abstractmethod
    def split_name(self) -> str:
        """What to call the split in reports: data set and kind."""

    def setup(self, stage: str) -> None:
        """Loads the images, splits them and checks that they suffice for the episodes asked for.

        Raises:
            FewShotError: If the split has too few classes or a class too few images, or the tasks cannot be shared
                out evenly over the devices.
        """
        if not self._images:
            images, names = self.load()
            for split, members in self.split(names).items():
                self.classes[split] = [names[member] for member in members]
                rotate = self.rotations if split == "train" else self.test_rotations
                self._images[split] = with_rotations(images[members]) if rotate else images[members]
        for split in {"validate": ("val",), "test": ("test",)}.get(stage, SPLITS):
            self.dataset(split)
        world_size = self.trainer.world_size if self.trainer else 1
        for name, tasks in {"meta_batch_size": self.meta_batch_size, **self.episodes}.items():
            if tasks % world_size:
                raise FewShotError(f"{tasks} tasks ({name}) cannot be shared out evenly over {world_size} devices")

    @property
    def digest(self) -> str:
        """Fingerprint of which class is in which split."""
        lines = (f"{split}:{name}\n" for split in SPLITS for name in sorted(self.classes[split]))
        return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]

    def dataset(self, split: str, length: int | None = None, first: int = 0) -> ImageEpisodes:
        """The episodes of a split, ``length`` of them from number ``first`` on."""
        train = split == "train"
        return ImageEpisodes(
            self._images[split],
            split=split,
            ways=self.ways if train else self.test_ways,
            shots=self.shots if train else self.test_shots,
            queries=self.queries if train else self.test_queries,
            length=self.meta_batch_size if length is None else length,
            first=first,
            seed=self.seed,
        )

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

    def val_dataloader(self) -> DataLoader:
        """The validation episodes."""
        return self._loader(self.dataset("val", length=self.episodes["val"]))

    def test_dataloader(self) -> DataLoader:
        """The test episodes."""
        return self._loader(self.dataset("test", length=self.episodes["test"]))

    def _loader(self, dataset: ImageEpisodes) -> DataLoader:
        ranks, rank = (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)
        # Not left to Lightning, whose distributed sampler shuffles the training data.
        sampler: Sampler | None = DistributedSampler(dataset, ranks, rank, shuffle=False) if ranks > 1 else None
        # No workers: drawing a meta-batch takes less time than passing it between processes.
        return DataLoader(dataset, self.meta_batch_size // ranks, sampler=sampler, collate_fn=_as_drawn)

    def on_after_batch_transfer(self, batch: Episode, dataloader_idx: int) -> Episode:
        """Scales the images to 0..1, on the device."""
        dtype = self.trainer.lightning_module.dtype if self.trainer else torch.float32
        return Episode(*(examples._replace(x=examples.x.to(dtype) / 255) for examples in batch))

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint remembers of the data: the split, and which classes were trained on."""
        return {"split": self.split_name(), "digest": self.digest, "train": self.classes["train"]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Compares a checkpoint's data with these.

        Raises:
            FewShotError: If training would go on with another split, or test classes were trained on.
        """
        if state["digest"] == self.digest:
            return
        if self.trainer is not None and self.trainer.training:
            raise FewShotError(
                f"the checkpoint was trained on split {state['split']} (digest {state['digest']}), which is not "
                f"{self.split_name()} (digest {self.digest}): resume with the options of data that it was started with"
            )
        seen = set(state["train"]).intersection(self.classes["test"])
        if seen:
            raise FewShotError(
                f"{len(seen)} of the {len(self.classes['test'])} test classes of split {self.split_name()} were "
                f"trained on: the checkpoint was trained on split {state['split']}. Test it on that"
            )


def with_rotations(images: Tensor) -> Tensor:
    """Appends the rotations by 90, 180 and 270 degrees as new classes: ``[classes, ...]`` to ``[4 * classes, ...]``."""
    return torch.cat([images.rot90(quarters, dims=(-2, -1)) for quarters in range(4)])


def _as_drawn(episode: Any) -> Any:
    """Keeps a meta-batch as the data set drew it."""
    return episode
