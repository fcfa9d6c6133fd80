"""The tab of methods by year, with the visitor's own score among them."""

import html
from datetime import date

from bokeh.models import ColumnDataSource, Div, HoverTool, UIElement
from bokeh.plotting import figure

from fewshot.explore.methods import by_kind
from fewshot.explore.race import YOU, Race, Score
from fewshot.explore.tabs.look import COLOURS, below, explained, plot
from fewshot.explore.tabs.page import Page
from fewshot.studies.figures import shown

TEXT = (
    "Accuracy in 20-way 1-shot trials of Omniglot, by the year of the method: hover over a point for its source and "
    "its conditions. They differ: points close to one another are no ranking. The star is your own score in 20-way "
    "trials of <i>Are you better?</i>."
)
WAYS = 20
LOWEST = 50  # percent, unless the visitor has less
TIPS = [("method", "@method"), ("accuracy (%)", "@shown"), ("source", "@source"), ("conditions", "@conditions")]
MARKERS = ("circle", "square")


class MethodsTab:
    """The tab.

    Attributes:
        star: The visitor's score, ``x``, ``y``, ``low`` and ``high`` in percent; empty before there is one.
    """

    def __init__(self, page: Page, race: Race) -> None:
        self.page, self.race = page, race
        self.star = ColumnDataSource({name: [] for name in ("x", "y", "low", "high", "label")})
        self.plot = self.chart()
        race.listeners.append(self.show)

    def show(self) -> None:
        """Draws the star."""
        score = self.race.scores(WAYS).get(YOU)
        self.star.data = star(score) if score else {name: [] for name in self.star.data}
        self.plot.y_range.start = min([LOWEST, *self.star.data["low"]])

    def chart(self) -> figure:
        """The plot."""
        made = plot("year", "accuracy (%)", y_range=(LOWEST, 102), x_range=(2010, date.today().year + 1), height=420)
        for (kind, figures), marker, colour in zip(by_kind().items(), MARKERS, COLOURS):
            source = ColumnDataSource(
                {
                    "x": [place for place, _ in figures],
                    "y": [one.accuracy for _, one in figures],
                    "shown": [shown(one) for _, one in figures],
                    "conditions": [one.conditions or "not stated" for _, one in figures],
                    **{name: [getattr(one, name) for _, one in figures] for name in ("method", "source")},
                }
            )
            points = made.scatter("x", "y", source=source, marker=marker, size=13, color=colour, line_color="white",
                                  legend_label=kind)  # fmt: skip
            made.add_tools(HoverTool(renderers=[points], tooltips=TIPS))
        made.segment("x", "low", "x", "high", source=self.star, color=COLOURS[3], line_width=2)
        made.scatter("x", "y", source=self.star, marker="star", size=24, color=COLOURS[3])
        made.text("x", "y", "label", source=self.star, text_align="right", x_offset=-14, text_color=COLOURS[3])
        made.legend.location = "bottom_center"
        return made

    def layout(self) -> UIElement:
        """Everything in its place."""
        return below(explained(TEXT), self.plot, Div(text=table(), sizing_mode="stretch_width"))


def star(score: Score) -> dict[str, list[float | str]]:
    """The visitor's score as a point, in percent."""
    share = 100 * score.right / score.trials
    return {
        "x": [float(date.today().year)],
        "y": [share],
        "low": [100 * score.low],
        "high": [100 * score.high],
        "label": [f"you, {score.right} of {score.trials}"],
    }


def table() -> str:
    """The same in words, as HTML."""
    rows = [
        (one.year, one.method, shown(one), one.source if kind == "published" else f"{kind} ({one.source})")
        for kind, own in by_kind().items()
        for _, one in own
    ]
    lines = ["".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) for row in sorted(rows)]
    head = "".join(f"<th>{name}</th>" for name in ("year", "method", "accuracy (%)", "source"))
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
