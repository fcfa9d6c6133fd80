"""Methods of few-shot learning by year: what was published of 20-way 1-shot Omniglot, and what was measured here."""

import csv
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).with_name("methods.tsv")
"""A row per figure, with its source: see :class:`Method`."""


class Method(NamedTuple):
    """One figure.

    Attributes:
        name: What the method is called.
        year: When it was published.
        accuracy: In 20-way 1-shot trials of Omniglot, in percent.
        ci95: Half-width of its 95 % confidence interval, as the source has it; ``None`` where that has none.
        kind: ``published``, or ``measured`` by this package.
        source: Where the figure stands.
        conditions: What has to be known to compare it.
    """

    name: str
    year: int
    accuracy: float
    ci95: float | None
    kind: str
    source: str
    conditions: str

    @property
    def shown(self) -> str:
        """The accuracy with its interval."""
        return f"{self.accuracy:g}" + ("" if self.ci95 is None else f" ± {self.ci95:g}")


def methods() -> list[Method]:
    """All of them, by year."""
    with FILE.open(newline="", encoding="utf-8") as file:
        rows = [
            Method(
                row["method"], int(row["year"]), float(row["accuracy"]), float(row["ci95"]) if row["ci95"] else None,
                row["kind"], row["source"], row["conditions"],
            )
            for row in csv.DictReader(file, delimiter="\t")
        ]  # fmt: skip
    return sorted(rows, key=lambda row: row.year)


def spread(years: list[int], width: float = 0.6) -> list[float]:
    """The places of figures along the axis of years: those of one year beside one another."""
    places = []
    for number, year in enumerate(years):
        same = years.count(year)
        place = years[:number].count(year)
        places.append(year + (width * (place / (same - 1) - 0.5) if same > 1 else 0.0))
    return places
