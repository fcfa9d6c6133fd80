"""``make methods``: few-shot learners of all families on the same episodes, beside what was published."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from fewshot.algorithms import EpisodicModule
from fewshot.errors import at_least
from fewshot.evaluation import read_curve, reuse, sweep
from fewshot.evaluation.measure import Row
from fewshot.evaluation.report import KINDS
from fewshot.evaluation.reuse_report import NIL
from fewshot.files import make_folder
from fewshot.plots import save
from fewshot.studies.driver import best, config_of, train
from fewshot.studies.figures import Figure, published, shown, write_figures
from fewshot.studies.methods_figure import methods_figure
from fewshot.studies.tables import markdown, write_tables

SETTINGS = [(5, 1), (5, 5), (20, 1), (20, 5)]
"""Ways and shots."""

SHORT = {"trainer.max_steps": "6000"}
SHORT_MAML = {
    "model.test_adaptation_steps": "1",
    "trainer.max_steps": "4000",
    "trainer.val_check_interval": "500",
}
SHORT_PROTONET = {
    **SHORT,
    "data.augment": "null",
    "data.mirrors": "false",
    "trainer.gradient_clip_val": "null",
    "model.network.downsample": "stride",
    "model.network.cells": "2",
    "model.meta_lr": "0.003",
}
HEAD_ALONE = {"model.adapt": "head", "model.adaptation_steps": "5", "model.test_adaptation_steps": "5"}
TWENTY = {"data.ways": "20", "data.meta_batch_size": "4", "trainer.max_steps": "2500"}


class Training(NamedTuple):
    """One training.

    Attributes:
        method: What the field calls it.
        year: When it was published.
        config: Its config.
        ways: At which it is tested.
        changes: Of the config's options: short trainings of much the same length.
    """

    method: str
    year: int
    config: str
    ways: tuple[int, ...]
    changes: dict[str, str]


TRAININGS = {
    "siamese": Training("Siamese", 2015, "omniglot_siamese", (5, 20), SHORT),
    "matching": Training("Matching", 2016, "omniglot_matching", (5, 20), SHORT),
    "mann": Training("MANN", 2016, "omniglot_mann", (5,), SHORT),
    "protonet": Training("ProtoNet", 2017, "omniglot_protonet", (5, 20), SHORT_PROTONET),
    "maml": Training("MAML", 2017, "omniglot_maml", (5,), SHORT_MAML),
    "maml_20way": Training("MAML", 2017, "omniglot_maml", (20,), {**SHORT_MAML, **TWENTY}),
    "relation": Training("Relation", 2018, "omniglot_relation", (5, 20), {"trainer.max_steps": "3000"}),
    "ridge": Training("Ridge (R2-D2)", 2019, "omniglot_ridge", (5, 20), SHORT),
    "anil_20way": Training("ANIL", 2020, "omniglot_maml", (20,), {**SHORT_MAML, **HEAD_ALONE, **TWENTY}),
}
"""The trainings by name."""

NIL_OF = "anil_20way"
"""Whose body is tested without a head."""


def methods(
    folder: Path = Path("methods"),
    configs: Path | None = None,
    max_steps: int | None = None,
    episodes: int = 600,
    root: Path | None = None,
) -> None:
    """Trains what is not trained yet, tests it, and writes the tables and the figure of docs/methods.md.

    Interrupted, it goes on where it was.

    Args:
        folder: Where everything goes; the tables and figures to report/ in it.
        configs: Folder of the config files; those that come with fewshot if not given.
        max_steps: Outer steps of each training; those of the study if not given.
        episodes: Test episodes.
        root: Omniglot's folder; see ``fewshot fit --data.help OmniglotDataModule``.
    """
    at_least(2, episodes=episodes)
    place = {} if root is None else {"root": str(root)}
    for name, training in TRAININGS.items():
        options = {**training.changes, **{f"data.{option}": value for option, value in place.items()}}
        train(name, config_of(training.config, configs), options, folder, max_steps)
    data = {"test_episodes": episodes, "test_queries": 5, **place}
    rows = {(name, ways): _tested(folder, name, ways, data) for name, own in TRAININGS.items() for ways in own.ways}
    measured = [_measured(name, row) for (name, _), own in rows.items() for row in own]
    measured += _nil(folder, data)
    report = make_folder(folder / "report")
    write_figures(report / "measured.tsv", measured)
    save(methods_figure(published(), measured), report / "methods.png")
    tables = {"Accuracy": accuracy_table(published(), measured), "Costs": costs_table(folder, rows)}
    write_tables(report, "methods", tables)


def _tested(folder: Path, name: str, ways: int, data: Mapping[str, object]) -> list[Row]:
    """A run tested at one number of ways and all numbers of shots."""
    place = folder / "results" / f"{name}_{ways}"
    shots = [shots for own, shots in SETTINGS if own == ways]
    return sweep(best(folder, [name]), shots=shots, folder=place, data={**data, "test_ways": ways})


def _measured(name: str, row: Row) -> Figure:
    method, year, *_ = TRAININGS[name]
    conditions = f"{name}, {'transductive' if row['transductive'] else 'inductive'}"
    accuracy, ci95 = (round(100 * row[key], 2) for key in ("accuracy", "ci95"))
    return Figure(method, year, row["ways"], row["shots"], accuracy, ci95, "make methods", conditions)


def _nil(folder: Path, data: Mapping[str, object]) -> list[Figure]:
    """The body of ANIL without a head."""
    figures = []
    for ways, shots in SETTINGS:
        if ways in TRAININGS[NIL_OF].ways:
            place = folder / "results" / f"nil_{ways}_{shots}"
            found = reuse(best(folder, [NIL_OF]), 2, place, {**data, "test_shots": shots})
            (row,) = (row for row in found.freezing if row["frozen"] == NIL)
            accuracy, ci95 = (round(100 * row[key], 2) for key in ("score", "score_ci95"))
            figures.append(Figure(NIL, 2020, ways, shots, accuracy, ci95, "make methods", f"{NIL_OF}, transductive"))
    return figures


def accuracy_table(published: Sequence[Figure], measured: Sequence[Figure]) -> str:
    """A row per method that was measured: in each cell what was measured, and what was published."""
    lines = []
    for method in dict.fromkeys(figure.method for figure in measured):
        cells = []
        for setting in SETTINGS:
            ours, theirs = (
                [shown(figure) for figure in some if (figure.method, figure.ways, figure.shots) == (method, *setting)]
                for some in (measured, published)
            )
            cells.append(" / ".join([*(ours or [""]), *(theirs or [""])]).strip(" /"))
        kind = next(_kind(figure) for figure in measured if figure.method == method)
        lines.append((method + kind, *cells))
    columns = ("method", *(f"{ways}-way {shots}-shot" for ways, shots in SETTINGS))
    return markdown(columns, lines)


def _kind(figure: Figure) -> str:
    """Whether a figure's learner saw the queries together, to put behind its name."""
    said = [kind for kind in KINDS.values() if kind in figure.conditions.split(", ")]
    return f" ({said[0]})" if said else ""


def costs_table(folder: Path, rows: Mapping[tuple[str, int], Sequence[Row]]) -> str:
    """A row per training: outer steps, minutes, milliseconds per test episode, weights."""
    lines = []
    for (name, ways), own in rows.items():
        curve = read_curve(folder / "logs" / name, "val/accuracy")
        (checkpoint,) = best(folder, [name])
        weights = sum(weight.numel() for weight in EpisodicModule.load_from_checkpoint(checkpoint).parameters())
        times = (f"{1000 * row['seconds'] / row['episodes']:.1f}" for row in own)
        lines.append((name, ways, curve.steps[-1], f"{curve.minutes[-1]:.1f}", *times, f"{weights:,}"))
    columns = ("run", "ways", "outer steps", "minutes", "ms, 1-shot episode", "ms, 5-shot episode", "weights")
    return markdown(columns, lines)
