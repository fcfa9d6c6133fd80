"""Whatever is typed behind an option, what comes of it is a run or one line."""

import inspect
import random
from collections.abc import Iterator

import pytest
from helpers import SMALL_NETWORK, TINY
from pytorch_lightning import Trainer

from fewshot.algorithms import AdaptingModule, EpisodicModule, MAMLModule
from fewshot.cli import main
from fewshot.data import EpisodicDataModule, GlyphsDataModule
from fewshot.networks import Conv4

FIT = ["fit", "--config=glyphs_maml", *TINY, *SMALL_NETWORK, "--trainer.logger=false", "--trainer.max_time=00:00:00:05",
       "--trainer.enable_checkpointing=false"]  # fmt: skip
CLASSES = {
    "--trainer": [Trainer],
    "--model": [EpisodicModule, AdaptingModule, MAMLModule],
    "--model.network": [Conv4],
    "--data": [EpisodicDataModule, GlyphsDataModule],
}
LONG = {
    "devices",
    "num_nodes",
    "max_steps",
    "max_time",
    "adaptation_steps",
    "test_adaptation_steps",
    "default_root_dir",
}
"""Options with which nonsense may take its time, legally, or write elsewhere."""
NONSENSE = ["-1", "0", "1.5", "nan", "1e300", "true", "~", "", "foo", "[]", "[foo]", "{}", "{foo: 1}", "a: b",
            "&a [*a]", "é", "math.cos", "torch.optim.Adam", "{class_path: foo}", "foo" * 2000]  # fmt: skip


def options() -> list[str]:
    """What may be typed, with the options of the glyphs' MAML."""
    return sorted(
        f"{part}.{name}"
        for part, classes in CLASSES.items()
        for name in {name for one in classes for name in inspect.signature(one.__init__).parameters}
        if name not in LONG | {"self", "kwargs", "shared", "sizes", "network"}
    )


def nonsense(count: int, seed: int) -> Iterator[list[str]]:
    """One or two options with something else than they want."""
    rng = random.Random(seed)
    for _ in range(count):
        yield [f"{option}={rng.choice(NONSENSE)}" for option in rng.sample(options(), rng.choice([1, 1, 2]))]


@pytest.mark.filterwarnings("ignore")
def test_nonsense_takes_one_line(capsys):
    for words in nonsense(count=12, seed=1):
        code = 0
        try:
            main([*FIT, *words])
        except SystemExit as status:
            code = status.code
        lines = capsys.readouterr().err.splitlines()
        assert code in (0, 2), (words, lines[-1])
        assert code == 0 or (lines[-1].startswith("fewshot: error: ") and len(lines[-1]) < 1500), words
