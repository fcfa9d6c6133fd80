"""``fewshot curves``: training curves of several runs over one another, read back from TensorBoard's logs."""

import json
import re
from collections.abc import Sequence
from math import inf
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml
from rich.table import Table
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fewshot.errors import FewShotError
from fewshot.evaluation.measure import label as labelled
from fewshot.evaluation.measure import write_csv
from fewshot.evaluation.plan import tell_apart
from fewshot.plots import curves_figure, save
from fewshot.terminal import console

DEFAULT_TAG = "val/accuracy"
STARTED_AT = "train/started_at"
"""Where a run logs the outer step that it started from: not 0 if it was resumed."""

LEARNER = "learner.json"
"""Where a run notes whether its learner is transductive."""

SECTION = "weights/"
"""Where a run logs learned rates, behind loss and accuracy; their names do without it, as before 0.5."""


class Curve(NamedTuple):
    """One logged value of a run.

    Attributes:
        steps: Outer steps.
        values: The value after each.
        minutes: Minutes of training until then.
    """

    steps: list[int]
    values: list[float]
    minutes: list[float]


def curves(
    runs: list[Path],
    tag: str = DEFAULT_TAG,
    smoothing: float = 0.6,
    folder: Path = Path("logs/curves"),
) -> dict[str, Curve]:
    """Draws what several runs logged, raw and smoothed, over outer steps and over minutes.

    Writes curves.png and curves.csv, or curves_<tag>.png and .csv for another tag than val/accuracy, and prints a
    table. The legend says of a learner whether it is transductive.

    Args:
        runs: Folders of runs, as in [logs/omniglot_maml,logs/omniglot_protonet]. Of a run that was started again, the
            latest start counts, together with what it resumed.
        tag: What to draw, as TensorBoard calls it. inner_lr draws all learned rates, weights/inner_lr/....
        smoothing: Weight of the past in the smoothed curve, 0 to 1, as in TensorBoard. Curves of fewer than twenty
            points are not smoothed.
        folder: Where the results go.

    Returns:
        The curves by name.

    Raises:
        FewShotError: If a run has no such log, or a number is out of range.
    """
    if not runs:
        raise FewShotError("no runs to draw: give some, as in --runs [logs/a,logs/b]")
    if not 0 <= smoothing < 1:
        raise FewShotError(f"smoothing must be at least 0 and less than 1, not {smoothing}")
    tag = tag.removeprefix(SECTION)
    drawn = {}
    for own, run in zip(tell_apart([run.resolve().name for run in runs], runs), runs):
        label = labelled(own, is_transductive(run))
        for name, curve in read_run(run, tag).items():
            drawn[label if name == tag else name if len(runs) == 1 else f"{label}: {name}"] = curve
    folder.mkdir(parents=True, exist_ok=True)
    percent, file = tag.endswith("accuracy"), file_of(tag)
    save(curves_figure(drawn, ylabel=tag, percent=percent, smoothing=smoothing), folder / f"{file}.png")
    rows = [
        {"run": name, "tag": tag, "step": step, "minutes": round(minutes, 3), "value": value}
        for name, curve in drawn.items()
        for step, value, minutes in zip(*curve)
    ]
    write_csv(folder / f"{file}.csv", rows, ["run", "tag", "step", "minutes", "value"])
    table = Table(title=tag)
    for column in ("run", "outer steps", "minutes", "first", "lowest", "highest", "last"):
        table.add_column(column, overflow="fold")
    for name, curve in drawn.items():
        numbers = (curve.values[0], np.nanmin(curve.values), np.nanmax(curve.values), curve.values[-1])
        table.add_row(name, str(curve.steps[-1]), f"{curve.minutes[-1]:.1f}", *(f"{number:.4g}" for number in numbers))
    console().print(table)
    console().print(f"Curves: {folder / file}.png, {file}.csv", soft_wrap=True)
    return drawn


