"""``make results``: the checkpoints that come along, tested in the settings of the papers beside what was published."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from fewshot.evaluation import sweep
from fewshot.evaluation.measure import Row
from fewshot.shipped import checkpoint_path
from fewshot.studies.figures import Figure, published, shown, write_figures
from fewshot.studies.methods import SETTINGS
from fewshot.studies.tables import markdown, write_tables


class Mode(NamedTuple):
    """How a learner is tested.

    Attributes:
        name: What the table calls it.
        options: Of the learner.
        queries: Per class; as many as shots if ``None``, as in MAML's paper.
    """

    name: str
    options: dict[str, object]
    queries: int | None = 5


class Exported(NamedTuple):
    """A checkpoint that comes with fewshot.

    Attributes:
        method: What the field calls it.
        year: When it was published.
        checkpoint: Its name.
        ways: At which it can be tested.
        modes: How it is tested.
    """

    method: str
    year: int
    checkpoint: str
    ways: tuple[int, ...]
    modes: tuple[Mode, ...]


ADAPTS = (Mode("transductive", {}, queries=None), Mode("inductive", {"batch_norm": "inductive"}))
COMPARES = (Mode("inductive", {}),)
PROTOTYPES = (
    *COMPARES,
    Mode("inductive, over shifts", {"test_shift": 1}),
    Mode("transductive, refined over shifts", {"test_shift": 1, "test_refinement_steps": 5}),
)

CHECKPOINTS = (
    Exported("MAML", 2017, "maml_5w1s", (5,), ADAPTS),
    Exported("Meta-SGD", 2017, "meta_sgd_5w1s", (5,), ADAPTS),
    Exported("ProtoNet", 2017, "protonet_5w1s", (5, 20), PROTOTYPES),
    Exported("Siamese", 2015, "siamese_5w1s", (5, 20), COMPARES),
    Exported("Ridge (R2-D2)", 2019, "ridge_5w1s", (5, 20), COMPARES),
)


def results(folder: Path = Path("results"), episodes: int = 600, root: Path | None = None) -> None:
    """Tests the checkpoints that come with fewshot, and writes a table of their accuracies.

    Interrupted, it goes on where it was.

    Args:
        folder: Where everything goes; the tables to report/ in it.
        episodes: Test episodes.
        root: Omniglot's folder; see ``fewshot fit --data.help OmniglotDataModule``.
    """
    data = {"test_episodes": episodes, **({} if root is None else {"root": str(root)})}
    figures = [
        _figure(tested, mode, row)
        for tested in CHECKPOINTS
        for mode in tested.modes
        for setting in SETTINGS
        if setting[0] in tested.ways
        for row in _test(tested, mode, *setting, folder, data)
    ]
    report = folder / "report"
    report.mkdir(parents=True, exist_ok=True)
    write_figures(report / "results.tsv", figures)
    write_tables(report, "results", {"Accuracy": results_table(figures, published())})


def _test(
    tested: Exported, mode: Mode, ways: int, shots: int, folder: Path, data: Mapping[str, object]
) -> Sequence[Row]:
    """One checkpoint in one setting."""
    place = folder / "tests" / f"{tested.checkpoint} {mode.name} {ways} {shots}".replace(",", "").replace(" ", "_")
    queries = shots if mode.queries is None else mode.queries
    episodes = {**data, "test_ways": ways, "test_queries": queries}
    path = checkpoint_path(Path("pretrained", tested.checkpoint))
    return sweep([path], shots=[shots], folder=place, data=episodes, model=mode.options)


def _figure(tested: Exported, mode: Mode, row: Row) -> Figure:
    """What a test measured."""
    accuracy, ci95 = (round(100 * row[key], 2) for key in ("accuracy", "ci95"))
    conditions = f"{mode.name}, {row['queries']} queries"
    return Figure(tested.method, tested.year, row["ways"], row["shots"], accuracy, ci95, tested.checkpoint, conditions)


def results_table(figures: Sequence[Figure], published: Sequence[Figure]) -> str:
    """A row per checkpoint and mode, and one per method with what was published."""
    lines: list[tuple[str, ...]] = []
    for method in dict.fromkeys(figure.method for figure in figures):
        own = [figure for figure in figures if figure.method == method]
        for source, name in dict.fromkeys((figure.source, _mode(figure)) for figure in own):
            some = [figure for figure in own if (figure.source, _mode(figure)) == (source, name)]
            lines.append((method, f"`{source}`", name, *_cells(some)))
        theirs = [figure for figure in published if figure.method == method]
        lines.append((method, "published", ", ".join(dict.fromkeys(one.source for one in theirs)), *_cells(theirs)))
    return markdown(("method", "checkpoint", "tested", *(f"{ways}w{shots}s" for ways, shots in SETTINGS)), lines)


def _mode(figure: Figure) -> str:
    """How it was tested, without the number of queries."""
    return figure.conditions.rpartition(", ")[0]


def _cells(figures: Sequence[Figure]) -> list[str]:
    """The accuracy in each setting, or nothing."""
    found = {(figure.ways, figure.shots): shown(figure) for figure in figures}
    return [found.get(setting, "") for setting in SETTINGS]
