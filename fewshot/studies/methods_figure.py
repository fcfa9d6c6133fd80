"""The figure of methods by year, which every introduction to the field draws."""

from collections.abc import Sequence

from matplotlib.figure import Figure as Picture

from fewshot.studies.figures import Figure

WAYS, SHOTS = 20, 1


def methods_figure(published: Sequence[Figure], measured: Sequence[Figure]) -> Picture:
    """Draws 20-way 1-shot accuracies by the year of their methods: open marks are published, filled ones measured.

    Args:
        published: What was published.
        measured: What was measured here.
    """
    figure = Picture(figsize=(9, 5), layout="constrained")
    axis = figure.subplots()
    for some, style, fill, below in ((published, "o", "none", 5), (measured, "D", "tab:blue", -12)):
        shown = [one for one in some if (one.ways, one.shots) == (WAYS, SHOTS)]
        for one, x in zip(shown, beside([one.year for one in shown])):
            axis.errorbar(x, one.accuracy, one.ci95, fmt=style, color="tab:blue", markerfacecolor=fill, capsize=2)
            axis.annotate(one.method, (x, one.accuracy), xytext=(3, below), textcoords="offset points", fontsize=7)
    for fill, label in (("none", "published"), ("tab:blue", "measured here")):
        axis.plot([], [], "o", color="tab:blue", markerfacecolor=fill, label=label)
    axis.set(xlabel="year of publication", ylabel=f"{WAYS}-way {SHOTS}-shot accuracy (%)")
    axis.grid(alpha=0.3)
    axis.legend(loc="lower right")
    return figure


def beside(years: Sequence[int]) -> list[float]:
    """Places along the axis: those of one year side by side within 0.7 years."""
    places = []
    for number, year in enumerate(years):
        before, same = list(years[:number]).count(year), list(years).count(year)
        places.append(year + 0.7 * ((before + 0.5) / same - 0.5))
    return places