def file_of(tag: str) -> str:
    """What the picture and the table of a value are called, so that another value's are not replaced."""
    return "curves" if tag == DEFAULT_TAG else f"curves_{re.sub(r'[^A-Za-z0-9]+', '_', tag)}"


def is_transductive(run: Path) -> bool | None:
    """Whether a run's learner judges the queries of a task together, as it noted; ``None`` if it did not."""
    file = folders_of(run)[-1] / LEARNER
    learner = json.loads(file.read_text()) if file.exists() else {}
    return learner.get("transductive")


def read_run(run: str | Path, tag: str) -> dict[str, Curve]:
    """Reads a value, or all that are called ``tag/...``, over the whole of a run.

    Args:
        run: ``logs/<name>``, ``logs/<name>/fit`` or one ``version_<n>`` in it.
        tag: Name of the value, such as ``val/accuracy``.

    Returns:
        The curves by tag.

    Raises:
        FewShotError: If the value was never logged there.
    """
    read: dict[str, Curve] = {}
    before = 0.0  # minutes of the starts that were resumed
    versions = [scalars for version in folders_of(Path(run)) if (scalars := _read(version))]
    starts = [int(max(scalars[STARTED_AT].values)) if STARTED_AT in scalars else 0 for scalars in versions]
    for number, (scalars, start) in enumerate(zip(versions, starts), 1):
        end = min(starts[number:], default=inf)
        for name, curve in scalars.items():
            if name == tag or name.startswith(f"{tag}/"):
                for step, value, minutes in zip(*curve):
                    if step <= end and (step > start or start == 0):
                        whole = read.setdefault(name, Curve([], [], []))
                        whole.steps.append(step)
                        whole.values.append(value)
                        whole.minutes.append(before + minutes)
        reached = [minutes for curve in scalars.values() for step, _, minutes in zip(*curve) if step <= end]
        before += max(reached, default=0.0)
    if not read:
        others = sorted({name for scalars in versions for name in scalars if name.startswith("val/")})
        raise FewShotError(
            f"{run} has no log of {tag}" + (f", but of {', '.join(others)}: set --tag" if others else "")
        )
    return read


def read_curve(run: str | Path, tag: str) -> Curve:
    """Reads one value over the whole of a run; see :func:`read_run`."""
    curves = read_run(run, tag)
    if tag not in curves:
        raise FewShotError(f"{run} has no log of {tag}, but of {', '.join(curves)}")
    return curves[tag]


def folders_of(run: Path) -> Sequence[Path]:
    """The folder of events of the last start of a run, and before it those that it resumed."""
    if any(run.glob("events.out.tfevents.*")):
        return [run]
    folders = {
        int(folder.name.removeprefix("version_")): folder
        for folder in [*run.glob("version_*"), *run.glob("fit/version_*")]
        if re.fullmatch(r"version_\d+", folder.name)
    }
    versions: list[Path] = []
    for _, folder in sorted(folders.items(), reverse=True):
        versions.insert(0, folder)
        file = folder / "config.yaml"
        options = (yaml.safe_load(file.read_text()) if file.exists() else None) or {}
        resumed = options.get("ckpt_path")
        if resumed is None or Path(resumed).parent.name != options.get("name"):  # from scratch, or from another run
            break
    if not versions:
        raise FewShotError(f"there are no logs of a training in {run}: fewshot fit writes some to logs/<name>/")
    return versions


def _read(version: Path) -> dict[str, Curve]:
    events = EventAccumulator(str(version), size_guidance={"scalars": 0}).Reload()  # 0: all of them
    names = events.Tags()["scalars"]
    if not names:
        return {}
    start = events.Scalars(STARTED_AT)[0].wall_time if STARTED_AT in names else events.FirstEventTimestamp()
    return {
        name.removeprefix(SECTION): Curve(
            [scalar.step for scalar in events.Scalars(name)],
            [scalar.value for scalar in events.Scalars(name)],
            [(scalar.wall_time - start) / 60 for scalar in events.Scalars(name)],
        )
        for name in names
    }
