"""The tab for drawing: classes of your own, told apart while you draw."""

import base64
import html
import time
from string import ascii_lowercase

import numpy as np
from bokeh.core.properties import value
from bokeh.layouts import column
from bokeh.models import (
    ColumnDataSource,
    CustomJS,
    Div,
    FileInput,
    FixedTicker,
    FreehandDrawTool,
    Select,
    Slider,
    UIElement,
)
from bokeh.plotting import figure

from fewshot.errors import FewShotError
from fewshot.explore.drawing import (
    MOST_BYTES,
    MOST_CLASSES,
    DrawingSet,
    as_example,
    on_paper,
    probabilities,
    strokes_of,
)
from fewshot.explore.race import pixels
from fewshot.explore.shelf import Judge, Learner
from fewshot.explore.tabs.look import FIRST, GREY, SECOND, below, explained, ink, plot, side_by_side, together
from fewshot.explore.tabs.page import Page

TEXT = (
    "Draw a character on the pad and keep it as a new class; do so two to twenty times, with characters nobody has "
    "seen before. Then draw one of them again: after every stroke two learners say which it is, from the few examples "
    "that you gave."
)
MOST_STEPS = 5
EXAMPLE, NEW = "Keep as example of", "Keep as a new class"
SAVE = """
const bytes = Uint8Array.from(atob(cb_obj.data.content[0]), letter => letter.charCodeAt(0));
const link = document.createElement("a");
link.href = URL.createObjectURL(new Blob([bytes]));
link.download = cb_obj.data.name[0];
link.click();
URL.revokeObjectURL(link.href);
"""
"""Has the browser save a file."""


