"""The tables of what comes with fewshot, and the pages that hold them."""

from collections.abc import Callable, Sequence
from pathlib import Path

from fewshot.errors import FewShotError
from fewshot.files import write_text
from fewshot.studies.exported import Exported
from fewshot.studies.figures import Figure, published, read_figures, shown, write_figures
from fewshot.studies.methods import SETTINGS
from fewshot.studies.tables import markdown

FIGURES, RESULTS, CHECKPOINTS = Path("docs/results.tsv"), Path("docs/results.md"), Path("checkpoints/README.md")
MARKS = "<!-- results -->\n", "<!-- end of results -->\n"
"""Between them a page holds its table."""


def write_pages(repository: Path, learners: Sequence[Exported], measured: Sequence[Figure]) -> None:
    """Writes what was measured into docs/results.tsv, docs/results.md and checkpoints/README.md.

    What is there of learners that were not measured now is kept.

    Args:
        repository: The clone that holds them.
        learners: All of them, in the order of the tables.
        measured: Of some of them.

    Raises:
        FewShotError: If a file is missing, or a page has no place for a table.
    """
    try:
        known = read_figures((repository / FIGURES).read_text(encoding="utf-8"))
        new = {checkpoint(figure) for figure in measured}
        figures = [figure for figure in known if checkpoint(figure) not in new] + list(measured)
        names = [learner.checkpoint for learner in learners]
        figures = sorted(
            (figure for figure in figures if checkpoint(figure) in names),
            key=lambda figure: names.index(checkpoint(figure)),
        )
        write_figures(repository / FIGURES, figures)
        replace_table(repository / RESULTS, results_table(learners, figures, published()))
        replace_table(repository / CHECKPOINTS, checkpoints_table(learners, figures))
    except OSError as error:
        raise FewShotError(f"--repository {repository} cannot be used: {error.filename}: {error.strerror}") from None


def replace_table(page: Path, table: str) -> None:
    """Puts a table between the marks of a page.

    Raises:
        FewShotError: If they are not there.
        OSError: If the page cannot be read or written.
    """
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not end:
        raise FewShotError(
            f"{page} has no lines {' and '.join(mark.strip() for mark in MARKS)}: put them around its table"
        )
    write_text(page, f"{before}{begin}\n{table}\n{end}{after}")


def results_table(learners: Sequence[Exported], figures: Sequence[Figure], published: Sequence[Figure]) -> str:
    """A row per checkpoint and mode, and one per method with what was published."""
    lines: list[tuple[str, ...]] = []
    for learner in learners:
        own = [figure for figure in figures if checkpoint(figure) == learner.checkpoint]
        trained = learner.trained
        for mode, source in dict.fromkeys((figure.conditions, figure.source) for figure in own):
            some = [figure for figure in own if figure.source == source]
            lines.append((f"{learner.method}, {mode}", f"`{source}`", trained, *_cells(some, _measured)))
            trained = ""  # once is enough
        if learner is _last(learners, learner.method):
            lines += _published(learner.method, published)
    settings = (f"{ways}-way {shots}-shot" for ways, shots in SETTINGS)
    return markdown(("algorithm", "checkpoint and options", "trained for", *settings), lines)


def checkpoints_table(learners: Sequence[Exported], figures: Sequence[Figure]) -> str:
    """A row per checkpoint, with its accuracy in the setting of its training."""
    lines = []
    for learner in learners:
        own = [figure for figure in figures if figure.source == learner.checkpoint]
        accuracy = [_measured(figure) for figure in own if (figure.ways, figure.shots) == learner.setting]
        lines.append((f"`{learner.checkpoint}.ckpt`", f"`{learner.command}`", learner.trained, "".join(accuracy)))
    return markdown(("file", "trained by", "for", "accuracy"), lines)


def checkpoint(figure: Figure) -> str:
    """The checkpoint that a figure was measured of."""
    return figure.source.partition(" ")[0]


def _last(learners: Sequence[Exported], method: str) -> Exported:
    return [learner for learner in learners if learner.method == method][-1]


def _published(method: str, figures: Sequence[Figure]) -> list[tuple[str, ...]]:
    own = [figure for figure in figures if figure.method == method]
    told = dict.fromkeys("; ".join(filter(None, (figure.source, figure.conditions))) for figure in own)
    return [(f"*published ({', '.join(told)})*", "", "", *_cells(own, shown))] if own else []


def _cells(figures: Sequence[Figure], show: Callable[[Figure], str]) -> list[str]:
    """The accuracy in each setting, or nothing."""
    found = {(figure.ways, figure.shots): show(figure) for figure in figures}
    return [found.get(setting, "") for setting in SETTINGS]


def _measured(figure: Figure) -> str:
    return f"{figure.accuracy:.2f} ± {figure.ci95:.2f}"
