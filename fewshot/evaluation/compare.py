"""``fewshot compare``: which of several trained learners is better, on the same episodes."""

from collections.abc import Sequence
from itertools import combinations
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from fewshot.errors import FewShotError
from fewshot.evaluation.measure import Accelerator, Row, drawn, measure, score, write_csv
from fewshot.evaluation.plan import plan
from fewshot.evaluation.trainings import by_recipe
from fewshot.files import write_json
from fewshot.metrics import Difference, difference_of_means
from fewshot.objectives import BY_METRIC
from fewshot.plots import Line, lines_figure, save
from fewshot.terminal import console


def compare(
    ckpt_paths: list[Path],
    shots: list[int] | None = None,
    adaptation_steps: list[int] | None = None,
    ways: list[int] | None = None,
    queries: list[int] | None = None,
    folder: Path = Path("logs/compare"),
    data: dict[str, Any] = {},  # noqa: B006 (jsonargparse shows it)
    model: dict[str, Any] = {},  # noqa: B006
    trust: list[str] = [],  # noqa: B006
    accelerator: Accelerator = "auto",
) -> list[Row]:
    """Compares two or more checkpoints episode by episode: paired difference, its confidence interval, paired t-test.

    All see the same episodes. With values of shots, adaptation steps, ways or queries, they are compared at each of
    them. Writes compare.json and compare.csv, beside results.json and results.csv with each one's score, and
    difference.png if there are several values. What was tested before in the same folder, here or by ``fewshot sweep``,
    is not tested again. Trainings of one recipe, which differ in --data.train_seed alone, are one learner: the test is
    then over trainings and episodes (Welch and Satterthwaite's degrees of freedom). The p-values are of one comparison
    each, not adjusted for their number.

    Args:
        ckpt_paths: Checkpoints that ``fewshot fit`` wrote, as in [a.ckpt,b.ckpt], or names of those that
            come with fewshot, as in [pretrained/maml_5w1s,pretrained/protonet_5w1s].
        shots: Support examples per class (per task, for regression), as in [1,4,6,8,10].
        adaptation_steps: Inner gradient steps, for learners that take some.
        ways: Classes per task, for learners whose number of classes is open.
        queries: Query examples per class (per task, for regression).
        folder: Where the results go.
        data: Options of the data for all checkpoints as in ``fewshot test``: --data.root, --data.test_episodes, ...
        model: Options of the learners for all checkpoints as in ``fewshot test``: --model.batch_norm, ...
        trust: Modules of your own, as in [my.module], whose classes the checkpoints may use.
        accelerator: Where to run.

    Returns:
        A comparison per value and pair of checkpoints.

    Raises:
        FewShotError: If there are fewer than two checkpoints, one of them or an option is wrong, or the episodes would
            not be the same for all.
    """
    if len(ckpt_paths) < 2:
        raise FewShotError("a comparison needs at least two checkpoints: --ckpt_paths [a.ckpt,b.ckpt]")
    knobs = {"shots": shots, "adaptation_steps": adaptation_steps, "ways": ways, "queries": queries}
    rows = measure(plan(ckpt_paths, knobs, data, model, trust), folder, accelerator)
    if rows[0]["episodes"] == 1:
        raise FewShotError("one episode tells nothing of a difference: set --data.test_episodes to more than 1")
    pairs = paired(by_recipe(rows))
    if not pairs:
        left = list(dict.fromkeys(row["name"] for row in rows))
        why = "is left" if len(left) == 1 else "are trainings of one recipe"
        raise FewShotError(f"there are no two learners to compare: {', '.join(left)} {why}")
    write_json(folder / "compare.json", pairs)
    write_csv(folder / "compare.csv", pairs, list(pairs[0]))
    written = "compare.json, compare.csv"
    if len({row["value"] for row in rows}) > 1:
        figure = lines_figure(
            difference_lines(pairs),
            xlabel=pairs[0]["knob"].replace("_", " "),
            ylabel=f"paired difference in {BY_METRIC[pairs[0]['metric']].label}",
            level=0,
        )
        save(figure, folder / "difference.png")
        written += ", difference.png"
    console().print(comparison_table(pairs))
    console().print("(t) transductive: sees all queries of an episode together; (i) inductive: sees each alone.")
    console().print(f"Results: {folder}/: {written}", soft_wrap=True)
    return pairs


def paired(rows: Sequence[Row]) -> list[Row]:
    """Every pair of checkpoints at every value."""
    pairs = []
    for value in dict.fromkeys(row["value"] for row in rows):
        for ours, theirs in combinations([row for row in rows if row["value"] == value], 2):
            difference = _difference(ours, theirs)
            if not isfinite(difference.mean):
                verdict = "not finite"
            elif difference.p < 0.05:
                higher = difference.mean > 0
                verdict = (
                    f"{(ours if higher == BY_METRIC[ours['metric']].higher_is_better else theirs)['name']} is ahead"
                )
            else:
                verdict = "undecided"
            pairs.append(
                {
                    "knob": ours["knob"],
                    "value": value,
                    "first": ours["name"],
                    "second": theirs["name"],
                    "first_transductive": ours.get("transductive"),
                    "second_transductive": theirs.get("transductive"),
                    "metric": ours["metric"],
                    "first_score": score(ours),
                    "second_score": score(theirs),
                    "difference": difference.mean,
                    "ci95": difference.ci95,
                    "t": difference.t,
                    "p": difference.p,
                    "episodes": difference.episodes,
                    "verdict": verdict,
                }
            )
    return pairs


def _difference(ours: Row, theirs: Row) -> Difference:
    """Over the episodes; over the trainings, too, where there are several of a recipe."""
    first, second = (np.array(row.get("trainings", [row["scores"]]), dtype=float) for row in (ours, theirs))
    return difference_of_means(first, second)


def difference_lines(pairs: Sequence[Row]) -> dict[str, Line]:
    """The differences of each pair over the values, of accuracies in percentage points."""
    lines, scale = {}, BY_METRIC[pairs[0]["metric"]].scale
    for first, second in dict.fromkeys((pair["first"], pair["second"]) for pair in pairs):
        own = [pair for pair in pairs if (pair["first"], pair["second"]) == (first, second)]
        x = [pair["value"] for pair in own]
        y, ci = (drawn((pair[part] for pair in own), scale) for part in ("difference", "ci95"))
        lines[f"{first} - {second}"] = Line(x, y, ci)
    return lines


MARKS = {True: " (t)", False: " (i)", None: ""}
"""How a learner judges the queries, where there is no room for a word."""


def comparison_table(pairs: Sequence[Row]) -> Table:
    """A row per value and pair."""
    knob = pairs[0]["knob"]
    table = Table(title=f"paired differences over {pairs[0]['episodes']} episodes, ahead at 5 %")
    for column in [*([knob] if knob else []), "first", "second", "first - second", "p"]:
        table.add_column(column, overflow="fold")
    table.add_column("ahead", no_wrap=True)
    for pair in pairs:
        objective = BY_METRIC[pair["metric"]]
        cells = [
            *(
                f"{pair[one]}{MARKS[pair[f'{one}_transductive']]} {objective.show(pair[f'{one}_score'])}"
                for one in ("first", "second")
            ),
            objective.difference(pair["difference"], pair["ci95"]),
            f"{pair['p']:.1g}" if isfinite(pair["p"]) else "",
            {f"{pair[one]} is ahead": one for one in ("first", "second")}.get(pair["verdict"], pair["verdict"]),
        ]
        table.add_row(*([str(pair["value"])] if knob else []), *cells)
    return table
