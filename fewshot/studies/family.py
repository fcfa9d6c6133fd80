"""``make family``: MAML and its relatives on sinusoids and on Omniglot, and the meta-loss as a picture."""

import shutil
from collections.abc import Iterable, Sequence
from math import acos, degrees
from pathlib import Path
from typing import Literal

import torch
from matplotlib.figure import Figure

from fewshot.algorithms import EpisodicModule
from fewshot.data import SinusoidDataModule
from fewshot.errors import at_least
from fewshot.evaluation import compare, read_curve, sweep
from fewshot.evaluation.compare import paired
from fewshot.evaluation.measure import Row, shown
from fewshot.files import make_folder
from fewshot.objectives import BY_METRIC
from fewshot.plots import fits_grid, save
from fewshot.studies.driver import best, config_of, draw, train
from fewshot.studies.meta_loss import THETA, descent_directions, meta_loss_figure, minima
from fewshot.studies.tables import markdown, write_tables

Part = Literal["sinusoid", "omniglot", "meta_loss"]


def cosine(steps: int) -> dict[str, str]:
    """So many outer steps of 16 tasks at the paper's fixed inner rate, with an outer step size that goes down to 0."""
    return {
        "model.learn_inner_lr": "none",
        "model.meta_lr": "0.001",
        "model.lr_scheduler": "cosine",
        "data.meta_batch_size": "16",
        "trainer.max_steps": str(steps),
        "trainer.val_check_interval": "500",
    }


SINUSOID: dict[str, dict[str, str]] = {
    "sinusoid_maml": {},
    "sinusoid_maml_one_step": {
        "model.adaptation_steps": "1",
        "model.multi_step_loss_steps": "0",
        "model.meta_lr": "0.001",
        "data.shots": "10",
    },
    "sinusoid_fomaml": {},
    "sinusoid_anil": {},
    "sinusoid_reptile": {},
    "sinusoid_imaml": {},
    "sinusoid_baseline": {},
}
"""The trainings on sinusoids, and what each changes of its config."""

OMNIGLOT: dict[str, dict[str, str]] = {
    "omniglot_maml": cosine(5000),
    "omniglot_fomaml": cosine(5000),
    "omniglot_anil": {**cosine(5000), "data.mirrors": "false"},
    "omniglot_reptile": {
        "trainer.max_steps": "6000",
        "trainer.precision": "32-true",
        "trainer.val_check_interval": "1000",
        "data.val_episodes": "100",
    },
    "omniglot_imaml": {
        "model.test_proximal_weight": "0",
        "model.meta_lr": "0.001",
        "model.lr_scheduler": "constant",
        "trainer.max_steps": "300",
        "trainer.val_check_interval": "100",
        "data.val_episodes": "100",
    },
    "omniglot_mamlpp": {
        "model.multi_step_loss_steps": "150",
        "model.first_order_steps": "750",
        "model.meta_lr": "0.001",
        "trainer.max_steps": "1500",
        "trainer.gradient_clip_val": "null",
    },
    "omniglot_maml_5w5s": {**cosine(2000), "data.shots": "5", "trainer.max_steps": "1000"},
}
"""The trainings on Omniglot: shorter than those of the configs, for two cores."""

CONFIGS = {"sinusoid_maml_one_step": "sinusoid_maml", "omniglot_maml_5w5s": "omniglot_maml"}
FIVE_SHOT = ["omniglot_maml_5w5s", "omniglot_reptile"]
STEPS = list(range(11))
SHOWN = [0, 1, 2, 5, 10]
FITS = 4  # tasks


