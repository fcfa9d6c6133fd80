"""From images and a split to episodes: what every data set of images shares."""

import hashlib
from abc import abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fewshot.data.base import EpisodicDataModule, at_least_one
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


class ImageDataModule(EpisodicDataModule):
    """Serves episodes of N ways and K shots with Q queries per class, over images.

    Args:
        ways: Classes per task in training.
        test_ways: Classes per task in validation and test; ``ways`` if not given.
        rotations: Make each image's rotations by 90, 180 and 270 degrees new classes in training.
        test_rotations: Make rotations new classes in validation and test, too.
        split_seed: Seed of a random split.
        **sizes: The options of every episodic data set.

    Raises:
        FewShotError: If a number is not positive.
    """

    def __init__(
        self,
        ways: int = 5,
        test_ways: int | None = None,
        rotations: bool = False,
        test_rotations: bool = False,
        split_seed: int = 0,
        **sizes: Any,
    ) -> None:
        super().__init__(**sizes)
        self.ways = ways
        self.test_ways = ways if test_ways is None else test_ways
        self.rotations, self.test_rotations = rotations, test_rotations
        self.split_seed = split_seed
        at_least_one(ways=min(self.ways, self.test_ways))
        if split_seed < 0:
            raise FewShotError(f"split_seed must not be negative, got {split_seed}")
        self._images: dict[str, Tensor] = {}
        self.classes: dict[str, list[str]] = {}

    @abstractmethod
    def load(self) -> ClassImages:
        """Loads all images, on every process; :meth:`prepare_data` has run before, on one."""

    @abstractmethod
    def split(self, names: list[str]) -> Split:
        """Divides the classes."""

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
        super().setup(stage)

    @property
    def digest(self) -> str:
        """Fingerprint of which class is in which split."""
        lines = (f"{split}:{name}\n" for split in SPLITS for name in sorted(self.classes[split]))
        return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]

    @property
    def train_classes(self) -> int:
        """Number of classes in training, rotations included."""
        return len(self._images["train"])

    def dataset(self, split: str, length: int | None = None, first: int = 0) -> ImageEpisodes:
        """The episodes of a split, ``length`` of them (a meta-batch if not given) from number ``first`` on."""
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

    def on_after_batch_transfer(self, batch: Episode, dataloader_idx: int) -> Episode:
        """Scales the images to 0..1, on the device."""
        support, query = (part._replace(x=part.x.to(self.dtype) / 255) for part in (batch.support, batch.query))
        return batch._replace(support=support, query=query)

    def describe(self) -> dict[str, Any]:
        """What decides which episodes a test sees, for reports and comparisons."""
        return {**super().describe(), "ways": self.test_ways, "rotations": self.test_rotations}

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint remembers of the data: the split, and which classes were trained on."""
        return {**super().state_dict(), "train": self.classes["train"]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Compares a checkpoint's data with these.

        Raises:
            FewShotError: If training would go on with another split, or test classes were trained on.
        """
        super().load_state_dict(state)
        if state["digest"] == self.digest:
            return
        seen = set(state["train"]).intersection(self.classes["test"])
        if seen:
            raise FewShotError(
                f"{len(seen)} of the {len(self.classes['test'])} test classes of split {self.split_name()} were "
                f"trained on: the checkpoint was trained on split {state['split']}. Test it on that"
            )


def with_rotations(images: Tensor) -> Tensor:
    """Appends the rotations by 90, 180 and 270 degrees as new classes: ``[classes, ...]`` to ``[4 * classes, ...]``."""
    return torch.cat([images.rot90(quarters, dims=(-2, -1)) for quarters in range(4)])
