"""A user's own pictures: a folder for each class."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image
from pytorch_lightning.utilities import rank_zero_warn

from fewshot.data.cache import Kept, cache_folder
from fewshot.data.folder_files import Listing, list_classes, load_pictures, told
from fewshot.data.images import ImageDataModule
from fewshot.data.pictures import read_picture
from fewshot.data.splits import Split, random_split, read_split
from fewshot.data.store import ImageStore
from fewshot.episodes import SPLITS
from fewshot.errors import FewShotError, in_range, listed

Kind = Literal["folders", "random", "file"]

LARGEST = 4096  # pixels along a side; more is mistyped


class FolderDataModule(ImageDataModule):
    """Your own pictures, of any kind, size and number: a folder for each class, named after it.

    The folders of classes may lie in folders of groups, ``GROUP/CLASS``, which ``within_groups`` draws from as from
    alphabets. Pictures are turned as their camera says, put on white where they are transparent, resized by the shorter
    side and cut to the middle square. They are decoded once, and mapped from a file after that.

    Args:
        root: The folder of the folders.
        image_size: Height and width of the images, in pixels.
        channels: 3 for colour, 1 for gray.
        split: ``folders``: the classes in the folders ``train``, ``val`` and ``test`` of ``root``. ``random``: by
            ``val_share``, ``test_share`` and ``split_seed``. ``file``: the lists in ``split_dir``. If not given:
            ``folders`` where two of the three are there, else ``random``.
        split_dir: Folder of ``train.txt``, ``val.txt`` and ``test.txt``, one class a line, for ``split: file``.
        val_share: Share of the classes for validation in a random split.
        test_share: Share of the classes for test in a random split.
        skip_unreadable: Leave out files that cannot be read, which is told, in place of refusing them.
        skip_small: Leave out classes of fewer images than an episode needs, which is told, in place of refusing them.
        cache_dir: Folder for the decoded images; ``~/.cache/fewshot`` if not given.
        **episodes: The options of every episodic data set of images.

    Raises:
        FewShotError: If an option is missing or out of range, or ``split_dir`` does not go with ``split``.
    """

    def __init__(
        self,
        root: str | None = None,
        image_size: int = 84,
        channels: int = 3,
        split: Kind | None = None,
        split_dir: str | None = None,
        val_share: float = 0.1,
        test_share: float = 0.2,
        skip_unreadable: bool = False,
        skip_small: bool = False,
        cache_dir: str | None = None,
        **episodes: Any,
    ) -> None:
        super().__init__(**episodes)
        if channels not in (1, 3):
            raise FewShotError(f"channels must be 3, for colour, or 1, for gray, not {channels}")
        if split not in (None, *get_args(Kind)):
            raise FewShotError(f"split must be one of {', '.join(get_args(Kind))}, not {split}")
        if (split == "file") != (split_dir is not None):
            raise FewShotError("--data.split file and --data.split_dir FOLDER go together")
        in_range(1, LARGEST, image_size=image_size)
        in_range(0, 1, val_share=val_share, test_share=test_share)
        if not val_share + test_share < 1:
            raise FewShotError(f"val_share {val_share} and test_share {test_share} leave no classes for training")
        self.root = None if root is None else Path(root).expanduser()
        self.image_size, self.channels = image_size, channels
        self.split, self.split_dir = split, split_dir
        self.val_share, self.test_share = val_share, test_share
        self.skip_unreadable, self.skip_small = skip_unreadable, skip_small
        self.cache = cache_folder(cache_dir)

    @cached_property
    def listing(self) -> Listing:
        """The classes and their files, as they were when first asked for.

        Raises:
            FewShotError: If there are none.
        """
        if self.root is None:
            raise FewShotError("--data.root is missing: name the folder that holds a folder of pictures for each class")
        if not Path(self.root).exists():
            raise FewShotError(f"--data.root {self.root}: there is no such folder")
        return list_classes(self.root, {None: None, "folders": True}.get(self.split, False))

    @cached_property
    def kept(self) -> Kept:
        """All images, decoded, and what was noted of them."""
        return load_pictures(self.listing, self.cache, self.image_size, self.channels)

    def prepare_data(self) -> None:
        """Decodes what is not in the cache; Lightning calls this on one process only."""
        self.load()

    def load(self) -> ImageStore:
        """The images of all classes.

        Raises:
            FewShotError: If there are no two classes, or a picture cannot be read and is not to be left out.
        """
        store, notes = self.kept
        if unreadable := notes["unreadable"]:
            pictures = sum(map(len, self.listing.classes.values()))
            line = f"{len(unreadable)} of the {pictures} pictures in {self.root} cannot be read: {told(unreadable)}"
            if not self.skip_unreadable:
                raise FewShotError(f"{line}. Mend or delete them, or leave them out by --data.skip_unreadable true")
            rank_zero_warn(f"{line}. They are left out.")
        return store

    def setup(self, stage: str) -> None:
        """Loads the images, splits them, checks that they suffice, and tells of pictures that two splits share.

        Raises:
            FewShotError: If they do not suffice, or the tasks cannot be shared out evenly over the devices.
        """
        loaded = bool(self.stores)
        super().setup(stage)
        if not loaded:
            self._tell_of_copies()

    def example(self, picture: Image.Image) -> np.ndarray:
        """One picture as these are: ``uint8`` ``[C, H, W]``."""
        return read_picture(picture, self.image_size, self.channels)

    def split_name(self) -> str:
        """``folders/random`` and the like."""
        return f"folders/{self.split or ('folders' if self.listing.split_of else 'random')}"

    def more_classes(self, split: str) -> str:
        """How the split gets more classes."""
        kind = self.split_name().removeprefix("folders/")
        if kind == "folders":
            return f", or put more classes into {self.root}/{split}"
        if kind == "file":
            return f", or name more classes in {self.split_dir}/{split}.txt"
        if split == "train":
            return f", --data.val_share ({self.val_share}) or --data.test_share ({self.test_share})"
        return f", or raise --data.{split}_share ({getattr(self, f'{split}_share')})"

    def split_classes(self, names: Sequence[str]) -> Split:
        """Divides the classes by the kind of split; small ones are left out, if they are to be."""
        split = self._all_classes(names)
        return self._without_small(split) if self.skip_small else split

    def _all_classes(self, names: Sequence[str]) -> Split:
        if self.split == "file":
            assert self.split_dir is not None
            return read_split(Path(self.split_dir), names, f"class of {self.root}")
        if self.listing.split_of:
            places = [self.listing.split_of[name] for name in names]
            return {part: [i for i, place in enumerate(places) if place == part] for part in SPLITS if part in places}
        return random_split(len(names), self.split_seed, 1 - self.val_share - self.test_share, self.val_share)

    def _without_small(self, split: Split) -> Split:
        """Leaves out after the split is made, so that another number of shots moves no class to another split."""
        store = self.kept.store
        needed = dict.fromkeys(SPLITS, self.test_shots + self.test_queries) | {"train": self.shots + self.queries}
        small = {one: needed[part] for part, some in split.items() for one in some if store.counts[one] < needed[part]}
        if small:
            some = listed([f"{store.names[one]} {store.counts[one]}" for one in small])
            rank_zero_warn(
                f"{len(small)} of the {len(store)} classes in {self.root} have fewer than the "
                f"{listed(sorted(set(small.values())))} images of shots + queries, and are left out: {some}."
            )
        return {part: [one for one in some if one not in small] for part, some in split.items()}

    def _tell_of_copies(self) -> None:
        """Warns of pictures that are in the training classes and in those of validation or test, by their pixels."""
        notes = self.kept.notes
        names = [self.listing.name(file) for files in self.listing.classes.values() for file in files]
        names = [name for name in names if name not in notes["unreadable"]]  # one for each image now
        images = {
            split: {notes["digests"][row]: names[row] for first, count in zip(store.starts, store.counts)
                    for row in range(first, first + count)}
            for split, store in self.stores.items()
        }  # fmt: skip
        for split in ("val", "test"):
            copies = images.get(split, {}).keys() & images.get("train", {}).keys()
            if copies:
                pairs = sorted(f"{images[split][copy]} = {images['train'][copy]}" for copy in copies)
                rank_zero_warn(
                    f"{len(copies)} pictures of the {split} split are in the train split, too: {listed(pairs)}."
                )
