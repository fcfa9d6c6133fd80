"""The tab of sinusoids: points by clicking, two learners side by side."""

import numpy as np
from bokeh.models import ColumnDataSource, CustomJS, Div, PointDrawTool, Select, Slider, UIElement
from bokeh.plotting import figure

from fewshot.errors import FewShotError
from fewshot.explore.shelf import Learner
from fewshot.explore.sinusoids import AMPLITUDE, GRID, MOST_POINTS, MOST_STEPS, PHASE, Fit, Wave, X, episode, places
from fewshot.explore.tabs.look import FIRST, GREY, SECOND, below, explained, plot, side_by_side, together
from fewshot.explore.tabs.page import Page

TEXT = (
    "Click up to five points on the grey wave (drag moves one, a sixth replaces the oldest), and move the "
    "number of gradient steps. MAML's start is made for few steps from few points; the baseline, pretrained on all "
    "waves at once, begins at their mean and hardly gets away from it."
)
SNAP = """
const x = Array.from(points.data.x);
const y = x.map(x => amplitude.value * Math.sin(x + phase.value));
if (x.some((_, i) => points.data.y[i] !== y[i])) points.data = {x, y};
"""
"""Puts the points on the wave: the server would take its time, and undo what was clicked meanwhile."""


class Sinusoids:
    """The tab.

    Attributes:
        points: The support points, ``x`` and ``y``.
        wave: What they are on.
        fits: What the two chosen learners make of them.
    """

    def __init__(self, page: Page, learners: dict[str, Learner]) -> None:
        if not learners:
            raise FewShotError("there are no learners of sinusoids")
        self.page, self.learners = page, learners
        self.rng = np.random.default_rng()
        self.amplitude = Slider(title="Amplitude A", value=2.5, start=AMPLITUDE[0], end=AMPLITUDE[1], step=0.1)
        self.phase = Slider(title="Phase φ (radians)", value=0.8, start=PHASE[0], end=PHASE[1], step=0.01)
        self.steps = Slider(title="Gradient steps", value=1, start=0, end=MOST_STEPS, step=1)
        self.points = ColumnDataSource({"x": [], "y": []})
        self.truth = ColumnDataSource({"x": GRID, "y": GRID * 0})
        names = list(learners)
        self.choices = [Select(options=names, value=names[min(place, len(names) - 1)], width=150) for place in (0, 1)]
        self.lines = [ColumnDataSource({"x": GRID, "y": GRID * 0}) for _ in self.choices]
        self.errors = [Div(css_classes=["big"]) for _ in self.choices]
        self.notes = [Div(css_classes=["explained"]) for _ in self.choices]
        self.fits: list[Fit] = []
        for slider in (self.amplitude, self.phase):
            page.on_change(slider, "value", self.refit)
        for choice in self.choices:
            page.on_change(choice, "value", self.refit)
        page.on_change(self.points, "data", self.refit)
        snap = CustomJS(args={"points": self.points, "amplitude": self.amplitude, "phase": self.phase}, code=SNAP)
        for model, name in ((self.points, "data"), (self.amplitude, "value"), (self.phase, "value")):
            model.js_on_change(name, snap)
        page.on_change(self.steps, "value", self.show)
        self.refit()

    @property
    def wave(self) -> Wave:
        """The wave of the sliders."""
        return Wave(float(np.clip(self.amplitude.value, *AMPLITUDE)), float(np.clip(self.phase.value, *PHASE)))

    def refit(self) -> None:
        """Adapts both learners to the points: to their places, the browser has put them on the wave."""
        wave = self.wave
        self.truth.data = {"x": GRID, "y": wave(GRID)}
        task = episode(wave, places(list(self.points.data["x"])))
        chosen = [self.learners.get(choice.value) for choice in self.choices]
        self.fits = [Fit.of(learner, task) for learner in chosen if learner]
        self.show()

    def show(self) -> None:
        """Draws the fits after as many steps as the slider says."""
        steps = int(np.clip(self.steps.value, 0, MOST_STEPS))
        for fit, line, error in zip(self.fits, self.lines, self.errors):
            line.data = {"x": GRID, "y": fit.y[steps]}
            error.text = f"mean squared error <b>{fit.errors[steps]:.3f}</b>, before any step {fit.errors[0]:.3f}"
        for choice, note in zip(self.choices, self.notes):
            learner = self.learners.get(choice.value)
            note.text = f"trained for {learner.outer_steps:,} outer steps" if learner else ""

    def roll(self) -> None:
        """Another wave with points of its own."""
        wave = Wave.drawn(self.rng)
        x = self.rng.uniform(*X, MOST_POINTS)
        self.amplitude.value, self.phase.value = round(wave.amplitude, 1), round(wave.phase, 2)
        self.points.data = {"x": x.tolist(), "y": self.wave(x).tolist()}

    def clear(self) -> None:
        """No points."""
        self.points.data = {"x": [], "y": []}

    def figure(self, line: ColumnDataSource, colour: str) -> figure:
        """The plot of one learner."""
        made = plot("x", "y", x_range=X, y_range=(-6, 6), height=320)
        made.line("x", "y", source=self.truth, color=GREY, line_width=2, legend_label="the wave")
        made.line("x", "y", source=line, color=colour, line_width=3, legend_label="the fit")
        drawn = made.scatter("x", "y", source=self.points, size=13, color=colour, line_color="white")
        tool = PointDrawTool(renderers=[drawn], num_objects=MOST_POINTS)
        made.add_tools(tool)
        made.toolbar.active_tap = tool
        made.legend.orientation = "horizontal"
        return made

    def layout(self) -> UIElement:
        """Everything in its place."""
        buttons = [self.page.button("Dice", self.roll, button_type="primary"), self.page.button("Clear", self.clear)]
        halves = [
            below(choice, self.figure(line, colour), error, note, least=330)
            for choice, line, colour, error, note in zip(
                self.choices, self.lines, (FIRST, SECOND), self.errors, self.notes
            )
        ]
        controls = side_by_side(self.amplitude, self.phase, self.steps, together(*buttons))
        return below(explained(TEXT), controls, side_by_side(*halves))
