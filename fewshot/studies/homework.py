"""``make homework``: MAML's inner learning rate, fixed and learned, and MAML against a prototypical network."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from fewshot.errors import at_least
from fewshot.evaluation import compare, read_curve, sweep
from fewshot.evaluation.compare import paired
from fewshot.evaluation.curves import read_run
from fewshot.evaluation.measure import Row
from fewshot.files import make_folder
from fewshot.objectives import CLASSIFICATION, NOT_FINITE
from fewshot.studies.driver import best, config_of, draw, train
from fewshot.studies.tables import markdown, write_tables

STARTS = ("0.04", "0.4", "4.0")
"""The inner learning rates of the assignment; 2.0 is 0.4 if the loss is a mean where the paper summed."""

RUNS: dict[str, tuple[str, dict[str, str]]] = {
    **{f"maml_{start}": ("homework/maml", {"inner_lr": start}) for start in STARTS},
    **{
        f"maml_{start}_learned": ("homework/maml", {"inner_lr": start, "learn_inner_lr": "per-step"})
        for start in STARTS
    },
    "meta_sgd": ("homework/maml", {"learn_inner_lr": "meta-sgd"}),
    "maml_2.0": ("homework/maml", {"inner_lr": "2.0"}),
    "protonet": ("homework/protonet", {}),
    "maml_20way_0.1": ("homework/maml_20way", {"inner_lr": "0.1"}),
    "maml_20way_2.0": ("homework/maml_20way", {"inner_lr": "2.0"}),
}
"""Every training: its config, and the options of the model that it changes."""

MAML = [name for name, (config, _) in RUNS.items() if config == "homework/maml"]
TWENTY = [name for name, (config, _) in RUNS.items() if config == "homework/maml_20way"]
LEARNED = [name for name in MAML if "learn_inner_lr" in RUNS[name][1]]
PAIRS = [*((f"maml_{start}", f"maml_{start}_learned") for start in STARTS), ("maml_0.4", "maml_2.0")]
SHOTS = [1, 4, 6, 8, 10]
STEPS = [1, 3, 5, 10]


class Tested(NamedTuple):
    """Results and comparisons of ``fewshot sweep`` and ``fewshot compare``."""

    steps: list[Row]  # over adaptation steps, every 5-way MAML
    pairs: list[Row]  # the same after one step
    inductive: list[Row]  # the same after one step, each query on its own
    shots: list[Row]  # over K, MAML and the prototypical network
    ahead: list[Row]
    shots_inductive: list[Row]  # over K, MAML with each query on its own
    twenty: list[Row]
    twenty_pairs: list[Row]


def homework(
    folder: Path = Path("homework"),
    configs: Path | None = None,
    max_steps: int | None = None,
    episodes: int = 600,
    root: Path | None = None,
) -> None:
    """Trains what is not trained yet, tests it, and writes the tables and figures of docs/homework.md.

    Interrupted, it goes on where it was.

    Args:
        folder: Where everything goes; the tables and figures to report/ in it.
        configs: Folder of the config files; those that come with fewshot if not given.
        max_steps: Outer steps of each training; those of the config files if not given.
        episodes: Test episodes.
        root: Omniglot's folder; see ``fewshot fit --data.help OmniglotDataModule``.
    """
    at_least(2, episodes=episodes)
    place = {} if root is None else {"data.root": str(root)}
    for name, (config, changes) in RUNS.items():
        options = {f"model.{option}": value for option, value in changes.items()}
        train(name, config_of(config, configs), {**options, **place}, folder, max_steps)
    tested = test(folder, {"test_episodes": episodes, **({} if root is None else {"root": str(root)})})
    report = make_folder(folder / "report")
    figures(folder, report)
    write_tables(report, "homework", tables(folder, tested))


def test(folder: Path, data: dict[str, object]) -> Tested:
    """Tests the trained learners, as far as that has not been done."""
    maml, twenty, both = (best(folder, names) for names in (MAML, TWENTY, ["maml_0.4", "protonet"]))
    results, inductive = folder / "results", {"batch_norm": "inductive"}
    return Tested(
        pairs=compare(maml, adaptation_steps=[1], folder=results / "steps", data=data),
        steps=sweep(maml, adaptation_steps=STEPS, folder=results / "steps", data=data),
        inductive=sweep(maml, adaptation_steps=[1], folder=results / "inductive", data=data, model=inductive),
        shots=sweep(both, shots=SHOTS, folder=results / "shots", data=data),
        ahead=compare(both, shots=SHOTS, folder=results / "shots", data=data),
        shots_inductive=sweep(both[:1], shots=SHOTS, folder=results / "shots_inductive", data=data, model=inductive),
        twenty=sweep(twenty, adaptation_steps=[5], folder=results / "20way", data=data),
        twenty_pairs=compare(twenty, adaptation_steps=[5], folder=results / "20way", data=data),
    )


def figures(folder: Path, report: Path) -> None:
    """Draws the training curves, and collects the pictures of the tests."""
    pictures = {f"learned_{start}": [f"maml_{start}", f"maml_{start}_learned"] for start in STARTS}
    pictures |= {"all": [*MAML, "protonet"], "mean_or_sum": ["maml_0.4", "maml_2.0"], "mean_or_sum_20way": TWENTY}
    for picture, names in pictures.items():
        draw(names, folder, report / f"{picture}.png")
    for name in LEARNED:
        draw([name], folder, report / f"rates_{name}.png", tag="inner_lr", smoothing=0)
    for picture in ("shots/accuracy.png", "shots/difference.png", "steps/accuracy.png"):
        shutil.copy(folder / "results" / picture, report / picture.replace("/", "_"))


def tables(folder: Path, tested: Tested) -> dict[str, str]:
    """All tables, in Markdown, by their titles."""
    fair = [row | {"name": "maml_0.4, inductive"} for row in tested.shots_inductive]
    fair += [row for row in tested.shots if row["name"] == "protonet"]
    return {
        "Runs": runs_table(folder, tested),
        "Fixed and learned": pairs_table(pair for pair in tested.pairs if (pair["first"], pair["second"]) in PAIRS),
        "More support examples": shots_table(tested.shots, tested.ahead),
        "More support examples, each query on its own": shots_table(fair, paired(fair)),
        "More steps": steps_table(tested.steps),
        "Learned rates": rates_table(folder),
        "20-way": pairs_table(tested.twenty_pairs),
    }


def runs_table(folder: Path, tested: Tested) -> str:
    """How long each training was, and its test accuracy with as many steps and shots as in training."""
    as_trained = {row["name"]: row for row in [*tested.steps, *tested.shots] if row["value"] == 1}
    as_trained |= {row["name"]: row for row in tested.twenty}
    rows = []
    for name in RUNS:
        curve = read_curve(folder / "logs" / name, "val/accuracy")
        accuracy = {row["batch_norm"]: row for row in [as_trained[name], *tested.inductive] if row["name"] == name}
        cells = [
            percent(accuracy[mode]["accuracy"], accuracy[mode]["ci95"]) if mode in accuracy else ""
            for mode in ("transductive", "inductive")
        ]
        rows.append((name, curve.steps[-1], f"{curve.minutes[-1]:.1f}", percent(max(curve.values)), *cells))
    return markdown(("run", "outer steps", "minutes", "best validation", "test, transductive", "test, inductive"), rows)


def pairs_table(pairs: Iterable[Row]) -> str:
    """Paired differences."""
    rows = [
        (pair["first"], percent(pair["first_score"]), pair["second"], percent(pair["second_score"]),
         points(pair), f"{pair['p']:.1g}", pair["verdict"])
        for pair in pairs
    ]  # fmt: skip
    return markdown(("first", "accuracy", "second", "accuracy", "first - second", "p", "at 5 %"), rows)


def shots_table(rows: Sequence[Row], pairs: Sequence[Row]) -> str:
    """Accuracy at each K, and who is ahead."""
    names = list(dict.fromkeys(row["name"] for row in rows))
    lines = []
    for pair in pairs:
        cells = [percent(row["accuracy"], row["ci95"]) for row in rows if row["value"] == pair["value"]]
        lines.append((pair["value"], *cells, points(pair), f"{pair['p']:.1g}", pair["verdict"]))
    return markdown(("K", *names, " - ".join(names), "p", "at 5 %"), lines)


def steps_table(rows: Sequence[Row]) -> str:
    """Accuracy after each number of inner steps."""
    lines = [(name, *(percent(row["accuracy"], row["ci95"]) for row in rows if row["name"] == name)) for name in MAML]
    return markdown(("run", *(f"{step} steps" if step > 1 else "1 step" for step in STEPS)), lines)


def rates_table(folder: Path) -> str:
    """Where the learned inner rates ended, a column per run; those of Meta-SGD are means over a weight tensor."""
    rates: dict[str, Mapping[str, float]] = {}
    for name in LEARNED:
        learned = read_run(folder / "logs" / name, "inner_lr")
        rates[name] = {
            tag.removeprefix("inner_lr/").removeprefix("step0/"): curve.values[-1] for tag, curve in learned.items()
        }
    tensors = rates[LEARNED[0]]
    lines = [(tensor, *(f"{rates[name][tensor]:.3f}" for name in LEARNED)) for tensor in tensors]
    return markdown(("weight tensor", *LEARNED), lines)


def percent(value: float | None, ci95: float | None = None) -> str:
    """``97.12 ± 0.34``."""
    if value is None:
        return NOT_FINITE
    return f"{100 * value:.2f}" + ("" if ci95 is None else f" ± {100 * ci95:.2f}")


def points(pair: Row) -> str:
    """``+0.12 ± 0.34``, in percentage points."""
    return CLASSIFICATION.difference(pair["difference"], pair["ci95"])