class Draw:
    """The tab.

    Attributes:
        strokes: What is on the pad, ``xs`` and ``ys``.
        drawings: What was kept.
        judges: By the learner's name, what it has become after 0, 1, ... steps on what was kept.
        answers: The probabilities by each chosen learner after the chosen steps; ``None`` where it cannot tell.
    """

    def __init__(self, page: Page, learners: dict[str, Learner]) -> None:
        if not learners:
            raise FewShotError("there are no learners of drawings")
        self.page, self.learners, self.drawings = page, learners, DrawingSet()
        self.judges: dict[str, list[Judge]] = {}
        self.answers: list[np.ndarray | None] = []
        self.strokes = ColumnDataSource({"xs": [], "ys": []})
        self.seen = ColumnDataSource({"image": []})
        self.kept = ColumnDataSource({"image": [], "x": [], "y": []})
        self.letters = ColumnDataSource({"x": [], "letter": []})
        self.bars = [ColumnDataSource({"y": [], "right": []}) for _ in range(2)]
        names = list(learners)
        self.choices = [Select(options=names, value=names[min(place, len(names) - 1)], width=140) for place in (0, 1)]
        self.steps = Slider(title="Gradient steps", value=learners[names[0]].steps, start=0, end=MOST_STEPS, step=1)
        self.label = Select(options=[], width=70)
        self.file = ColumnDataSource({"name": [], "content": []}, name="file")
        self.upload = FileInput(accept=".png", width=220)
        self.said = Div(sizing_mode="stretch_width")
        page.on_change(self.strokes, "data", self.answer)
        page.on_change(self.steps, "value", self.answer)
        page.on_change(self.upload, "value", self.load)
        for choice in self.choices:
            page.on_change(choice, "value", self.answer)
        self.file.js_on_change("data", CustomJS(code=SAVE))
        self.pad, self.gallery, self.chart = self.make_pad(), self.make_gallery(), self.make_chart()
        self.refresh()

    def drawing(self) -> np.ndarray:
        """What is on the pad, as Omniglot has it."""
        return on_paper(strokes_of(self.strokes.data["xs"], self.strokes.data["ys"]))

    def answer(self) -> None:
        """Asks both learners about what is on the pad."""
        self.answers = [None, None]
        for item, choice in zip(self.chart.legend.items, self.choices):
            item.label = value(str(choice.value))
        empty = not len(self.strokes.data["xs"])
        self.seen.data = {"image": [] if empty else pixels(as_example(self.drawing())[None])}
        start, failures, steps = time.perf_counter(), [], int(np.clip(self.steps.value, 0, MOST_STEPS))
        for place, choice in enumerate(self.choices if len(self.drawings.classes) > 1 else []):
            try:
                judges = self.adapted(str(choice.value))
                if not empty:
                    judge = judges[min(steps, len(judges) - 1)]
                    self.answers[place] = probabilities(judge, as_example(self.drawing()))
            except FewShotError as error:
                failures.append(str(error))
        milliseconds = 1000 * (time.perf_counter() - start)
        self.show()
        if any(answer is not None for answer in self.answers):
            failures.append(f"Answered in {milliseconds:.0f} ms.")
        elif len(self.drawings.classes) < 2:
            failures.append("Keep two classes at least, and draw one of them again.")
        self.said.text = html.escape(" ".join(failures))

    def adapted(self, name: str) -> list[Judge]:
        """A learner after 0, 1, ... steps; they are taken once for what is kept, and not after every stroke."""
        if name not in self.judges:
            self.judges[name] = self.learners[name].adapted(self.drawings.examples(), MOST_STEPS)
        return self.judges[name]

    def show(self) -> None:
        """Draws the probabilities."""
        self.chart.legend.visible = any(answer is not None for answer in self.answers)
        for place, (answer, bars) in enumerate(zip(self.answers, self.bars)):
            heights = [] if answer is None else answer.tolist()
            bars.data = {"y": [0.35 + 0.3 * place + number for number in range(len(heights))], "right": heights}

    def keep(self, label: int | None = None) -> None:
        """Keeps what is on the pad, and clears that."""
        self.drawings.add(self.drawing(), label)
        self.strokes.data = {"xs": [], "ys": []}
        self.refresh()

    def keep_as_example(self) -> None:
        """Keeps it as an example of the class that is chosen."""
        self.keep(ascii_lowercase.find(str(self.label.value or "?")))

    def clear(self) -> None:
        """Clears the pad."""
        self.strokes.data = {"xs": [], "ys": []}

    def forget(self) -> None:
        """Takes the last drawing back."""
        self.drawings.forget()
        self.refresh()

    def forget_all(self) -> None:
        """Begins anew."""
        self.drawings = DrawingSet()
        self.refresh()

    def load(self) -> None:
        """Takes a set that was saved."""
        text = str(self.upload.value or "")
        if not text:
            return
        self.upload.clear()  # or else the same file could not be chosen again
        if len(text) > MOST_BYTES * 4 / 3:
            raise FewShotError("that is no sheet of drawings: load a PNG that was saved here")
        self.drawings = DrawingSet.of_sheet(base64.b64decode(text))
        self.refresh()

    def save(self, name: str, content: bytes) -> None:
        """Has the browser save a file."""
        self.file.data = {"name": [name], "content": [base64.b64encode(content).decode()]}

    def refresh(self) -> None:
        """Draws what was kept, and answers anew."""
        classes, self.judges = self.drawings.classes, {}
        places = [(x, y) for x, own in enumerate(classes) for y in range(len(own))]
        self.kept.data = {
            "image": pixels(self.drawings.examples().x[0]) if classes else [],
            "x": [x for x, _ in places],
            "y": [-1 - y for _, y in places],
        }
        letters = list(ascii_lowercase[: len(classes)])
        self.letters.data = {"x": [place + 0.5 for place in range(len(classes))], "letter": letters}
        self.label.options = letters
        self.label.value = letters[-1] if letters else ""
        columns, rows = max(5, len(classes)), max(map(len, classes), default=1)
        self.gallery.x_range.end, self.gallery.y_range.start = columns, -rows
        self.gallery.aspect_ratio = columns / (rows + 0.4)
        self.chart.y_range.start = max(2, len(classes))
        self.answer()

    def make_pad(self) -> figure:
        """The pad to draw on."""
        pad = plot("", "", x_range=(0, 1), y_range=(0, 1), width=240, height=240, sizing_mode="fixed")
        lines = pad.multi_line("xs", "ys", source=self.strokes, line_width=7, color=GREY, line_cap="round")
        tool = FreehandDrawTool(renderers=[lines])
        pad.add_tools(tool)
        pad.toolbar.active_drag = tool
        return pad

    def make_gallery(self) -> figure:
        """What was kept, as the network sees it: a column for each class."""
        made = plot("", "", x_range=(0, 5), y_range=(-1, 0.4), height=None, aspect_ratio=4, max_width=560)
        made.image("image", "x", "y", 0.96, 0.96, source=self.kept, color_mapper=ink())
        made.text("x", 0.05, "letter", source=self.letters, text_align="center", text_color=GREY, text_font_size="14px")
        return made

    def make_chart(self) -> figure:
        """The probabilities."""
        chart = plot("probability", "class", x_range=(0, 1), y_range=(2, 0), height=260)
        for bars, colour, choice in zip(self.bars, (FIRST, SECOND), self.choices):
            chart.hbar("y", 0.28, "right", source=bars, color=colour, legend_label=f"{choice.value} ")
        middles = {number + 0.5: letter for number, letter in enumerate(ascii_lowercase[:MOST_CLASSES])}
        chart.yaxis.ticker = FixedTicker(ticks=list(middles))
        chart.yaxis.major_label_overrides = middles
        chart.legend.location = "bottom_right"
        return chart

    def layout(self) -> UIElement:
        """Everything in its place."""
        page, drawings = self.page, lambda: self.drawings
        seen = plot("", "", x_range=(0, 1), y_range=(0, 1), width=100, height=100, sizing_mode="fixed")
        seen.image("image", 0, 0, 1, 1, source=self.seen, color_mapper=ink())
        keep = [
            page.button(NEW, self.keep, button_type="primary"),
            page.button("Clear the pad", self.clear),
            together(page.button(EXAMPLE, self.keep_as_example), self.label),
        ]
        files = [
            page.button("Forget the last", self.forget),
            page.button("Forget all", self.forget_all),
            page.button("Save the set", lambda: self.save("drawings.png", drawings().to_sheet())),
            page.button("Download folders", lambda: self.save("drawings.zip", drawings().to_folders())),
            below(Div(text="Load a set that was saved:"), self.upload, least=250),
        ]
        asked = below(together(self.pad, column(Div(text="Seen:"), seen)), side_by_side(*keep), least=330)
        answered = below(side_by_side(*self.choices, self.steps), self.chart, self.said, least=330)
        tab = below(
            explained(TEXT),
            side_by_side(asked, answered),
            Div(text="<h3>Kept, as the network sees them</h3>"),
            self.gallery,
            side_by_side(*files),
        )
        tab.tags = [self.file]
        return tab
