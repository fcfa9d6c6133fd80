"""Accuracies on Omniglot by method, published and measured: what docs/methods.md and the page are made of."""

import csv
import io
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from fewshot.files import write_text


class Figure(NamedTuple):
    """An accuracy, published or measured.

    Attributes:
        method: Of which method.
        year: When that was published.
        ways: Classes per task.
        shots: Support examples per class.
        accuracy: In percent.
        ci95: Half-width of its 95 % confidence interval, or what the source gives as such; ``None`` if there is none.
        source: Who says so; of what was measured, the command.
        conditions: What has to be known to compare it.
    """

    method: str
    year: int
    ways: int
    shots: int
    accuracy: float
    ci95: float | None
    source: str
    conditions: str


def published() -> list[Figure]:
    """What was published, as far as it is known here."""
    return read_figures(files("fewshot.studies").joinpath("published.tsv").read_text(encoding="utf-8"))


def measured() -> list[Figure]:
    """What ``make methods`` measured when docs/methods.md was written."""
    return read_figures(files("fewshot.studies").joinpath("measured.tsv").read_text(encoding="utf-8"))


def read_figures(text: str) -> list[Figure]:
    """Figures from a table, a line each; see :func:`write_figures`."""
    return [
        Figure(
            line["method"],
            int(line["year"]),
            int(line["ways"]),
            int(line["shots"]),
            float(line["accuracy"]),
            float(line["ci95"]) if line["ci95"] else None,
            line["source"],
            line["conditions"] or "",
        )
        for line in csv.DictReader(io.StringIO(text), delimiter="\t")
    ]


def write_figures(file: Path, figures: Iterable[Figure]) -> None:
    """Writes figures as a table."""
    stream = io.StringIO(newline="")
    table = csv.writer(stream, delimiter="\t", lineterminator="\n")
    table.writerow(Figure._fields)
    table.writerows(figures)
    write_text(file, stream.getvalue())


def shown(figure: Figure) -> str:
    """The accuracy with its interval, in percent."""
    return _digits(figure.accuracy) + ("" if figure.ci95 is None else f" ± {_digits(figure.ci95)}")


def _digits(percent: float) -> str:
    """Two digits behind the point, or one where the second is none."""
    return f"{percent:.2f}".removesuffix("0")