def family(
    folder: Path = Path("family"),
    configs: Path | None = None,
    max_steps: int | None = None,
    episodes: int = 600,
    root: Path | None = None,
    parts: list[Part] = ["sinusoid", "omniglot", "meta_loss"],  # noqa: B006
) -> None:
    """Trains what is not trained yet, tests it, and writes the tables and figures of docs/family.md.

    Interrupted, it goes on where it was.

    Args:
        folder: Where everything goes; the tables and figures to report/ in it.
        configs: Folder of the config files; those that come with fewshot if not given.
        max_steps: Outer steps of each training, if they are to be fewer.
        episodes: Test episodes.
        root: Omniglot's folder; see ``fewshot fit --data.help OmniglotDataModule``.
        parts: What to do.
    """
    at_least(2, episodes=episodes)
    report = make_folder(folder / "report")
    tables: dict[str, str] = {}
    if "sinusoid" in parts:
        for name, options in SINUSOID.items():
            train(name, config_of(CONFIGS.get(name, name), configs), options, folder, max_steps)
        tables |= sinusoid(folder, report, episodes)
    if "omniglot" in parts:
        place = {} if root is None else {"data.root": str(root)}
        for name, options in OMNIGLOT.items():
            train(name, config_of(CONFIGS.get(name, name), configs), {**options, **place}, folder, max_steps)
        tables |= omniglot(folder, report, {"test_episodes": episodes, **({} if root is None else {"root": str(root)})})
    if "meta_loss" in parts:
        tables |= meta_loss(report)
    write_tables(report, "family", tables)


def sinusoid(folder: Path, report: Path, episodes: int) -> dict[str, str]:
    """Errors over inner steps, fits and training curves on sinusoids, five points a task."""
    names, place = list(SINUSOID), folder / "results" / "sinusoid"
    data = {"test_episodes": episodes, "test_shots": 5}
    pairs = compare(best(folder, names), adaptation_steps=[1, 5, 10], folder=place, data=data)
    rows = sweep(best(folder, names), adaptation_steps=STEPS, folder=place, data=data)  # all steps last
    shutil.copy(place / "mse.png", report / "sinusoid_steps.png")
    draw(names, folder, report / "sinusoid_curves.png", tag="val/mse")
    save(fits(folder, names), report / "sinusoid_fits.png", dpi=100)
    return {
        "Sinusoids, mean squared error after so many inner steps on 5 points": steps_table(rows, names),
        "Sinusoids, paired differences from MAML": pairs_table([p for p in pairs if p["first"] == names[0]]),
        "Sinusoids, training": lengths_table(folder, names),
    }


def fits(folder: Path, names: Sequence[str]) -> Figure:
    """The first test tasks, and what each learner makes of them after 0, 1 and 10 inner steps."""
    data = SinusoidDataModule(shots=5, queries=100)
    episode = data.dataset("test").__getitems__(range(FITS))
    outputs: dict[str, dict[str, torch.Tensor]] = {}
    for name, path in zip(names, best(folder, names)):
        module = EpisodicModule.load_from_checkpoint(path)
        outputs[name] = {}
        for steps in (1, 10):
            module.test_adaptation_steps = steps  # type: ignore[assignment]
            prediction = module.predict(episode)
            assert prediction.before is not None
            outputs[name] |= {"before": prediction.before, f"after {steps}": prediction.outputs}
    return fits_grid(episode, outputs)


def omniglot(folder: Path, report: Path, data: dict[str, object]) -> dict[str, str]:
    """Accuracies of the whole family, and MAML against Reptile, 5-way 1-shot and 5-shot on Omniglot."""

    def test(names: Sequence[str], shots: int, **model: str) -> list[Row]:
        place = folder / "results" / "_".join([f"5w{shots}s", *model.values()])
        return sweep(best(folder, names), shots=[shots], folder=place, data=data, model=model)

    one_shot = [name for name in OMNIGLOT if name != FIVE_SHOT[0]]
    one, one_inductive = test(one_shot, 1), test(one_shot, 1, batch_norm="inductive")
    five, five_inductive = test(FIVE_SHOT, 5), test(FIVE_SHOT, 5, batch_norm="inductive")
    draw(one_shot, folder, report / "omniglot_curves.png")
    groups = (one, one_inductive, five, five_inductive)
    pairs = [{**pair, "mode": rows[0]["batch_norm"]} for rows in groups for pair in paired(rows)]
    return {
        "Omniglot, 5-way 1-shot": accuracy_table(folder, [*one, *one_inductive]),
        "Omniglot, 5-way 5-shot": accuracy_table(folder, [*five, *five_inductive]),
        "Omniglot, paired differences from MAML": pairs_table(
            pair for pair in pairs if pair["first"] in ("omniglot_maml", "omniglot_maml_5w5s")
        ),
    }


