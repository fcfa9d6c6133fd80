"""``fewshot lake``: Lake's 20 one-shot runs within alphabets, beside people and what was published."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.progress import track
from rich.table import Table
from torch import Tensor

from fewshot.algorithms import EpisodicModule
from fewshot.checkpoints import read_checkpoint
from fewshot.data import EpisodicDataModule, ImageStore, OmniglotDataModule
from fewshot.episodes import Episode, Examples
from fewshot.errors import FewShotError
from fewshot.evaluation.fingerprint import versions, weights
from fewshot.evaluation.load import load
from fewshot.evaluation.measure import Accelerator, Row, write_csv
from fewshot.evaluation.plan import named, tell_apart, typed
from fewshot.evaluation.without_trainer import device_of
from fewshot.files import make_folder, write_json
from fewshot.metrics import paired_difference
from fewshot.objectives import CLASSIFICATION
from fewshot.quiet import quietly
from fewshot.shipped import checkpoint_path
from fewshot.terminal import console

WAYS = 20

PUBLISHED = {"people": 0.045, "BPL": 0.033, "prototypical network": 0.137}
"""Error of people and of Bayesian Program Learning in Lake et al., 2015; of the prototypical network in Lake,
Salakhutdinov and Tenenbaum, 2019, The Omniglot challenge: a 3-year progress report, https://arxiv.org/abs/1902.03477."""


class Run(NamedTuple):
    """One of Lake's runs: 20 characters of an alphabet by two drawers.

    Attributes:
        alphabet: Its name.
        support_drawer: Who drew the support set, 1 to 20.
        query_drawer: Who drew the queries.
        characters: The names of the characters, in the order of the queries.
    """

    alphabet: str
    support_drawer: int
    query_drawer: int
    characters: tuple[str, ...]


def lake(
    ckpt_paths: list[Path],
    data: dict[str, Any] = {},  # noqa: B006 (jsonargparse shows it)
    model: dict[str, Any] = {},  # noqa: B006
    trust: list[str] = [],  # noqa: B006
    ensemble: bool = False,
    folder: Path = Path("logs/lake"),
    accelerator: Accelerator = "auto",
) -> list[Row]:
    """Tests checkpoints on Lake's 20 runs of 20-way one-shot classification within alphabets of Omniglot.

    Lake, Salakhutdinov and Tenenbaum, 2015, Human-level concept learning through probabilistic program induction. In
    each run, one person has drawn a support set of 20 characters of an evaluation alphabet, and another one the 20
    queries. Every query is judged on its own, as a task of one query: a learner that judges queries together would find
    out which one is left for which character. Writes lake.json and lake.csv with the error of each run.

    Args:
        ckpt_paths: Checkpoints that ``fewshot fit`` wrote, as in [a.ckpt,b.ckpt], trained on background characters of
            Omniglot alone, as those of ``--data.split lake`` are.
        data: Options of the data for all checkpoints as in ``fewshot test``: --data.root, ...
        model: Options of the learners for all checkpoints as in ``fewshot test``: --model.batch_norm, ...
        trust: Modules of your own, as in [my.module], whose classes the checkpoints may use.
        ensemble: Test the mean of all checkpoints' probabilities, too.
        folder: Where the results go.
        accelerator: Where to run.

    Returns:
        A result per checkpoint; behind them, of several, the mean of their errors, and that of the ensemble. Errors are
        from 0 to 1, with the half-width of the 95 % confidence interval over the runs.

    Raises:
        FewShotError: If a checkpoint or an option is wrong, or evaluation characters were trained on.
    """
    if len(ckpt_paths) < 1 + ensemble:
        few = "an ensemble needs at least two checkpoints" if ensemble else "no checkpoint to test: give some"
        raise FewShotError(f"{few}, as in --ckpt_paths [a.ckpt,b.ckpt]")
    runs, paths = read_runs(), [checkpoint_path(path) for path in ckpt_paths]
    device = device_of(accelerator)
    make_folder(folder)
    rows, said = [], []
    for path in track(paths, description="Testing", console=console()):
        with named(path), quietly():
            name, module, episodes = trained(path, typed(data, model, trust))
            said.append(probabilities(module.to(device), episodes, runs))
        rows.append(
            {**row(name, error_rates(said[-1])), "checkpoint": str(path), "weights": weights(module), **versions()}
        )
    for label, own in zip(tell_apart([own["name"] for own in rows], paths), rows):
        own["name"] = label
    if len(paths) > 1:
        rows.append(row(f"mean of the {len(paths)}", torch.stack([error_rates(one) for one in said]).mean(0)))
    if ensemble:
        rows.append(row(f"ensemble of the {len(paths)}", error_rates(torch.stack(said).mean(0))))
    write_json(folder / "lake.json", rows)
    write_csv(folder / "lake.csv", [line for own in rows for line in _lines(own, runs)], list(_lines(rows[0], runs)[0]))
    console().print(lake_table(rows))
    console().print(f"Results: {folder / 'lake.json'}, lake.csv", soft_wrap=True)
    return rows


