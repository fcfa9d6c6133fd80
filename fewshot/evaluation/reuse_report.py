"""What ``fewshot reuse`` writes: tables and pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure
from rich.table import Table

from fewshot.evaluation.freezing import HEAD, NOTHING
from fewshot.evaluation.measure import Row, drawn, write_csv
from fewshot.files import write_json
from fewshot.objectives import BY_METRIC, NOT_FINITE
from fewshot.plots import Line, lines_figure, save
from fewshot.terminal import console

EVERYTHING, NIL = "everything", "NIL"


class Reuse(NamedTuple):
    """What was found.

    Attributes:
        freezing: A row per checkpoint and frozen part.
        similarity: A row per checkpoint and block.
    """

    freezing: list[Row]
    similarity: list[Row]


def write_reuse(result: Reuse, folder: Path) -> None:
    """Writes both tables and pictures to a folder, and shows the tables."""
    write_json(folder / "reuse.json", result._asdict())
    for name, rows in result._asdict().items():
        write_csv(folder / f"{name}.csv", rows, list(rows[0]))
    save(freezing_figure(result.freezing), folder / "freezing.png")
    save(similarity_figure(result.similarity), folder / "similarity.png")
    for table in (freezing_table(result.freezing), similarity_table(result.similarity)):
        console().print(table)
    written = "reuse.json, freezing.csv, similarity.csv, freezing.png, similarity.png"
    console().print(f"Results: {folder}/: {written}", soft_wrap=True)


def freezing_table(rows: Sequence[Row]) -> Table:
    """A row per checkpoint and frozen part."""
    table = Table(title=f"parts frozen while adapting, over {rows[0]['episodes']} episodes")
    for column in ("", "frozen", rows[0]["metric"], "difference to nothing frozen", "p"):
        table.add_column(column, overflow="fold")
    for number, row in enumerate(rows):
        objective = BY_METRIC[row["metric"]]
        cells = [row["name"], row["frozen"], objective.show(row["score"], row["score_ci95"])]
        if row["frozen"] != NOTHING and row["difference"] is not None:
            cells += [objective.difference(row["difference"], row["difference_ci95"]), f"{row['p']:.1g}"]
        table.add_row(*cells, end_section=[*rows, rows[0]][number + 1]["frozen"] == NOTHING)
    return table


def similarity_table(rows: Sequence[Row]) -> Table:
    """A row per checkpoint and block."""
    table = Table(title="representations of the queries before and after adaptation: 1 is alike")
    for column in ("", "block", "CKA", "CCA"):
        table.add_column(column, overflow="fold")
    for row in rows:
        cells = (plus_minus(row, kind) for kind in ("cka", "cca"))
        table.add_row(row["name"], row["block"], *cells, end_section=row["block"] == HEAD)
    return table


def freezing_figure(rows: Sequence[Row]) -> Figure:
    """The score over what is frozen, a line per checkpoint."""
    objective = BY_METRIC[rows[0]["metric"]]
    return _figure(rows, "frozen", "score", objective.scale, "frozen while adapting", f"test {objective.label}", False)


def similarity_figure(rows: Sequence[Row]) -> Figure:
    """CKA over the blocks, a line per checkpoint."""
    return _figure(rows, "block", "cka", 1, "", "linear CKA, before and after adaptation")


def _figure(
    rows: Sequence[Row], where: str, what: str, scale: int, xlabel: str, ylabel: str, joined: bool = True
) -> Figure:
    places = list(dict.fromkeys(row[where] for row in rows))
    lines = {}
    for name in dict.fromkeys(row["name"] for row in rows):
        own = [row for row in rows if row["name"] == name]
        y, ci = (drawn((row[key] for row in own), scale) for key in (what, f"{what}_ci95"))
        lines[name] = Line([places.index(row[where]) for row in own], y, ci)
    return lines_figure(lines, xlabel, ylabel, places=[place.replace("blocks ", "") for place in places], joined=joined)


def plus_minus(row: Row, kind: str) -> str:
    """A similarity with its confidence half-width."""
    mean, ci95 = row[kind], row[f"{kind}_ci95"]
    if mean is None:
        return NOT_FINITE
    return f"{mean:.3f}" + ("" if ci95 is None else f" ± {ci95:.3f}")
