"""Omniglot: 1,623 handwritten characters of 50 alphabets, 20 drawings of each."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image

from fewshot.data.cache import cache_folder
from fewshot.data.drawings import as_drawing
from fewshot.data.images import ImageDataModule
from fewshot.data.omniglot_files import download, load_omniglot
from fewshot.data.splits import Split, read_split
from fewshot.data.store import ImageStore
from fewshot.episodes import SPLITS
from fewshot.errors import FewShotError, in_range

Kind = Literal["random", "lake", "file"]

BACKGROUND_ALPHABETS = 30


class OmniglotDataModule(ImageDataModule):
    """Omniglot, 28 x 28, ink bright.

    Lake, Salakhutdinov and Tenenbaum, 2015, Human-level concept learning through probabilistic program induction,
    https://github.com/brendenlake/omniglot. The archives are looked for in ``root``, zipped or unpacked, and
    downloaded there if they are missing.

    Args:
        root: Folder of ``images_background(.zip)`` and ``images_evaluation(.zip)``; ``$FEWSHOT_DATA/omniglot`` if not
            given, or ``data/omniglot`` where that variable is not set.
        split: ``random``: 1100 characters for training, 100 for validation, 423 for test, drawn by ``split_seed``
            (MAML trains on 1200 and has no validation). ``lake``: the 20 evaluation alphabets for test; of the 30
            background alphabets, ``val_alphabets`` drawn by ``split_seed`` for validation, the others for training.
            ``file``: the lists in ``split_dir``.
        val_alphabets: Background alphabets held out for validation by the split ``lake``; with 0 there is none, for
            ``--trainer.limit_val_batches 0``.
        split_dir: Folder of ``train.txt``, ``val.txt`` and ``test.txt``, one ``ALPHABET/characterNN`` a line, for
            ``split: file``.
        cache_dir: Folder for the decoded images; ``~/.cache/fewshot`` if not given.
        verify: Take Omniglot's own drawings alone, zipped or unpacked, by a checksum of their pixels. ``false`` takes
            altered ones, too: PNG files of any size and mode, as long as none is missing or damaged.
        rotations: Make each image's rotations by 90, 180 and 270 degrees new classes in training.
        **episodes: The options of every episodic data set of images.

    Raises:
        FewShotError: If an option is out of range, or ``split_dir`` does not go with ``split``.
    """

    def __init__(
        self,
        root: str | None = None,
        split: Kind = "random",
        split_dir: str | None = None,
        val_alphabets: int = 5,
        cache_dir: str | None = None,
        verify: bool = True,
        rotations: bool = True,
        **episodes: Any,
    ) -> None:
        super().__init__(rotations=rotations, **episodes)
        if split not in get_args(Kind):
            raise FewShotError(f"split must be one of {', '.join(get_args(Kind))}, not {split}")
        if (split == "file") != (split_dir is not None):
            raise FewShotError("--data.split file and --data.split_dir FOLDER go together")
        self.root = Path(root or Path(os.environ.get("FEWSHOT_DATA", "data"), "omniglot")).expanduser()
        self.kind = split
        self.split_dir = split_dir
        self.val_alphabets = val_alphabets
        in_range(0, BACKGROUND_ALPHABETS - 1, val_alphabets=val_alphabets)
        self.cache = cache_folder(cache_dir) / "omniglot.images"
        self.verify = verify is not False  # a null of the command line is no false

    def prepare_data(self) -> None:
        """Downloads what is missing and fills the cache; Lightning calls this on one process only."""
        download(self.root)
        self.load()

    def load(self) -> ImageStore:
        """All 1,623 characters."""
        return load_omniglot(self.root, self.cache, self.verify)

    def example(self, picture: Image.Image) -> np.ndarray:
        """A picture of a character, dark on light or light on dark, as a drawing: ``uint8`` ``[1, 28, 28]``."""
        return as_drawing(picture)

    def split_name(self) -> str:
        """``omniglot/random`` and the like."""
        return f"omniglot/{self.kind}"

    def without_validation(self) -> str:
        """Alphabets held out are one way, to train without validation is the other."""
        return f"--data.val_alphabets 5 holds out 5 alphabets, {super().without_validation()}"

    def split_classes(self, names: Sequence[str]) -> Split:
        """Divides the characters by the kind of split."""
        rng = np.random.Generator(np.random.Philox(self.split_seed))
        if self.kind == "random":
            order = rng.permutation(len(names)).tolist()
            return {"train": order[:1100], "val": order[1100:1200], "test": order[1200:]}
        if self.kind == "lake":
            alphabets = sorted({name.rpartition("/")[0] for name in names if name.startswith("images_background")})
            if self.val_alphabets >= len(alphabets):
                raise FewShotError(
                    f"val_alphabets is {self.val_alphabets}, but there are {len(alphabets)} background alphabets"
                )
            held_out = set(rng.choice(alphabets, self.val_alphabets, replace=False).tolist())
            split: Split = {part: [] for part in SPLITS if part != "val" or held_out}
            for index, name in enumerate(names):
                background = name.startswith("images_background")
                held = name.rpartition("/")[0] in held_out
                split["test" if not background else "val" if held else "train"].append(index)
            return split
        assert self.split_dir is not None
        characters = [name.partition("/")[2] for name in names]
        return read_split(Path(self.split_dir), characters, "ALPHABET/characterNN of Omniglot", str.split)