def read_runs() -> list[Run]:
    """The 20 runs, from the table that comes with fewshot."""
    text = files("fewshot.evaluation").joinpath("lake_runs.tsv").read_text()
    lines = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    return [
        Run(alphabet, int(support), int(query), tuple(f"character{number}" for number in characters.split(",")))
        for _, alphabet, support, query, characters in lines
    ]


def trained(path: Path, options: Sequence[str]) -> tuple[str, EpisodicModule, OmniglotDataModule]:
    """The name of a checkpoint's run, its learner with what it has learned, in evaluation mode, and its data.

    Args:
        path: The checkpoint.
        options: Words as one would type them after ``fewshot test``.

    Raises:
        FewShotError: If it cannot take part: for its data, its number of outputs, or the classes it was trained on.
    """
    name, module, data, _ = load(path, options)
    if not isinstance(data, OmniglotDataModule):
        raise FewShotError(f"Lake's runs are of Omniglot, and the checkpoint's data {type(data).__name__}")
    outputs = getattr(module, "outputs", WAYS)
    if outputs != WAYS:
        raise FewShotError(
            f"{module.title}'s head has {outputs} outputs and cannot judge {WAYS}-way episodes: "
            f"train it with --data.ways {WAYS}"
        )
    checkpoint = read_checkpoint(path)
    _refuse_evaluation_characters(data, checkpoint.get(type(data).__qualname__))
    return name, module.restored(checkpoint), data


def _refuse_evaluation_characters(data: EpisodicDataModule, state: Any) -> None:
    """Refuses what was trained on characters of the evaluation alphabets, going by what a checkpoint remembers."""
    data.load_state_dict(state)  # refuses what is damaged
    classes = state["train"]
    seen = [name for name in classes if not str(name).startswith("images_background/")]
    if seen or not classes:
        raise FewShotError(
            f"{len(seen)} of the {len(classes)} classes that it was trained on are not of the background alphabets, "
            "and Lake's runs are of the others: train it with --data.split lake"
        )


def probabilities(module: EpisodicModule, data: OmniglotDataModule, runs: Sequence[Run]) -> Tensor:
    """What a learner says of the queries: the softmax of its outputs, ``[runs, 20 queries, 20 characters]``.

    Raises:
        FewShotError: If a character of a run is not there.
    """
    data.prepare_data()
    store = data.load()
    said = []
    for run in runs:
        tasks = data.on_after_batch_transfer(episode(store, run), 0)
        with torch.no_grad():
            outputs = module.predict(data.transfer_batch_to_device(tasks, module.device, 0)).outputs
        said.append(outputs[:, 0].softmax(-1).cpu())
    return torch.stack(said)


def episode(store: ImageStore, run: Run) -> Episode:
    """A run as 20 tasks with the same support set, each of one query.

    Args:
        store: All images of Omniglot, those of a character in the order of their drawers.
        run: Which.

    Raises:
        FewShotError: If a character is not there.
    """
    index = {name: number for number, name in enumerate(store.names)}
    names = [f"images_evaluation/{run.alphabet}/{character}" for character in run.characters]
    missing = [name for name in names if name not in index]
    if missing:
        raise FewShotError(f"Lake's runs need the official names of Omniglot, and there is no {missing[0]}")
    classes = np.array([[index[name] for name in names]])
    supports, queries = (
        store.gather(classes, np.full((1, WAYS, 1), drawer - 1))  # [1, 20, C, H, W]
        for drawer in (run.support_drawer, run.query_drawer)
    )
    labels = torch.arange(WAYS)
    return Episode(
        Examples(supports.repeat(WAYS, 1, 1, 1, 1), labels.repeat(WAYS, 1)),
        Examples(queries.transpose(0, 1), labels.unsqueeze(1)),
    )


def error_rates(said: Tensor) -> Tensor:
    """The error of each run, 0 to 1, ``[runs]``, of probabilities ``[runs, 20, 20]``; NaN where they are not finite."""
    accuracies = CLASSIFICATION.judge(said, torch.arange(WAYS).expand(len(said), -1))
    return (1 - accuracies.double()).round(decimals=6)  # of twentieths, float32 leaves some dust


def row(name: str, errors: Tensor) -> Row:
    """One result: the mean of the runs' errors, with its confidence half-width over the runs by Student's t."""
    mean, ci95, _, _, runs = paired_difference(errors.tolist(), [0.0] * len(errors))
    return {"name": name, "error": mean, "ci95": ci95, "runs": runs, "errors": errors.tolist()}


def lake_table(rows: Sequence[Row]) -> Table:
    """A row per result, and below them what was published."""
    table = Table(title=f"Lake's runs: {WAYS}-way 1-shot within alphabets, each query judged on its own")
    for column in ("", "error"):
        table.add_column(column, overflow="fold")
    for own in rows:
        table.add_row(own["name"], CLASSIFICATION.show(own["error"], own["ci95"]))
    table.add_section()
    for name, error in PUBLISHED.items():
        table.add_row(f"{name} (published)", f"{error:.1%}")
    return table


def _lines(result: Row, runs: Sequence[Run]) -> list[Row]:
    """A line per run, for the table in CSV."""
    return [
        {"name": result["name"], "run": number, "alphabet": run.alphabet, "error": error}
        for number, (run, error) in enumerate(zip(runs, result["errors"]), start=1)
    ]
