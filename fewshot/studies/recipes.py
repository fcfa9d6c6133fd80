"""``make recipes``: what each measure of a training recipe buys, in short trainings, on validation."""

from pathlib import Path
from statistics import mean, median
from typing import NamedTuple

from fewshot.evaluation import read_curve
from fewshot.files import make_folder
from fewshot.studies.driver import config_of, train
from fewshot.studies.tables import markdown, write_tables

SEEDS = (0, 1, 2)

AS_IT_IS = "the recipe"
AFFINE = (
    "{class_path: fewshot.data.augment.RandomAffine, init_args: {degrees: 12, scale: 0.15, shear: 0.2, translate: 0.1}}"
)
WAVES = "{class_path: fewshot.data.augment.RandomWaves}"

LENGTH = {"trainer.max_steps": "1000", "data.val_episodes": "600"}
FOR_ALL: dict[str, dict[str, str]] = {
    AS_IT_IS: {},
    "paper's step size, 0.001": {"model.meta_lr": "0.001"},
    "constant step size": {"model.lr_scheduler": "constant"},
    "gradients clipped at norm 1": {"trainer.gradient_clip_val": "1"},
}
"""Measures that make sense for every recipe."""


class Recipe(NamedTuple):
    """A training, and what is changed of it, one thing at a time.

    Attributes:
        config: Its config.
        options: What it changes of that.
        measures: Options by what they are. Where a step becomes dearer or cheaper, they change the outer steps, too, so
            that all take about as long.
    """

    config: str
    options: dict[str, str]
    measures: dict[str, dict[str, str]]


RECIPES = {
    "ProtoNet": Recipe(
        "omniglot_protonet",
        {
            "model.network.downsample": "stride",
            "model.network.cells": "2",
            "model.meta_lr": "0.003",
            "data.mirrors": "false",
            "trainer.gradient_clip_val": "null",
            **LENGTH,
        },
        {
            **FOR_ALL,
            "weights averaged (0.99)": {
                "trainer.callbacks+": "pytorch_lightning.callbacks.EMAWeightAveraging",
                "trainer.callbacks.decay": "0.99",
            },
            "float32": {"trainer.precision": "32-true"},
            "no affine changes": {"data.augment": "null"},
            "waves beside the affine changes": {"data.augment": f"[{AFFINE}, {WAVES}]"},
            "rotations not as classes": {"data.rotations": "false"},
            "mirror images as classes, too": {"data.mirrors": "true"},
            "three 20-way episodes a step": {"data.ways": "20", "data.meta_batch_size": "3"},
            "100-way episodes": {"data.ways": "100", "trainer.max_steps": "600"},
            "pooling in place of strides": {
                "model.network.downsample": "pool",
                "model.network.cells": "1",
                "trainer.max_steps": "300",
            },
        },
    ),
    "MAML": Recipe(
        "omniglot_maml",
        LENGTH,
        {
            **FOR_ALL,
            "fixed inner rate, 0.4": {"model.learn_inner_lr": "none"},
            "a rate per parameter (Meta-SGD)": {"model.learn_inner_lr": "meta-sgd"},
            "first order for the first half": {"model.first_order_steps": "500"},
            "one query per class": {"data.queries": "1", "data.test_queries": "5", "trainer.max_steps": "1800"},
            "paper's 32 tasks a step": {"data.meta_batch_size": "32", "trainer.max_steps": "250"},
            "three inner steps": {
                "model.adaptation_steps": "3",
                "model.test_adaptation_steps": "3",
                "trainer.max_steps": "450",
            },
            "bfloat16": {"trainer.precision": "bf16-mixed", "trainer.max_steps": "1150"},
            "affine changes": {"data.augment": f"[{AFFINE}]"},
            "mirror images as classes, too": {"data.mirrors": "true"},
        },
    ),
}


class Trained(NamedTuple):
    """One training: validation accuracy at its end in percent, its outer steps and minutes."""

    accuracy: float
    steps: int
    minutes: float


def recipes(
    folder: Path = Path("recipes"),
    configs: Path | None = None,
    max_steps: int | None = None,
    root: Path | None = None,
) -> None:
    """Trains what is not trained yet, with three seeds each, and writes the tables of docs/recipes.md.

    Interrupted, it goes on where it was.

    Args:
        folder: Where everything goes; the tables to report/ in it.
        configs: Folder of the config files; those that come with fewshot if not given.
        max_steps: Outer steps of each training; those of the study if not given.
        root: Omniglot's folder; see ``fewshot fit --data.help OmniglotDataModule``.
    """
    place = {} if root is None else {"data.root": str(root)}
    tables = {}
    for title, recipe in RECIPES.items():
        config = config_of(recipe.config, configs)
        found: dict[str, list[Trained]] = {measure: [] for measure in recipe.measures}
        for seed in SEEDS:
            for number, (measure, changes) in enumerate(recipe.measures.items()):
                name = f"{title.lower()}_{number:02}_{seed}"
                seeds = {"seed_everything": str(seed), "data.train_seed": str(seed)}
                options = {**recipe.options, **seeds, **changes, **place}
                options["trainer.val_check_interval"] = options["trainer.max_steps"]  # at its end alone
                train(name, config, options, folder, max_steps)
                curve = read_curve(folder / "logs" / name, "val/accuracy")
                found[measure].append(Trained(100 * curve.values[-1], curve.steps[-1], curve.minutes[-1]))
        tables[title] = table(found)
    report = make_folder(folder / "report")
    write_tables(report, "recipes", tables)


def table(found: dict[str, list[Trained]]) -> str:
    """A row per measure: validation accuracy, what it is above the recipe's with the same seed, and the cost."""
    lines = []
    for measure, own in found.items():
        gains = [one.accuracy - other.accuracy for one, other in zip(own, found[AS_IT_IS], strict=True)]
        gained = f"{mean(gains):+.2f} ({', '.join(f'{gain:+.2f}' for gain in gains)})"
        accuracy = mean(one.accuracy for one in own)
        minutes = median(one.minutes for one in own)  # of which a busy machine makes some longer
        cells = (f"{accuracy:.2f}", "" if measure == AS_IT_IS else gained, own[0].steps, f"{minutes:.1f}")
        lines.append((measure, *cells))
    return markdown(("measure", "validation", "gain (of each seed)", "outer steps", "minutes"), lines)
