"""Doing planned tests, none of them twice."""

import csv
import io
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from math import nan
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning import Trainer
from rich.progress import track

from fewshot.checkpoints import SafeCheckpointIO
from fewshot.errors import CannotDoError, FewShotError
from fewshot.evaluation.load import load
from fewshot.evaluation.plan import Point, named
from fewshot.evaluation.report import KINDS, Report
from fewshot.evaluation.tested import Row, read_tested, write_tested
from fewshot.files import finite, write_json, write_text
from fewshot.objectives import BY_METRIC
from fewshot.quiet import quietly
from fewshot.terminal import console

RESULTS = ("results.json", "results.csv", "accuracy.png", "mse.png")
NOTE = (
    "Transductive learners see all queries of an episode together, and profit from it; inductive ones see each alone."
)

Accelerator = Literal["auto", "cpu", "gpu", "mps"]

COLUMNS = (
    "name", "algorithm", "knob", "value", "metric", "score", "std", "ci95", "before", "loss", "episodes", "ways",
    "shots", "queries", "transductive", "adaptation_steps", "batch_norm", "split", "split_digest", "rotations", "seed",
    "seconds", "checkpoint",
)  # fmt: skip


def measure(points: Sequence[Point], folder: Path, accelerator: Accelerator) -> list[Row]:
    """Does the tests that are not in ``folder/tested.json`` yet, and leaves out what a learner cannot do.

    Args:
        points: The tests.
        folder: Where ``tested.json``, ``results.json`` and ``results.csv`` are written.
        accelerator: The Trainer's.

    Returns:
        The results in the order of the tests, which are those in ``results.json`` and ``results.csv``.

    Raises:
        FewShotError: If a test is refused, or the folder cannot be written.
    """
    tested = folder / "tested.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        known = read_tested(tested)
    except OSError as error:
        raise FewShotError(f"--folder {folder} cannot be used: {error.strerror}") from None
    missing = [point for point in points if point.key not in known]
    left_out: dict[str, CannotDoError] = {}
    for point in track(missing, description="Testing", disable=not missing, console=console()):
        if point.key not in known:
            try:
                known[point.key] = _test(point, accelerator)
            except CannotDoError as error:
                left_out[point.key] = error
            else:
                write_tested(tested, known.values())
    points = _without(points, left_out)
    _set_aside(folder, {point.key for point in points})
    rows = [
        {
            **known[point.key],
            "name": point.name,
            "knob": point.knob,
            "value": point.value,
            "recipe": point.recipe,
            "training": point.training,
            "checkpoint": str(point.path),
        }
        for point in points
    ]
    write_json(folder / "results.json", rows)
    write_csv(
        folder / "results.csv", [{**row, "score": score(row), "before": score(row, "_before")} for row in rows], COLUMNS
    )
    return rows


def _without(points: Sequence[Point], left_out: Mapping[str, CannotDoError]) -> list[Point]:
    """The tests that could be done; says which could not.

    Raises:
        CannotDoError: Why the first could not be done, if none could.
    """
    kept = [point for point in points if point.key not in left_out]
    if not kept:
        raise next(iter(left_out.values()))
    for point in points:
        if point.key in left_out:
            where = f"{point.knob} = {point.value} of " if point.knob else ""
            console().print(f"Left out: {where}{left_out[point.key]}", soft_wrap=True)
    return kept


def _set_aside(folder: Path, keys: set[str]) -> None:
    """Keeps what an earlier command wrote into a folder, if that is more than a part of what comes."""
    try:
        before = {row["key"] for row in json.loads((folder / "results.json").read_text())}
    except (OSError, ValueError, TypeError, KeyError):
        return
    if before <= keys:
        return
    number = next(number for number in count(1) if not (folder / f"earlier_{number}").exists())
    aside = folder / f"earlier_{number}"
    aside.mkdir()
    for name in (*RESULTS, "compare.json", "compare.csv", "difference.png"):
        if (folder / name).exists():
            (folder / name).replace(aside / name)
    console().print(f"Moved what an earlier command wrote with other options to {aside}", soft_wrap=True)


def score(row: Row, suffix: str = "") -> Any:
    """The mean of the row's metric over the episodes, or with ``_before`` that before adaptation, if there is one."""
    return row.get(row["metric"] + suffix)


def drawn(values: Iterable[float | None], scale: int) -> list[float]:
    """What a figure draws of them: nothing where there is no finite number."""
    return [nan if value is None else scale * value for value in values]


def label(name: str, transductive: bool | None) -> str:
    """What to call a learner where others stand beside it: how it judges the queries makes a difference."""
    return name if transductive is None else f"{name} ({KINDS[transductive]})"


def kinds_note(kinds: Iterable[bool | None]) -> str:
    """What to say below a table where learners of both kinds are compared; nothing where they are of one."""
    return NOTE if {True, False} <= set(kinds) else ""


def shown(row: Row) -> str:
    """The row's score with its confidence half-width, as people read it; of several trainings, their spread, too."""
    objective = BY_METRIC[row["metric"]]
    spread = f", spread {objective.show(row['spread'])}" if "spread" in row else ""
    return objective.show(score(row), row["ci95"]) + spread


def write_csv(file: Path, rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Writes a line of column names and a line per row, whole or not at all."""
    stream = io.StringIO(newline="")
    table = csv.DictWriter(stream, columns, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_text(file, stream.getvalue())


def _test(point: Point, accelerator: Accelerator) -> Row:
    start = time.perf_counter()
    with named(point.path), quietly():
        learner = load(point.path, point.options)
        trainer = Trainer(
            accelerator=accelerator,
            devices=1,  # so that the order of the episodes is theirs
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            inference_mode=False,  # MAML takes gradients while it is tested
            plugins=[SafeCheckpointIO()],
        )
        trainer.test(learner.module, learner.data, ckpt_path=str(point.path), verbose=False)
    return {
        **Report.report(trainer),
        "seconds": round(time.perf_counter() - start, 2),
        "key": point.key,
        "scores": finite([round(value, 6) for value in learner.module.episode_scores]),
    }
