"""The tab that looks inside a learner."""

from string import ascii_lowercase

import numpy as np
from bokeh.models import ColumnDataSource, Div, FixedTicker, LinearColorMapper, Select, Slider, Spinner, UIElement
from bokeh.palettes import Greys256
from bokeh.plotting import figure

from fewshot.errors import FewShotError
from fewshot.explore.inside import EPISODES, MOST_STEPS, QUERIES, WAYS, Inside
from fewshot.explore.race import pixels
from fewshot.explore.shelf import Shelf
from fewshot.explore.tabs.look import COLOURS, RIGHT, WRONG, below, explained, ink, plot, side_by_side
from fewshot.explore.tabs.page import Page

TEXT = (
    "Choose a learner and a test episode, and move the number of gradient steps: each query's frame says whether it is "
    "right, the table how sure the learner is. On the right are its features in a plane: a circle is a query, a "
    "diamond a support example, a cross the mean of a class."
)
TOTAL = WAYS * QUERIES


class InsideTab:
    """The tab.

    Attributes:
        inside: What the chosen learner does.
    """

    def __init__(self, page: Page, shelf: Shelf) -> None:
        self.shelf = shelf
        self.able = {name: one for name, one in shelf.drawings.items() if one.most_ways in (None, WAYS)}
        if not self.able:
            raise FewShotError(f"no learner tells {WAYS} classes apart")
        self.learner = Select(title="Learner", options=list(self.able), value=next(iter(self.able)), width=150)
        self.number = Spinner(title="Test episode", value=0, low=0, high=EPISODES - 1, step=1, width=100)
        self.steps = Slider(title="Gradient steps", value=3, start=0, end=MOST_STEPS, step=1)
        self.support = ColumnDataSource({"image": [], "y": []})
        self.queries = ColumnDataSource({name: [] for name in ("image", "x", "y", "colour", "says")})
        self.sure = ColumnDataSource({"image": []})
        self.points = [ColumnDataSource({name: [] for name in ("x", "y", "colour")}) for _ in range(3)]
        self.said = Div(css_classes=["big"], sizing_mode="stretch_width")
        for widget in (self.learner, self.number):
            page.on_change(widget, "value", self.look, long=True)
        page.on_change(self.steps, "value", self.show)
        self.plane = plot("first principal component", "second", height=380)
        self.look()

    def look(self) -> None:
        """Adapts the chosen learner to the chosen episode."""
        learner = self.able.get(str(self.learner.value))
        if learner is None:
            raise FewShotError("there is no such learner")
        self.episode = self.shelf.characters.episode(int(self.number.value or 0) % EPISODES, WAYS, QUERIES)
        self.inside = Inside.of(learner, self.episode)
        everything = np.concatenate([self.inside.support, self.inside.queries], axis=1)
        for axis, end in zip((self.plane.x_range, self.plane.y_range), range(2)):
            low, high = everything[..., end].min(), everything[..., end].max()
            margin = 0.08 * max(high - low, 1e-6)
            axis.start, axis.end = float(low - margin), float(high + margin)
        self.show()

    def show(self) -> None:
        """Draws the state after as many steps as the slider says."""
        inside = self.inside
        step = min(int(np.clip(self.steps.value, 0, MOST_STEPS)), len(inside.accuracies) - 1)
        labels, guesses = self.episode.query.y[0].numpy(), inside.probabilities[step].argmax(-1)
        self.support.data = {"image": pixels(self.episode.support.x[0]), "y": [-1 - label for label in range(WAYS)]}
        self.queries.data = {
            "image": pixels(self.episode.query.x[0]),
            "x": [1.3 + number % QUERIES for number in range(TOTAL)],
            "y": [-1 - label for label in labels.tolist()],
            "colour": [RIGHT if guess == label else WRONG for guess, label in zip(guesses, labels)],
            "says": [ascii_lowercase[guess] for guess in guesses],
        }
        self.sure.data = {"image": [inside.probabilities[step][::-1]]}
        classes = np.arange(WAYS)
        for source, part, own in zip(
            self.points, (inside.queries, inside.support, inside.prototypes), (labels, classes, classes)
        ):
            source.data = {"x": part[step, :, 0], "y": part[step, :, 1], "colour": [COLOURS[label] for label in own]}
        after = f"after {step} steps" if len(inside.accuracies) > 1 else "without any steps"
        self.said.text = (
            f"<b>{inside.accuracies[step]:.0%}</b> of the queries are right {after}; before any, "
            f"{inside.accuracies[0]:.0%}. The plane shows {inside.explained:.0%} of the variance."
        )

    def pictures(self) -> figure:
        """Support examples left, queries right."""
        made = plot("", "", x_range=(-0.35, QUERIES + 1.4), y_range=(-WAYS - 0.05, 0.4), height=380, max_width=380)
        made.image("image", 0, "y", 0.92, 0.92, source=self.support, color_mapper=ink())
        made.image("image", "x", "y", 0.92, 0.92, source=self.queries, color_mapper=ink())
        made.block("x", "y", 0.92, 0.92, source=self.queries, fill_color=None, line_color="colour", line_width=3)
        made.text("x", "y", "says", source=self.queries, text_color="colour", x_offset=4, text_font_size="13px")
        for x, y, text in [
            (0.46, 0.1, "support"),
            (2.8, 0.1, "queries, and answers"),
            *((-0.2, -0.6 - label, ascii_lowercase[label]) for label in range(WAYS)),
        ]:
            made.text([x], [y], [text], text_align="center", text_color="#808890", text_font_size="13px")
        return made

    def table(self) -> figure:
        """How sure the learner is: a row per query, a column per class."""
        made = plot("class", "query", x_range=(0, WAYS), y_range=(0, TOTAL), height=380, max_width=300)
        rows = {TOTAL - (label + 0.5) * QUERIES: letter for label, letter in enumerate(ascii_lowercase[:WAYS])}
        columns = {label + 0.5: letter for label, letter in enumerate(ascii_lowercase[:WAYS])}
        mapper = LinearColorMapper(palette=Greys256[::-1], low=0, high=1)
        made.image("image", 0, 0, WAYS, TOTAL, source=self.sure, color_mapper=mapper)
        for axis, labels in ((made.xaxis, columns), (made.yaxis, rows)):
            axis.ticker = FixedTicker(ticks=list(labels))
            axis.major_label_overrides = labels
        made.title.text = "probability: black is 1"
        return made

    def layout(self) -> UIElement:
        """Everything in its place."""
        for source, marker, size in zip(self.points, ("circle", "diamond", "cross"), (11, 20, 24)):
            self.plane.scatter("x", "y", source=source, marker=marker, size=size, fill_color="colour",
                               line_color="colour", line_width=2, fill_alpha=0.6)  # fmt: skip
        return below(
            explained(TEXT),
            side_by_side(self.learner, self.number, self.steps),
            self.said,
            side_by_side(*(below(made, least=300) for made in (self.pictures(), self.table(), self.plane))),
        )
