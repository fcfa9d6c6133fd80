"""Doing planned tests, none of them twice."""

import csv
import io
import json
import os
import time
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning import Trainer
from rich.progress import track

from fewshot.checkpoints import SafeCheckpointIO
from fewshot.errors import FewShotError
from fewshot.evaluation.load import load
from fewshot.evaluation.plan import Point, named
from fewshot.evaluation.report import Report
from fewshot.objectives import BY_METRIC
from fewshot.quiet import quietly

Accelerator = Literal["auto", "cpu", "gpu", "mps"]

Row = dict[str, Any]
"""One result: what ``test.json`` says, and ``name``, ``knob``, ``value``, ``seconds``, ``scores`` per episode."""

COLUMNS = (
    "name", "algorithm", "knob", "value", "metric", "score", "std", "ci95", "before", "loss", "episodes", "ways",
    "shots", "queries", "adaptation_steps", "batch_norm", "split", "split_digest", "rotations", "seed", "seconds",
    "checkpoint",
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
        known = {row["key"]: row for row in json.loads(tested.read_text())} if tested.exists() else {}
    except OSError as error:
        raise FewShotError(f"--folder {folder} cannot be used: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise FewShotError(f"{tested} is damaged: delete it, or give another --folder") from None
    missing = [point for point in points if point.key not in known]
    for point in track(missing, description="Testing", disable=not missing):
        if point.key not in known:
            known[point.key] = _test(point, accelerator)
            _write(tested, json.dumps([*known.values()]))  # read by Python alone, which knows NaN
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


def shown(row: Row) -> str:
    """The same with its confidence half-width, as people read it."""
    return BY_METRIC[row["metric"]].show(score(row), row["ci95"])


def write_json(file: Path, rows: Sequence[Row]) -> None:
    """Writes a line per row, whole or not at all; what is not finite as null, as JSON has no word for it."""
    _write(file, "[\n" + ",\n".join(json.dumps(_finite(row)) for row in rows) + "\n]\n")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def write_csv(file: Path, rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Writes a line of column names and a line per row, whole or not at all."""
    stream = io.StringIO(newline="")
    table = csv.DictWriter(stream, columns, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    _write(file, stream.getvalue())


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
        "scores": [round(value, 6) for value in learner.module.episode_scores],
    }


def _write(file: Path, text: str) -> None:
    temporary = file.with_name(f".{file.name}.part")
    try:
        temporary.write_text(text)
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
