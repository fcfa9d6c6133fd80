"""The tab of the toy: where do gradients lead?"""

import numpy as np
import torch
from bokeh.models import (
    Arrow,
    ColorBar,
    ColumnDataSource,
    LinearColorMapper,
    NormalHead,
    PointDrawTool,
    Slider,
    UIElement,
)
from bokeh.palettes import Greys256
from bokeh.plotting import figure
from torch import Tensor

from fewshot.explore.tabs.look import COLOURS, FIFTH, below, explained, plot, side_by_side, together
from fewshot.explore.tabs.page import Page
from fewshot.explore.toy import MOST_STEPS, OUTER_LR, OUTER_STEPS, START, STRENGTH, A, B, arrows, paths
from fewshot.studies.meta_loss import GRID, adapt, meta_loss, task_losses

TEXT = (
    "Drag θ, the violet point, over the meta-loss of two tasks of a point each, and change the number of inner steps: "
    "the dark basin grows with them. The arrows show where an outer step of each algorithm moves θ, all drawn equally "
    f"long, and <i>Go</i> takes {OUTER_STEPS} outer steps ({OUTER_LR:g} times each one's own direction)."
)
LOWEST, HIGHEST = -4.0, 1.0  # of the logarithm of the meta-loss that is told apart
ALGORITHMS = dict(zip(("MAML", "FOMAML", "Reptile", "iMAML"), COLOURS))


class Gradients:
    """The tab.

    Attributes:
        theta: The point, ``a`` and ``b``.
        arrows: For each algorithm, the ends of its arrow.
        paths: For each algorithm, where it has gone.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.theta = ColumnDataSource({"a": [START[0]], "b": [START[1]]})
        self.steps = Slider(title="Inner steps m", value=2, start=0, end=MOST_STEPS, step=1)
        self.strength = Slider(title="λ of iMAML", value=1.0, start=STRENGTH[0], end=STRENGTH[1], step=0.2)
        self.surface = ColumnDataSource({"image": []})
        self.arrows = {name: ColumnDataSource({"a": [], "b": [], "to_a": [], "to_b": []}) for name in ALGORITHMS}
        self.paths = {name: ColumnDataSource({"a": [], "b": []}) for name in ALGORITHMS}
        self.losses = ColumnDataSource({"step": [], "first": [], "second": []})
        self.now = ColumnDataSource({"step": [], "loss": []})
        page.on_change(self.theta, "data", self.move)
        page.on_change(self.steps, "value", self.descend)
        page.on_change(self.strength, "value", self.move)
        self.descend()

    @property
    def m(self) -> int:
        """Inner steps."""
        return int(np.clip(self.steps.value, 0, MOST_STEPS))

    @property
    def place(self) -> Tensor:
        """θ as ``[2]``."""
        a, b = ([*self.theta.data[name], 0][0] for name in ("a", "b"))
        return torch.tensor([np.clip(a, *A), np.clip(b, *B)], dtype=torch.float64).nan_to_num()

    def descend(self) -> None:
        """Draws the surface for another number of inner steps."""
        heights = meta_loss(GRID, self.m).clamp(10**LOWEST, 10**HIGHEST).log10()
        self.surface.data = {"image": [heights.numpy()]}
        self.move()

    def move(self) -> None:
        """Draws what depends on θ."""
        strength = float(np.clip(self.strength.value, *STRENGTH))
        a, b = self.place.tolist()
        if (list(self.theta.data["a"]), list(self.theta.data["b"])) != ([a], [b]):
            self.theta.data = {"a": [a], "b": [b]}  # comes back here
            return
        for name, (to_a, to_b) in arrows(self.place, self.m, strength).items():
            self.arrows[name].data = {"a": [a], "b": [b], "to_a": [to_a], "to_b": [to_b]}
        steps = list(range(MOST_STEPS + 1))
        losses = torch.stack([task_losses(adapt(self.place, step)) for step in steps]).clamp(min=1e-12)
        self.losses.data = {"step": steps, "first": losses[:, 0].tolist(), "second": losses[:, 1].tolist()}
        self.now.data = {"step": [self.m] * 2, "loss": losses[self.m].tolist()}
        self.clear()

    def go(self) -> None:
        """Follows each algorithm from θ."""
        for name, way in paths(self.place, self.m, float(np.clip(self.strength.value, *STRENGTH))).items():
            self.paths[name].data = {"a": way[:, 0].tolist(), "b": way[:, 1].tolist()}

    def clear(self) -> None:
        """Paths that have not begun."""
        a, b = self.place.tolist()
        for source in self.paths.values():
            source.data = {"a": [a, a], "b": [b, b]}

    def map(self) -> figure:
        """The plot of the surface."""
        made = plot("a", "b", x_range=A, y_range=B, height=460)
        mapper = LinearColorMapper(palette=Greys256[50:], low=LOWEST, high=HIGHEST)
        made.image("image", A[0], B[0], A[1] - A[0], B[1] - B[0], source=self.surface, color_mapper=mapper)
        made.add_layout(ColorBar(color_mapper=mapper, title="log₁₀ meta-loss", height=12), "below")
        for name, colour in ALGORITHMS.items():
            made.line("a", "b", source=self.paths[name], color="white", line_width=7)
            made.line("a", "b", source=self.paths[name], color=colour, line_width=4, legend_label=name)
            head = NormalHead(fill_color=colour, line_color="white", size=13)
            made.add_layout(
                Arrow(end=head, source=self.arrows[name], x_start="a", y_start="b", x_end="to_a", y_end="to_b",
                      line_color=colour, line_width=4)
            )  # fmt: skip
        point = made.scatter("a", "b", source=self.theta, size=16, color=FIFTH, line_color="white", line_width=2)
        tool = PointDrawTool(renderers=[point], add=False)
        made.add_tools(tool)
        made.toolbar.active_drag = tool
        made.legend.location = "bottom_left"
        return made

    def chart(self) -> figure:
        """The plot of the tasks' losses."""
        made = plot("inner steps from θ", "loss of a task", y_axis_type="log", y_range=(1e-6, 100), height=460)
        for column, colour, name in (("first", COLOURS[0], "first task"), ("second", COLOURS[1], "second task")):
            made.line("step", column, source=self.losses, color=colour, line_width=3, legend_label=name)
        made.scatter("step", "loss", source=self.now, size=11, color=FIFTH, legend_label="after m steps")
        return made

    def layout(self) -> UIElement:
        """Everything in its place."""
        buttons = [
            self.page.button("Go", self.go, long=True, button_type="primary"),
            self.page.button("Clear", self.clear),
        ]
        return below(
            explained(TEXT),
            side_by_side(self.steps, self.strength, together(*buttons)),
            side_by_side(below(self.map(), least=330), below(self.chart(), least=300)),
        )
