"""``fewshot curves``: training curves of several runs over one another, read back from TensorBoard's logs."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import yaml
from rich.console import Console
from rich.table import Table
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fewshot.errors import FewShotError
from fewshot.evaluation.measure import labels, write_table
from fewshot.plots import curves_figure


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
    tag: str = "val/accuracy",
    smoothing: float = 0.6,
    folder: Path = Path("logs/curves"),
) -> dict[str, Curve]:
    """Draws what several runs logged, raw and smoothed, over outer steps and over minutes.

    Writes curves.png and curves.csv and prints a table.

    Args:
        runs: Folders of runs, as in [logs/omniglot_maml,logs/omniglot_protonet]. Of a run that was started again, the
            latest start counts, together with what it resumed.
        tag: What to draw, as TensorBoard calls it. inner_lr draws all learned rates, inner_lr/....
        smoothing: Weight of the past in the smoothed curve, 0 to 1, as in TensorBoard.
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
    drawn = {}
    for label, run in zip(labels([run.name for run in runs], runs), runs):
        for name, curve in read_run(run, tag).items():
            drawn[label if name == tag else name if len(runs) == 1 else f"{label}: {name}"] = curve
    folder.mkdir(parents=True, exist_ok=True)
    percent = tag.endswith("accuracy")
    curves_figure(drawn, ylabel=tag, percent=percent, smoothing=smoothing).savefig(folder / "curves.png", dpi=150)
    rows = [
        {"run": name, "tag": tag, "step": step, "minutes": round(minutes, 3), "value": value}
        for name, curve in drawn.items()
        for step, value, minutes in zip(*curve)
    ]
    write_table(folder / "curves.csv", rows, ["run", "tag", "step", "minutes", "value"])
    table = Table("run", "outer steps", "minutes", "first", "highest", "last", title=tag)
    for name, curve in drawn.items():
        numbers = (curve.values[0], max(curve.values), curve.values[-1])
        table.add_row(name, str(curve.steps[-1]), f"{curve.minutes[-1]:.1f}", *(f"{number:.4g}" for number in numbers))
    console = Console()
    console.print(table)
    console.print(f"Curves: {folder / 'curves.png'}, curves.csv", soft_wrap=True)
    return drawn


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
    for version in _versions(Path(run)):
        for name, (steps, values, minutes) in _read(version, tag).items():
            past = read.get(name, Curve([], [], []))
            kept = sum(step < steps[0] for step in past.steps)  # a run resumes where its checkpoint was made
            before = past.minutes[kept - 1] if kept else 0.0
            read[name] = Curve(
                past.steps[:kept] + steps,
                past.values[:kept] + values,
                past.minutes[:kept] + [before + minute for minute in minutes],
            )
    if not read:
        raise FewShotError(f"{run} has no log of {tag}")
    return read


def read_curve(run: str | Path, tag: str) -> Curve:
    """Reads one value over the whole of a run; see :func:`read_run`."""
    curves = read_run(run, tag)
    if tag not in curves:
        raise FewShotError(f"{run} has no log of {tag}, but of {', '.join(curves)}")
    return curves[tag]


def _versions(run: Path) -> Sequence[Path]:
    """The folder of events of the last start of a run, and before it those that it resumed."""
    if any(run.glob("events.out.tfevents.*")):
        return [run]
    folders = [*run.glob("version_*"), *run.glob("fit/version_*")]
    newest_first = sorted(folders, key=lambda folder: int(folder.name.rpartition("_")[2]), reverse=True)
    versions: list[Path] = []
    for folder in newest_first:
        versions.insert(0, folder)
        options = folder / "config.yaml"
        if not options.exists() or yaml.safe_load(options.read_text()).get("ckpt_path") is None:
            break
    if not versions:
        raise FewShotError(f"there are no logs of a training in {run}: fewshot fit writes some to logs/<name>/")
    return versions


def _read(version: Path, tag: str) -> dict[str, Curve]:
    events = EventAccumulator(str(version), size_guidance={"scalars": 0}).Reload()  # 0: all of them
    names = [name for name in events.Tags()["scalars"] if name == tag or name.startswith(f"{tag}/")]
    if not names:
        return {}
    start = events.FirstEventTimestamp()
    return {
        name: Curve(
            [scalar.step for scalar in events.Scalars(name)],
            [scalar.value for scalar in events.Scalars(name)],
            [(scalar.wall_time - start) / 60 for scalar in events.Scalars(name)],
        )
        for name in names
    }
