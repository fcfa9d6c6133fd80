"""Which classes are for training, which for validation, and which for test."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from fewshot.episodes import SPLITS
from fewshot.errors import FewShotError

Split = dict[str, list[int]]
"""The classes, by index, of ``train``, ``val`` and ``test``, or of some of them."""


def random_split(classes: int, seed: int, train: float = 0.7, val: float = 0.1) -> Split:
    """Divides classes at random by shares; those that remain are for test."""
    order = np.random.Generator(np.random.Philox(seed)).permutation(classes).tolist()
    first, second = (round(share * classes) for share in (train, train + val))
    return {"train": order[:first], "val": order[first:second], "test": order[second:]}


def read_split(
    folder: Path, names: Sequence[str], kind: str, cut: Callable[[str], Sequence[str]] = str.splitlines
) -> Split:
    """Reads the lists of a split: ``train.txt``, ``val.txt`` and ``test.txt``.

    Args:
        folder: Where they are.
        names: The classes that there are.
        kind: What to call one of them.
        cut: Takes the text of a list apart.

    Raises:
        FewShotError: If a list is missing or empty, names an unknown class, or one that another list has.
    """
    index = {name: position for position, name in enumerate(names)}
    split: Split = {}
    seen: dict[str, str] = {}
    for part in SPLITS:
        path = folder / f"{part}.txt"
        try:
            lines = [line.strip() for line in cut(path.read_text(encoding="utf-8-sig"))]
        except (OSError, ValueError) as error:  # no text, or no path
            raise FewShotError(f"split list {path} cannot be read ({error})") from None
        entries = [line for line in lines if line]
        for name in entries:
            if name not in index:
                raise FewShotError(f"{path} names {name!r}, which is no {kind}")
            if name in seen:
                raise FewShotError(f"{path} names {name}, which {seen[name]} names already")
            seen[name] = path.name
        if not entries:
            raise FewShotError(f"split list {path} is empty")
        split[part] = [index[name] for name in entries]
    return split
