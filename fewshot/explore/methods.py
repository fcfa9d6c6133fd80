"""Methods of few-shot learning by year: what was published of 20-way 1-shot Omniglot, and what was measured here."""

from fewshot.studies.figures import Figure, measured, published
from fewshot.studies.methods_figure import SHOTS, WAYS, beside


def by_kind() -> dict[str, list[tuple[float, Figure]]]:
    """The figures, published and measured, each with its place along the axis of years."""
    kinds = {"published": published(), "measured here": measured()}
    result = {}
    for kind, figures in kinds.items():
        own = sorted((one for one in figures if (one.ways, one.shots) == (WAYS, SHOTS)), key=lambda one: one.year)
        result[kind] = list(zip(beside([one.year for one in own]), own))
    return result