def meta_loss(report: Path) -> dict[str, str]:
    """The meta-loss of the toy problem, and how far apart four algorithms would go from one point."""
    save(meta_loss_figure(), report / "meta_loss.png", dpi=100)
    lowest = [
        (steps, f"{low.a:.1f}, {low.b:.1f}", f"{low.loss:.1g}", f"{low.basin:.1%}")
        for steps, low in minima(range(21)).items()
    ]
    start = torch.tensor(THETA, dtype=torch.float64)
    others = ("FOMAML", "Reptile", "iMAML")
    angles = []
    for steps in SHOWN[1:]:
        ways = descent_directions(start, steps)
        angles.append((steps, *(f"{_angle(ways['MAML'], ways[other]):.0f}" for other in others)))
    return {
        "Meta-loss of the toy problem": markdown(("m", "lowest at a, b", "lowest", "share below 0.01"), lowest),
        "Degrees between MAML's direction and others'": markdown(("m", *others), angles),
    }


def _angle(one: torch.Tensor, other: torch.Tensor) -> float:
    return degrees(acos(max(-1.0, min(1.0, torch.cosine_similarity(one, other, dim=-1).item()))))


def steps_table(rows: Sequence[Row], names: Sequence[str]) -> str:
    """The error of each learner after some numbers of inner steps."""
    own = {(row["name"], row["value"]): row for row in rows}
    lines = [(name, *(shown(own[name, steps]) for steps in SHOWN)) for name in names]
    return markdown(("run", *(str(steps) for steps in SHOWN)), lines)


def lengths_table(folder: Path, names: Sequence[str]) -> str:
    """How long each training was."""
    lines = []
    for name in names:
        curve = read_curve(folder / "logs" / name, "val/mse")
        lines.append((name, curve.steps[-1], f"{curve.minutes[-1]:.1f}", f"{min(curve.values):.3f}"))
    return markdown(("run", "outer steps", "minutes", "best validation"), lines)


def accuracy_table(folder: Path, rows: Sequence[Row]) -> str:
    """Accuracies by the statistics that normalise the queries, with the length of the training."""
    cells = {(row["name"], row["batch_norm"]): shown(row) for row in rows}
    lines = []
    for name in dict.fromkeys(row["name"] for row in rows):
        curve = read_curve(folder / "logs" / name, "val/accuracy")
        scores = (cells.get((name, mode), "") for mode in ("transductive", "inductive"))
        lines.append((name, curve.steps[-1], f"{curve.minutes[-1]:.1f}", *scores))
    return markdown(("run", "outer steps", "minutes", "transductive", "inductive"), lines)


def pairs_table(pairs: Iterable[Row]) -> str:
    """Paired differences; of those with a ``mode``, by the statistics that normalise the queries."""
    lines = []
    for pair in pairs:
        objective = BY_METRIC[pair["metric"]]
        lines.append(
            (
                pair["knob"].replace("_", " "),
                f"{pair['value']} {pair.get('mode', '')}".strip(),
                pair["first"],
                pair["second"],
                objective.difference(pair["difference"], pair["ci95"]),
                f"{pair['t']:.1f}",
                f"{pair['p']:.1g}",
                pair["verdict"],
            )
        )
    return markdown(("knob", "value", "first", "second", "first - second", "t", "p", "at 5 %"), lines)
