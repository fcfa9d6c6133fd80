"""``make results``: the checkpoints that come along, tested in the settings of the papers beside what was published."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from fewshot.errors import FewShotError, at_least
from fewshot.evaluation import sweep
from fewshot.evaluation.measure import Row
from fewshot.files import make_folder
from fewshot.shipped import checkpoint_path
from fewshot.studies.exported import Exported, Mode, exported
from fewshot.studies.figures import Figure, published, write_figures
from fewshot.studies.methods import SETTINGS
from fewshot.studies.results_pages import results_table, write_pages
from fewshot.studies.tables import write_tables


def results(
    folder: Path = Path("results"),
    checkpoints: list[str] | None = None,
    episodes: int = 600,
    root: Path | None = None,
    repository: Path | None = None,
) -> None:
    """Tests the checkpoints that come with fewshot, and writes a table of their accuracies.

    Interrupted, it goes on where it was.

    Args:
        folder: Where everything goes; the tables to report/ in it.
        checkpoints: Which of them, as in [maml_5w1s,protonet_5w1s]; all if not given.
        episodes: Test episodes.
        root: Omniglot's folder; see ``fewshot fit --data.help OmniglotDataModule``.
        repository: A clone of fewshot whose pages are to hold the table, too: docs/results.md (of docs/results.tsv) and
            checkpoints/README.md.

    Raises:
        FewShotError: If there is no such checkpoint, or the pages are not there.
    """
    at_least(2, episodes=episodes)
    data = {"test_episodes": episodes, **({} if root is None else {"root": str(root)})}
    learners = _chosen(exported(), checkpoints)
    figures = [
        _figure(learner, mode, row)
        for learner in learners
        for mode in learner.modes
        for setting in SETTINGS
        if setting[0] in learner.ways
        for row in _test(learner, mode, *setting, folder, data)
    ]
    report = make_folder(folder / "report")
    write_figures(report / "results.tsv", figures)
    write_tables(report, "results", {"Accuracy": results_table(learners, figures, published())})
    if repository is not None:
        write_pages(repository, exported(), figures)


def _chosen(learners: Sequence[Exported], names: Sequence[str] | None) -> Sequence[Exported]:
    """Those of these names; all if there are none.

    Raises:
        FewShotError: If a name is that of none.
    """
    known = [learner.checkpoint for learner in learners]
    for name in names or ():
        if name not in known:
            raise FewShotError(f"there is no checkpoint {name!r} of Omniglot; with fewshot comes {', '.join(known)}")
    return [learner for learner in learners if names is None or learner.checkpoint in names]


def _test(
    learner: Exported, mode: Mode, ways: int, shots: int, folder: Path, data: Mapping[str, object]
) -> Sequence[Row]:
    """One checkpoint in one setting; what two modes share is tested once."""
    queries = shots if mode.queries is None else mode.queries
    options = "".join(f"_{name}_{value}" for name, value in mode.options.items())
    place = folder / "tests" / f"{learner.checkpoint}{options}_{ways}w{shots}s_{queries}q"
    episodes = {**data, "test_ways": ways, "test_queries": queries}
    path = checkpoint_path(Path("pretrained", learner.checkpoint))
    return sweep([path], shots=[shots], folder=place, data=episodes, model=dict(mode.options))


def _figure(learner: Exported, mode: Mode, row: Row) -> Figure:
    """What a test measured."""
    accuracy, ci95 = (round(100 * row[key], 2) for key in ("accuracy", "ci95"))
    source = learner.checkpoint + mode.typed
    return Figure(learner.method, learner.year, row["ways"], row["shots"], accuracy, ci95, source, mode.name)
