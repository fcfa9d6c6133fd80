"""Doing planned tests, none of them twice."""

import csv
import io
import time
from collections.abc import Iterable, Sequence
from math import nan
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning import Trainer
from rich.progress import track

from fewshot.checkpoints import SafeCheckpointIO
from fewshot.errors import FewShotError
from fewshot.evaluation.load import load
from fewshot.evaluation.plan import Point, named
from fewshot.evaluation.report import KINDS, Report
from fewshot.evaluation.tested import Row, read_tested, write_tested
from fewshot.files import finite, write_json, write_text
from fewshot.objectives import BY_METRIC
from fewshot.quiet import quietly
from fewshot.terminal import console

Accelerator = Literal["auto", "cpu", "gpu", "mps"]

COLUMNS = (
    "name", "algorithm", "knob", "value", "metric", "score", "std", "ci95", "before", "loss", "episodes", "ways",
    "shots", "queries", "transductive", "adaptation_steps", "batch_norm", "split", "split_digest", "rotations", "seed",
    "seconds", "checkpoint",
)  # fmt: skip


def measure(points: Sequence[Point], folder: Path, accelerator: Accelerator) -> list[Row]:
    """Does the tests that are not in ``folder/tested.json`` yet.

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
    for point in track(missing, description="Testing", disable=not missing, console=console()):
        if point.key not in known:
            known[point.key] = _test(point, accelerator)
            write_tested(tested, known.values())
    rows = [
        {
            **known[point.key],
            "name": point.name,
            "knob": point.knob,
            "value": point.value,
            "checkpoint": str(point.path),
        }
        for point in points
    ]
    write_json(folder / "results.json", rows)
    write_csv(
        folder / "results.csv", [{**row, "score": score(row), "before": score(row, "_before")} for row in rows], COLUMNS
    )
    return rows


def score(row: Row, suffix: str = "") -> Any:
    """The mean of the row's metric over the episodes, or with ``_before`` that before adaptation, if there is one."""
    return row.get(row["metric"] + suffix)


def drawn(values: Iterable[float | None], scale: int) -> list[float]:
    """What a figure draws of them: nothing where there is no finite number."""
    return [nan if value is None else scale * value for value in values]


def label(name: str, transductive: bool | None) -> str:
    """What to call a learner where others stand beside it: how it judges the queries makes a difference."""
    return name if transductive is None else f"{name} ({KINDS[transductive]})"


def shown(row: Row) -> str:
    """The same with its confidence half-width, as people read it."""
    return BY_METRIC[row["metric"]].show(score(row), row["ci95"])


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
