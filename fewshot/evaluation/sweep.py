"""``fewshot sweep``: how the score of trained learners depends on one thing at test time."""

import shutil
from collections.abc import Sequence
from math import nan
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.table import Table
from torch.utils.tensorboard import SummaryWriter

from fewshot.errors import FewShotError
from fewshot.evaluation.measure import Accelerator, Row, drawn, kinds_note, label, measure, score, shown
from fewshot.evaluation.plan import plan
from fewshot.evaluation.trainings import by_recipe
from fewshot.objectives import BY_METRIC
from fewshot.plots import Line, lines_figure, save
from fewshot.terminal import console


def sweep(
    ckpt_paths: list[Path],
    shots: list[int] | None = None,
    adaptation_steps: list[int] | None = None,
    ways: list[int] | None = None,
    queries: list[int] | None = None,
    folder: Path | None = None,
    data: dict[str, Any] = {},  # noqa: B006 (jsonargparse shows it)
    model: dict[str, Any] = {},  # noqa: B006
    trust: list[str] = [],  # noqa: B006
    accelerator: Accelerator = "auto",
) -> list[Row]:
    """Meta-tests any number of checkpoints at several values of shots, adaptation steps, ways or queries.

    All see the same episodes. Writes results.json, results.csv and accuracy.png (mse.png for regression), and
    TensorBoard's scalars and figure, and prints the table. What was tested before in the same folder is not tested
    again, so an interrupted sweep goes on with what is missing. What a learner cannot do is left out. Trainings of one
    recipe, which differ in --data.train_seed alone, are one row: their mean, its confidence half-width over trainings
    and episodes, and the standard deviation between them. To train some: for seed in 0 1 2; do fewshot fit --config
    omniglot_maml --name maml_$seed --seed_everything $seed --data.train_seed $seed; done

    Args:
        ckpt_paths: Checkpoints that ``fewshot fit`` wrote, as in [a.ckpt,b.ckpt], or names of those that
            come with fewshot, as in [pretrained/maml_5w1s,pretrained/protonet_5w1s].
        shots: Support examples per class (per task, for regression), as in [1,4,6,8,10].
        adaptation_steps: Inner gradient steps, for learners that take some.
        ways: Classes per task, for learners whose number of classes is open.
        queries: Query examples per class (per task, for regression).
        folder: Where the results go; logs/sweep_<what is varied> if not given.
        data: Options of the data for all checkpoints as in ``fewshot test``: --data.root, --data.test_episodes, ...
        model: Options of the learners for all checkpoints as in ``fewshot test``: --model.batch_norm, ...
        trust: Modules of your own, as in [my.module], whose classes the checkpoints may use.
        accelerator: Where to run.

    Returns:
        A result per value and checkpoint.

    Raises:
        FewShotError: If no checkpoint or no values are given, one of them is wrong, or the episodes would not be the
            same for all.
    """
    knobs = {"shots": shots, "adaptation_steps": adaptation_steps, "ways": ways, "queries": queries}
    points = plan(ckpt_paths, knobs, data, model, trust)
    if not points:
        raise FewShotError("no checkpoint to test: give some, as in --ckpt_paths [a.ckpt,b.ckpt]")
    knob = points[0].knob
    if knob is None:
        raise FewShotError("nothing to vary: give the values of one, as in --shots [1,4,6,8,10]")
    folder = folder or Path("logs", f"sweep_{knob}")
    rows = measure(points, folder, accelerator)
    recipes = by_recipe(rows)
    objective = BY_METRIC[rows[0]["metric"]]
    figure = lines_figure(score_lines(recipes), xlabel=knob.replace("_", " "), ylabel=f"test {objective.label}")
    save(figure, folder / f"{objective.metric}.png")
    log(rows, figure, folder / "tensorboard")
    console().print(score_table(recipes))
    if note := kinds_note(row["transductive"] for row in rows):
        console().print(note)
    console().print(f"Results: {folder / 'results.json'}, results.csv, {objective.metric}.png", soft_wrap=True)
    return rows


def log(rows: Sequence[Row], figure: Figure, folder: Path) -> None:
    """Writes the scores for TensorBoard, a run per checkpoint whose steps are the values, and the figure."""
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier sweep
    tag = f"test/{rows[0]['metric']}_over_{rows[0]['knob']}"
    for number, name in enumerate(dict.fromkeys(row["name"] for row in rows)):
        own = [row for row in rows if row["name"] == name]
        with SummaryWriter(str(folder / name.replace("/", "_")[-80:])) as writer:
            for row in own:
                writer.add_scalar(tag, nan if score(row) is None else score(row), row["value"])
            if number == 0:
                writer.add_figure(f"{tag}/figure", figure)  # TensorBoard shows one kind of data per tag


def score_lines(rows: Sequence[Row]) -> dict[str, Line]:
    """The scores of each checkpoint over the values with their confidence half-widths, accuracies in percent."""
    lines, scale = {}, BY_METRIC[rows[0]["metric"]].scale
    for name in dict.fromkeys(row["name"] for row in rows):
        own = [row for row in rows if row["name"] == name]
        y, ci = drawn(map(score, own), scale), drawn((row["ci95"] for row in own), scale)
        lines[label(name, own[0]["transductive"])] = Line([row["value"] for row in own], y, ci)
    return lines


def score_table(rows: Sequence[Row]) -> Table:
    """A row per checkpoint, a column per value."""
    first, knob = rows[0], rows[0]["knob"]
    units = {"ways": "-way", "shots": "-shot", "queries": " queries"}
    fixed = " ".join(f"{first[name]}{unit}" for name, unit in units.items() if name != knob and name in first)
    table = Table(title=f"{first['metric']}, {fixed}, {first['episodes']} episodes, split {first['split']}")
    values = dict.fromkeys(row["value"] for row in rows)
    for column in ["", *(f"{knob} = {value}" for value in values)]:
        table.add_column(column, overflow="fold")
    for name in dict.fromkeys(row["name"] for row in rows):
        own = [row for row in rows if row["name"] == name]
        cells = {row["value"]: shown(row) for row in own}
        table.add_row(label(name, own[0]["transductive"]), *(cells.get(value, "") for value in values))
    return table
