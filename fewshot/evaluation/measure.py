"""Testing several checkpoints on the same episodes, without doing any test twice."""

import csv
import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from pytorch_lightning import Trainer
from rich.progress import track

from fewshot import __version__
from fewshot.callbacks import Report
from fewshot.checkpoints import SafeCheckpointIO
from fewshot.data import EpisodicDataModule
from fewshot.errors import FewShotError
from fewshot.evaluation.load import Loaded, load

Row = dict[str, Any]
"""One result: what ``test.json`` says, and ``name``, ``knob``, ``value``, ``seconds``, ``accuracies`` per episode."""

KNOBS = {
    "shots": "--data.test_shots",
    "adaptation_steps": "--model.test_adaptation_steps",
    "ways": "--data.test_ways",
    "queries": "--data.test_queries",
}
"""What may be varied at test time, and the option of ``fewshot test`` that does."""

COLUMNS = (
    "name", "algorithm", "knob", "value", "accuracy", "std", "ci95", "accuracy_before", "loss", "episodes", "ways",
    "shots", "queries", "adaptation_steps", "batch_norm", "split", "split_digest", "rotations", "seed", "seconds",
    "checkpoint",
)  # fmt: skip


class Point(NamedTuple):
    """One test to be done.

    Attributes:
        label: What to call the checkpoint.
        path: Where it is.
        knob: What is varied; ``None`` if nothing.
        value: Its value.
        learner: What will be tested.
        key: Fingerprint of the weights and of all options.
    """

    label: str
    path: Path
    knob: str | None
    value: int | None
    learner: Loaded
    key: str


def one_knob(knobs: Mapping[str, list[int] | None]) -> tuple[str | None, list[int | None]]:
    """The one knob that was given, and its values in order; ``None`` and ``[None]`` if none was.

    Raises:
        FewShotError: If several were given, or no values.
    """
    given = {knob: sorted(set(values)) for knob, values in knobs.items() if values is not None}
    if len(given) > 1:
        raise FewShotError(f"{' and '.join(f'--{knob}' for knob in given)} vary at once: give the values of one")
    for knob, values in given.items():
        if not values:
            raise FewShotError(f"--{knob} has no values: give some, as in --{knob} [1,4]")
        return knob, list(values)
    return None, [None]


def measure(
    ckpt_paths: Sequence[Path],
    knobs: Mapping[str, list[int] | None],
    folder: Path,
    *,
    data: Mapping[str, Any],
    model: Mapping[str, Any],
    accelerator: str,
) -> list[Row]:
    """Tests every checkpoint at every value of one knob; ``folder/results.json`` has what was done before.

    Args:
        ckpt_paths: The checkpoints.
        knobs: The values of one knob; all others ``None``.
        folder: Where ``results.json`` and ``results.csv`` are kept. A result is used again if checkpoint, options and
            version of fewshot are the same.
        data: Options of the data for all checkpoints, as in ``fewshot test``.
        model: Options of the learner for all checkpoints.
        accelerator: The Trainer's.

    Returns:
        The results, value after value, checkpoint after checkpoint.

    Raises:
        FewShotError: If a checkpoint or an option is wrong, or the episodes would not be the same for all.
    """
    knob, values = one_knob(knobs)
    words = ["--data.meta_batch_size=10"]  # for speed: a test's result does not depend on it
    for part, options in {"data": data, "model": model}.items():
        words += [f"--{part}.{name}={_typed(value)}" for name, value in options.items()]
    points = [point for value in values for point in _points(ckpt_paths, knob, value, [*words, *_option(knob, value)])]
    file = folder / "results.json"
    known = {row["key"]: row for row in json.loads(file.read_text())} if file.exists() else {}
    missing = [point for point in points if point.key not in known]
    for point in track(missing, description="Testing", disable=not missing):
        known[point.key] = _test(point, accelerator)
        write_rows(file, known.values())
    rows = [{**known[point.key], **_identity(point)} for point in points]
    for ours, theirs in pairwise(rows):
        if ours["split_digest"] != theirs["split_digest"]:
            raise FewShotError(
                f"{ours['name']} and {theirs['name']} were tested on different splits of the data (digests "
                f"{ours['split_digest']} and {theirs['split_digest']}): set --data.split or --data.root"
            )
    write_table(folder / "results.csv", rows)
    return rows


def write_rows(file: Path, rows: Iterable[Row]) -> None:
    """Writes JSON, a line per row, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.part")
    temporary.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    os.replace(temporary, file)


def write_table(file: Path, rows: Sequence[Row], columns: Sequence[str] = COLUMNS) -> None:
    """Writes CSV with a line of column names."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as stream:
        table = csv.DictWriter(stream, columns, extrasaction="ignore")
        table.writeheader()
        table.writerows(rows)


def labels(names: Sequence[str], paths: Sequence[Path]) -> list[str]:
    """Run names where they tell the checkpoints apart, else their paths."""
    return list(names) if len(set(names)) == len(names) else [str(path) for path in paths]


def _typed(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _option(knob: str | None, value: int | None) -> list[str]:
    return [] if knob is None else [f"{KNOBS[knob]}={value}"]


def _points(paths: Sequence[Path], knob: str | None, value: int | None, words: list[str]) -> list[Point]:
    """The tests of all checkpoints at one value, on the same episodes."""
    learners = [_load(path, words) for path in paths]
    for (ours, our_path), (theirs, their_path) in pairwise(zip(learners, paths)):
        for (option, here), there in zip(_episodes(ours.data).items(), _episodes(theirs.data).values()):
            if here != there:
                raise FewShotError(
                    f"{our_path} and {their_path} would not be tested on the same episodes, but with {here} and "
                    f"{there}: set {option}"
                )
    names = labels([learner.name for learner in learners], paths)
    points = []
    for name, path, learner in zip(names, paths, learners):
        parts = path.read_bytes(), learner.options.encode(), __version__.encode()
        key = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:16]
        points.append(Point(name, path, knob, value, learner, key))
    return points


def _load(path: Path, words: list[str]) -> Loaded:
    try:
        return load(path, words)
    except FewShotError as error:
        known = str(path) in str(error)
        raise error if known else FewShotError(f"{path}: {error}") from None


def _episodes(data: EpisodicDataModule) -> dict[str, Any]:
    """What decides which episodes a test sees, by the option that sets it."""
    return {
        "--data.split": data.split_name(),
        "--data.split_seed": data.split_seed,
        "--data.seed": data.seed,
        "--data.test_ways": data.test_ways,
        "--data.test_shots": data.test_shots,
        "--data.test_queries": data.test_queries,
        "--data.test_episodes": data.episodes["test"],
        "--data.test_rotations": data.test_rotations,
    }


def _identity(point: Point) -> Row:
    """What a result that was measured before may have been called otherwise."""
    return {"name": point.label, "knob": point.knob, "value": point.value, "checkpoint": str(point.path)}


def _test(point: Point, accelerator: str) -> Row:
    start = time.perf_counter()
    module = point.learner.module
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
    trainer.test(module, point.learner.data, ckpt_path=str(point.path), verbose=False)
    return {
        **Report.report(trainer),
        **_identity(point),
        "seconds": round(time.perf_counter() - start, 2),
        "key": point.key,
        "accuracies": [round(accuracy, 6) for accuracy in module.episode_accuracies],
    }
