"""``fewshot instances``: the accuracy of a learner that remembers, at the 1st, 2nd, ... instance of a class."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from torch import Tensor

from fewshot.algorithms import MANNModule
from fewshot.checkpoints import read_checkpoint
from fewshot.data import EpisodicDataModule
from fewshot.errors import FewShotError
from fewshot.evaluation.fingerprint import versions, weights
from fewshot.evaluation.load import load
from fewshot.evaluation.measure import Accelerator, Row, write_csv
from fewshot.evaluation.plan import named, typed
from fewshot.evaluation.without_trainer import batches_for_test, device_of
from fewshot.files import make_folder, write_json
from fewshot.metrics import summarised
from fewshot.objectives import CLASSIFICATION
from fewshot.quiet import quietly
from fewshot.shipped import checkpoint_path
from fewshot.terminal import console

PUBLISHED = {1: 0.364, 2: 0.828, 3: 0.910, 4: 0.926, 5: 0.949, 10: 0.981}
"""Of the memory-augmented network with 5 classes and one-hot labels, in table 1 of Santoro et al., 2016."""


def instances(
    ckpt_path: Path,
    data: dict[str, Any] = {},  # noqa: B006 (jsonargparse shows it)
    trust: list[str] = [],  # noqa: B006
    folder: Path = Path("logs/instances"),
    accelerator: Accelerator = "auto",
) -> list[Row]:
    """Tests a memory-augmented network on sequences: the accuracy at the 1st, 2nd, ... instance of a class.

    Santoro et al., 2016, Meta-Learning with Memory-Augmented Neural Networks, table 1. A sequence is a test episode in
    random order, each example predicted before its label is shown; nobody can know the first instance of a class, and
    the second is its one-shot accuracy. Writes instances.json and instances.csv.

    Args:
        ckpt_path: A checkpoint of MANNModule that ``fewshot fit`` wrote.
        data: Options of the data as in ``fewshot test``. There are ten instances of a class if not told otherwise: one
            of the support set, and --data.test_queries 9.
        trust: Modules of your own, as in [my.module], whose classes the checkpoint may use.
        folder: Where the results go.
        accelerator: Where to run.

    Returns:
        A row per instance: the mean over episodes, 0 to 1, with the half-width of its 95 % confidence interval.

    Raises:
        FewShotError: If the checkpoint or an option is wrong, or it is of another learner.
    """
    path = checkpoint_path(ckpt_path)
    device = device_of(accelerator)
    make_folder(folder)
    with named(path), quietly():
        module, episodes = remembering(path, typed({"test_shots": 1, "test_queries": 9, **data}, {}, trust))
        accuracies = by_instance(module.to(device), episodes)
    rows = [row(number, accuracy) for number, accuracy in enumerate(accuracies.T, start=1)]
    write_json(folder / "instances.json", {"instances": rows, "weights": weights(module), **versions()})
    write_csv(folder / "instances.csv", rows, list(rows[0]))
    console().print(table(rows, module.outputs))
    console().print(f"Results: {folder / 'instances.json'}, instances.csv", soft_wrap=True)
    return rows


def remembering(path: Path, options: Sequence[str]) -> tuple[MANNModule, EpisodicDataModule]:
    """The learner of a checkpoint with what it has learned, in evaluation mode, and its data.

    Args:
        path: The checkpoint.
        options: Words as one would type them after ``fewshot test``.

    Raises:
        FewShotError: If it is of another learner, or of other ways.
    """
    _, module, data, _ = load(path, options)
    if not isinstance(module, MANNModule):
        raise FewShotError(f"{module.title} reads no sequence: instances takes checkpoints of MANNModule")
    if module.outputs != data.spec.test_outputs:
        raise FewShotError(f"it was trained at {module.outputs} ways, and the data have {data.spec.test_outputs}")
    return module.restored(read_checkpoint(path)), data


def by_instance(module: MANNModule, data: EpisodicDataModule) -> Tensor:
    """The accuracy at each instance of a class in each test episode, ``[episodes, instances]``; orders are seeded."""
    with torch.random.fork_rng():
        torch.manual_seed(data.seed)
        return torch.cat([module.instances(episode).cpu() for episode in batches_for_test(data, module.device)])


def row(instance: int, accuracies: Tensor) -> Row:
    """The mean over the episodes at one instance, with its confidence half-width."""
    mean, _, ci95, episodes = summarised(accuracies)
    return {"instance": instance, "accuracy": mean, "ci95": ci95, "episodes": episodes}


def table(rows: Sequence[Row], ways: int) -> Table:
    """A row per instance, beside what was published."""
    shown = Table(title=f"{ways} classes, {rows[0]['episodes']} sequences")
    for column in ("instance of a class", "accuracy", *(["published"] if ways == 5 else [])):
        shown.add_column(column)
    for own in rows:
        published = PUBLISHED.get(own["instance"]) if ways == 5 else None
        cells = [str(own["instance"]), CLASSIFICATION.show(own["accuracy"], own["ci95"])]
        shown.add_row(*cells, *([] if published is None else [f"{published:.1%}"]))
    return shown
