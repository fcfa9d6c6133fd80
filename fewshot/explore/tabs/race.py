"""The tab of the race: are you better than the machine?"""

import html
from string import ascii_lowercase

from bokeh.events import Tap
from bokeh.models import ColumnDataSource, Div, PointDrawTool, RadioButtonGroup, UIElement
from bokeh.plotting import figure

from fewshot.explore.race import WAYS, YOU, Race, pixels
from fewshot.explore.tabs.look import FIRST, GREY, RIGHT, WRONG, below, explained, ink, plot, side_by_side
from fewshot.explore.tabs.page import Page

COLUMNS = 5
SIZE, HOME = 1.7, (COLUMNS / 2 - 0.85, 0.2)  # of the query, in characters, and where its lower left corner is at first
TEXT = (
    "Which of the characters below is the one above them, drawn by somebody else? Click it, press its letter or drag "
    "the upper one onto it; then click or press Enter for the next. The learners get the same question, one example "
    "per class and one query, and the table shows who is ahead."
)


class RaceTab:
    """The tab.

    Attributes:
        title: Of the tab, by which keys are told to be for it.
        race: What is asked, and who was right.
    """

    title = "Are you better?"

    def __init__(self, page: Page, race: Race) -> None:
        self.page, self.race = page, race
        self.ways = RadioButtonGroup(labels=[f"{ways} characters" for ways in WAYS], active=0, width=240)
        self.query = ColumnDataSource({"image": [], "x": [], "y": []})
        self.classes = ColumnDataSource({name: [] for name in ("image", "left", "bottom", "letter", "colour", "width")})
        self.board = self.make_board()
        self.verdict = Div(css_classes=["big"], sizing_mode="stretch_width", height=52)
        self.table = Div(sizing_mode="stretch_width")
        page.on_change(self.ways, "active", self.begin)
        self.board.on_event(Tap, lambda event: page.attempt(lambda: self.click(event.x, event.y)))
        page.on_change(self.query, "data", self.drop)
        page.on_change(page.keys, "data", self.key)
        self.show()

    def begin(self) -> None:
        """Trials of another number of classes."""
        self.race.begin(WAYS[self.ways.active or 0])
        self.show()

    def click(self, x: float, y: float) -> None:
        """A place of the board was clicked: the character there is the answer; after that, any asks for the next."""
        if self.race.given:
            self.choose(0)
        elif (choice := self.character_at(x, y)) is not None:
            self.choose(choice)

    def character_at(self, x: float, y: float) -> int | None:
        """The class at a place of the board, if there is one."""
        corners = enumerate(zip(self.classes.data["left"], self.classes.data["bottom"]))
        return next((number for number, (left, bottom) in corners if 0 < x - left < 1 and 0 < y - bottom < 1), None)

    def drop(self) -> None:
        """The query was dragged: where it is let go is the answer, and it goes back to its place."""
        if not len(self.query.data["x"]):  # Backspace deletes what is selected
            self.show()
            return
        corner = self.query.data["x"][0], self.query.data["y"][0]
        if corner == HOME:
            return
        choice = self.character_at(corner[0] + SIZE / 2, corner[1] + SIZE / 2)
        if choice is not None and not self.race.given:
            self.race.answer(choice)
        self.show()

    def key(self) -> None:
        """A key was pressed while the tab is shown: a letter of a character, or Enter."""
        key = str((self.page.keys.data["key"] or [""])[0])
        if self.page.keys.data["tab"] != [self.title]:
            return
        if key == "Enter" and self.race.given:
            self.choose(0)
        elif len(key) == 1 and 0 <= ascii_lowercase.find(key) < self.race.ways:
            self.choose(ascii_lowercase.index(key))

    def choose(self, choice: int) -> None:
        """Answers with a class; if that has been done, goes on."""
        if self.race.given:
            self.race.next()
        else:
            self.race.answer(choice)
        self.show()

    def show(self) -> None:
        """Draws the question, and the answers if there are some."""
        race, ways = self.race, self.race.ways
        support = race.trial.episode.support
        rows = [number // COLUMNS for number in range(ways)]
        left, bottom = [number % COLUMNS for number in range(ways)], [-1 - row for row in rows]
        mine, right = race.given.get(YOU), race.trial.answer
        colours = {right: RIGHT, mine: RIGHT if mine == right else WRONG} if race.given else {}
        self.query.selected.indices = []
        self.query.data = {"image": pixels(race.trial.episode.query.x[0]), "x": [HOME[0]], "y": [HOME[1]]}
        self.classes.data = {
            "image": pixels(support.x[0]),
            "left": left,
            "bottom": bottom,
            "letter": list(ascii_lowercase[:ways]),
            "colour": [colours.get(number, GREY) for number in range(ways)],
            "width": [5 if number in colours else 1 for number in range(ways)],
        }
        self.board.y_range.start, self.board.aspect_ratio = bottom[-1] - 0.1, (COLUMNS + 0.2) / (2.2 - bottom[-1])
        self.verdict.text = self.said()
        self.table.text = self.scores()

    def said(self) -> str:
        """What everybody has answered."""
        if not self.race.given:
            return "Which is it?"
        right = ascii_lowercase[self.race.trial.answer]
        others = ", ".join(
            f"{html.escape(name)} says {ascii_lowercase[theirs]}"
            for name, theirs in self.race.given.items()
            if name != YOU
        )
        correct = self.race.given[YOU] == self.race.trial.answer
        return f"<b>{'Right' if correct else 'Wrong'}</b>, it is {right}. {others}."

    def scores(self) -> str:
        """The table of scores as HTML."""
        if not self.race.scores():
            return ""
        lines = [
            f"<tr><td>{html.escape(name)}</td><td>{one.right} of {one.trials}</td>"
            f"<td>{one.right / one.trials:.0%} ({one.low:.0%} to {one.high:.0%})</td>"
            f"<td>{f'{100 * one.behind.mean:+.0f} ± {100 * one.behind.ci95:.0f}' if one.behind else ''}</td></tr>"
            for name, one in self.race.scores().items()
        ]
        head = "<tr><th></th><th>right</th><th>share (95 %)</th><th>you - them, points</th></tr>"
        return f"<table>{head}{''.join(lines)}</table>"

    def make_board(self) -> figure:
        """The query, and below it the classes to click or to drag it onto."""
        size = {"aspect_ratio": 1.0, "height": None, "max_width": 460}
        classes = plot("", "", x_range=(-0.1, COLUMNS + 0.1), y_range=(-1.1, 2.1), **size)
        classes.image("image", "left", "bottom", 0.94, 0.94, source=self.classes, color_mapper=ink())
        classes.block("left", "bottom", 0.94, 0.94, source=self.classes, fill_color=None, line_color="colour",
                      line_width="width")  # fmt: skip
        classes.text("left", "bottom", "letter", source=self.classes, x_offset=4, text_color="#57606a",
                     text_font_size="13px")  # fmt: skip
        classes.block(*HOME, SIZE, SIZE, fill_color=None, line_color=FIRST, line_width=3)
        query = classes.image("image", "x", "y", SIZE, SIZE, source=self.query, color_mapper=ink())
        drag = PointDrawTool(renderers=[query], add=False)
        classes.add_tools(drag)
        classes.toolbar.active_drag = drag
        return classes

    def layout(self) -> UIElement:
        """Everything in its place."""
        race = self.race
        note = f"The characters are {race.characters.kind}; none of the learners was trained on them."
        if race.characters.warning:
            note = f"The characters are {race.characters.kind}. {race.characters.warning}"
        absent = [f"{one.name} ({one.most_ways})" for one in race.learners.values() if one.most_ways]
        if absent:
            note += f" Made for so many classes alone, and absent else: {', '.join(absent)}."
        return below(
            explained(TEXT),
            side_by_side(below(self.ways, self.verdict, self.board, least=330), below(self.table, least=330)),
            explained(html.escape(note)),
        )
