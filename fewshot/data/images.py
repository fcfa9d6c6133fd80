"""What every data set of images shares: its splits, its episodes, and how their images get to the learner."""

import hashlib
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import Transform

from fewshot.data.augment import each_its_own
from fewshot.data.base import MOST_SEED, EpisodicDataModule
from fewshot.data.image_episodes import ImageEpisodes
from fewshot.data.splits import Split, random_split
from fewshot.data.store import ImageStore
from fewshot.episodes import SPLITS, DataSpec, Episode, Prediction
from fewshot.errors import FewShotError, at_least_one, in_range
from fewshot.plots import episode_figure


class ImageDataModule(EpisodicDataModule):
    """Serves episodes of N ways and K shots with Q queries per class, over images.

    A data set of images is a subclass that says how they are loaded, and perhaps how its classes are split.

    Attributes:
        classes: The classes of each split, without rotations and mirror images.

    Args:
        ways: Classes per task in training.
        test_ways: Classes per task in validation and test; ``ways`` if not given.
        rotations: Make each image's rotations by 90, 180 and 270 degrees new classes in training.
        test_rotations: Make rotations new classes in validation and test, too.
        mirrors: Make the mirror images of the training classes, and of their rotations, new classes.
        within_groups: Share of the training tasks, 0 to 1, whose classes are drawn from one group of classes, such as
            an alphabet; ``true`` is all of them.
        test_within_groups: The same in validation and test.
        split_seed: Seed of a random split.
        augment: Random changes of the training images, one after another, on the device: ``RandomAffine`` of
            ``fewshot.data.augment``, each image of a batch with a change of its own; or classes of
            ``torchvision.transforms.v2``, which change one image after another and take longer.
        **sizes: The options of every episodic data set.

    Raises:
        FewShotError: If a number is out of its range.
    """

    def __init__(
        self,
        ways: int = 5,
        test_ways: int | None = None,
        rotations: bool = False,
        test_rotations: bool = False,
        mirrors: bool = False,
        within_groups: bool | float = 0.0,
        test_within_groups: bool | float = 0.0,
        split_seed: int = 0,
        augment: list[Transform] | None = None,
        **sizes: Any,
    ) -> None:
        super().__init__(**sizes)
        self.ways = ways
        self.test_ways = ways if test_ways is None else test_ways
        self.rotations, self.test_rotations, self.mirrors = rotations, test_rotations, mirrors
        self.within_groups, self.test_within_groups = within_groups, test_within_groups
        self.split_seed = split_seed
        self.augment = [each_its_own(transform) for transform in augment or ()]
        at_least_one(ways=ways, test_ways=self.test_ways)
        in_range(0, MOST_SEED, split_seed=split_seed)
        in_range(0, 1, within_groups=within_groups, test_within_groups=test_within_groups)
        self.stores: dict[str, ImageStore] = {}
        self.classes: dict[str, list[str]] = {}

    @abstractmethod
    def load(self) -> ImageStore:
        """Loads all images, on every process; :meth:`prepare_data` has run before, on one."""

    def split_classes(self, names: Sequence[str]) -> Split:
        """Divides the classes, given by name: at random, 70 % for training, 10 % for validation, 20 % for test."""
        return random_split(len(names), self.split_seed)

    def example(self, picture: Image.Image) -> np.ndarray:
        """One picture as an example of these data, ``uint8`` ``[C, H, W]``.

        Raises:
            FewShotError: If the data do not say how.
        """
        raise FewShotError(f"{type(self).__name__} does not say how a picture becomes an example")

    def setup(self, stage: str) -> None:
        """Loads the images, splits them and checks that they suffice for the episodes asked for.

        Raises:
            FewShotError: If a split is missing or has too few classes, or a class too few images, or the tasks cannot
                be shared out evenly over the devices.
        """
        if not self.stores:
            store = self.load()
            for split, members in self.split_classes(store.names).items():
                part = store.select(members)
                self.classes[split] = list(part.names)
                rotate = self.rotations if split == "train" else self.test_rotations
                part = part.rotated() if rotate else part
                self.stores[split] = part.mirrored() if self.mirrors and split == "train" else part
        self.splits = tuple(self.stores)
        super().setup(stage)

    @property
    def spec(self) -> DataSpec:
        """What the data state about themselves."""
        shapes = {store.example_shape for store in self.stores.values()}
        return DataSpec(
            outputs=self.ways,
            test_outputs=self.test_ways,
            loss="cross-entropy",
            example_shape=next(iter(shapes), None),
            class_names={split: store.names for split, store in self.stores.items()},
        )

    @property
    def digest(self) -> str:
        """Fingerprint of which class is in which split."""
        lines = (f"{split}:{name}\n" for split in SPLITS for name in sorted(self.classes.get(split, [])))
        return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()[:16]

    @property
    def content(self) -> str:
        """Fingerprint of the test split's images, class after class, and of how they are rotated."""
        digest = hashlib.sha256()
        if "test" in self.stores:
            store = self.stores["test"]
            digest.update(repr((store.example_shape, store.counts.tolist(), store.turns.tolist())).encode())
            for start, count in zip(store.starts, store.counts):
                digest.update(store.images[start : start + count].contiguous().numpy().data)
        return digest.hexdigest()[:16]

    def dataset(self, split: str, length: int | None = None, first: int = 0) -> ImageEpisodes:
        """The episodes of a split, ``length`` of them (a meta-batch if not given) from number ``first`` on."""
        train = split == "train"
        return ImageEpisodes(
            self.stores[split],
            split=split,
            ways=self.ways if train else self.test_ways,
            shots=self.shots if train else self.test_shots,
            queries=self.queries if train else self.test_queries,
            length=self.meta_batch_size if length is None else length,
            first=first,
            seed=self.train_seed if train else self.seed,
            within_groups=self.within_groups if train else self.test_within_groups,
            remedy=self.more_classes(split),
        )

    def more_classes(self, split: str) -> str:
        """What else than to lower the ways helps where a split has fewer classes, as the end of that sentence."""
        return ""

    def on_after_batch_transfer(self, batch: Episode, dataloader_idx: int) -> Episode:
        """Scales the images to 0..1 and augments those of training, on the device."""
        support, query = (part._replace(x=self._prepared(part.x)) for part in (batch.support, batch.query))
        return batch._replace(support=support, query=query)

    def _prepared(self, images: Tensor) -> Tensor:
        images = images.to(self.dtype) / 255
        if self.augment and self.trainer is not None and self.trainer.training:
            flat = images.flatten(0, 1)
            for transform in self.augment:
                flat = transform(flat)
            if flat.shape != images.flatten(0, 1).shape:
                raise FewShotError(
                    f"--data.augment makes images of {list(flat.shape[1:])} of those of {list(images.shape[2:])}: it "
                    "must keep their channels and their size"
                )
            return flat.view_as(images)
        return images

    def figure(self, episode: Episode, prediction: Prediction) -> Figure:
        """The first task: a row per class, its support image left, its queries with their predicted classes right."""
        return episode_figure(episode, prediction.outputs.argmax(-1))

    def describe(self) -> dict[str, Any]:
        """What decides which episodes a test sees, for reports and comparisons."""
        share = float(self.test_within_groups)
        within = {"within_groups": share if share < 1 else True} if share else {}
        return {**super().describe(), "ways": self.test_ways, "rotations": self.test_rotations, **within}

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint remembers of the data: the split, and which classes were trained on."""
        return {**super().state_dict(), "train": self.classes.get("train", [])}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Compares a checkpoint's data with these.

        Raises:
            FewShotError: If training would go on with another split, or test classes were trained on.
        """
        super().load_state_dict(state)
        if not isinstance(state.get("train"), list):
            raise FewShotError("the checkpoint is damaged: the classes that it was trained on are no list")
        if state["digest"] == self.digest:
            return
        seen = set(map(str, state["train"])).intersection(self.classes.get("test", []))
        if seen:
            raise FewShotError(
                f"{len(seen)} of the {len(self.classes['test'])} test classes of split {self.split_name()} were "
                f"trained on: the checkpoint was trained on split {state['split']}. Test it on that"
            )
