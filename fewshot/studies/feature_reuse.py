"""``make feature_reuse``: what of MAML adapts, on Omniglot and on sinusoids, trained and on the way there."""

from collections import defaultdict
from pathlib import Path

from fewshot.checkpoints import read_checkpoint
from fewshot.errors import at_least
from fewshot.evaluation import reuse
from fewshot.evaluation.curves import folders_of
from fewshot.evaluation.freezing import HEAD, NOTHING, up_to
from fewshot.evaluation.measure import Row, drawn
from fewshot.evaluation.reuse_report import EVERYTHING, NIL, Reuse, freezing_figure, plus_minus, similarity_figure
from fewshot.files import make_folder
from fewshot.objectives import BY_METRIC
from fewshot.plots import Line, lines_figure, save
from fewshot.studies.driver import best, config_of, draw, train
from fewshot.studies.tables import markdown, write_tables

OMNIGLOT: dict[str, dict[str, str]] = {
    "maml": {},
    "maml_5_steps": {"model.adaptation_steps": "5", "trainer.max_steps": "2000"},
    "anil": {"model.adaptation_steps": "5", "model.adapt": "head"},
}
"""The trainings on Omniglot, and what each changes of the config."""

SINUSOID = "maml_sinusoid"
SHOTS = (1, 5)
QUERIES = 15
"""Omniglot has 20 drawings of a character, of which up to five are support examples."""
EPISODES_ON_THE_WAY = 50
"""Of each checkpoint on the way."""


def feature_reuse(
    folder: Path = Path("feature_reuse"),
    configs: Path | None = None,
    max_steps: int | None = None,
    episodes: int = 300,
    root: Path | None = None,
) -> None:
    """Trains what is not trained yet, asks it, and writes the tables and figures of docs/feature_reuse.md.

    Interrupted, it goes on where it was.

    Args:
        folder: Where everything goes; the tables and figures to report/ in it.
        configs: Folder of the config files; those that come with fewshot if not given.
        max_steps: Outer steps of each training; those of the config files if not given.
        episodes: Test episodes.
        root: Omniglot's folder; see ``fewshot fit --data.help OmniglotDataModule``.
    """
    at_least(2, episodes=episodes)
    place = {} if root is None else {"root": str(root)}
    for name, changes in OMNIGLOT.items():
        options = {**changes, **{f"data.{name}": value for name, value in place.items()}}
        train(name, config_of("feature_reuse/maml", configs), options, folder, max_steps)
    train(SINUSOID, config_of("feature_reuse/sinusoid", configs), {}, folder, max_steps)

    report = make_folder(folder / "report")
    characters = {"test_episodes": episodes, "test_queries": QUERIES, **place}
    tables: dict[str, str] = {}
    for shots in SHOTS:
        data, checkpoints = {**characters, "test_shots": shots}, best(folder, list(OMNIGLOT))
        found = reuse(checkpoints, folder=folder / "results" / f"omniglot_{shots}", data=data)
        tables |= trained(found, f"Omniglot, 5-way {shots}-shot", report / f"omniglot_{shots}")
    found = reuse(best(folder, [SINUSOID]), folder=folder / "results" / "sinusoid", data={"test_episodes": episodes})
    tables |= trained(found, "sinusoids, 5 points", report / "sinusoid")
    for name in (*OMNIGLOT, SINUSOID):
        data = {} if name == SINUSOID else characters
        few = min(episodes, EPISODES_ON_THE_WAY)
        found = reuse(on_the_way(folder, name), few, folder / "results" / name, {**data, "test_episodes": few})
        tables |= training(found, f"{name}, as training goes on", report / f"{name}_training.png")
    draw(list(OMNIGLOT), folder, report / "curves.png")
    draw([SINUSOID], folder, report / "curves_sinusoid.png", tag="val/mse")
    write_tables(report, "feature_reuse", tables)


def on_the_way(folder: Path, name: str) -> list[Path]:
    """The checkpoints of a training from its beginning to its end, of all its parts if it was resumed."""
    starts = folders_of(folder / "logs" / name)
    found = [path for start in starts for path in sorted(start.glob("checkpoints/*.ckpt"))]
    found.append(folder / "checkpoints" / name / "last.ckpt")
    by_step = {read_checkpoint(path)["global_step"]: path for path in found}
    return [path for _, path in sorted(by_step.items())]


def trained(found: Reuse, title: str, picture: Path) -> dict[str, str]:
    """The tables of trained learners; their pictures are written to ``picture`` and some more words."""
    save(freezing_figure(found.freezing), picture.with_name(f"{picture.name}_freezing.png"))
    save(similarity_figure(found.similarity), picture.with_name(f"{picture.name}_similarity.png"))
    freezing = markdown(
        ("run", "frozen", found.freezing[0]["metric"], "difference", "p"),
        [
            (row["name"], row["frozen"], score(row), *(("", "") if row["frozen"] == NOTHING else against(row)))
            for row in found.freezing
        ],
    )
    similarity = markdown(
        ("run", "block", "CKA", "CCA"),
        [(row["name"], row["block"], *(plus_minus(row, kind) for kind in ("cka", "cca"))) for row in found.similarity],
    )
    return {f"Frozen: {title}": freezing, f"Before and after adaptation: {title}": similarity}


def training(found: Reuse, title: str, picture: Path) -> dict[str, str]:
    """The scores with parts frozen over outer steps; ``picture`` has how alike the representations are."""
    blocks = list(dict.fromkeys(row["block"] for row in found.similarity))
    by_block = {block: [row for row in found.similarity if row["block"] == block] for block in blocks}
    lines = {
        block: Line(*(drawn((row[key] for row in rows), 1) for key in ("outer_step", "cka", "cka_ci95")))
        for block, rows in by_block.items()
    }
    save(lines_figure(lines, "outer step", "linear CKA, before and after adaptation"), picture)
    scores: dict[int, dict[str, str]] = defaultdict(dict)
    for row in found.freezing:
        scores[row["outer_step"]][row["frozen"]] = score(row)
    shown = (NOTHING, up_to(len(blocks) - 1), HEAD, EVERYTHING, NIL)
    rows = [(step, *(own.get(frozen, "") for frozen in shown)) for step, own in scores.items()]
    return {f"Frozen: {title}": markdown(("outer steps", *shown), rows)}


def score(row: Row) -> str:
    """The score with its interval."""
    return BY_METRIC[row["metric"]].show(row["score"], row["score_ci95"])


def against(row: Row) -> tuple[str, str]:
    """The paired difference to the whole learner, and its p-value."""
    return BY_METRIC[row["metric"]].difference(row["difference"], row["difference_ci95"]), f"{row['p']:.1g}"
