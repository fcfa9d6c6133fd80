"""The page in a real browser, where there is one."""

import shutil
import time
from collections.abc import Iterator

import pytest
from explore.test_drawing import CHARACTERS

playwright = pytest.importorskip("playwright.sync_api", reason="no browser is driven without Playwright")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")

LAPTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
PATIENCE = 60_000  # milliseconds, for machines that do other things as well

PLACE = """tool => {
  const [view] = [...Bokeh.index.query(view => view.model.type == "Figure"
    && view.el.checkVisibility({visibilityProperty: true}) && view.model.toolbar.tools.some(own => own.type == tool))];
  view.el.scrollIntoView({block: "center"});
  const plot = view.el.getBoundingClientRect(), {left, top, width, height} = view.frame.bbox;
  return {x: plot.x + left, y: plot.y + top, width, height};
}"""
"""Where the first plot is that has a tool and can be seen."""

COLUMN = """([type, tool, name]) => [...Bokeh.documents[0]._all_models.values()]
  .filter(model => model.type == type && (!tool || model.toolbar?.tools.some(own => own.type == tool)))
  .flatMap(model => model.renderers).map(own => own.data_source.data[name]).filter(own => own !== undefined)
  .map(own => Array.from(own))"""
"""The columns of a name in the plots that have a tool."""

ANSWER = """() => {
  const bars = [...Bokeh.documents[0]._all_models.values()].filter(model => model.type == "Figure")
    .flatMap(model => model.renderers).map(own => own.data_source).filter(source => source.data.right !== undefined);
  let up = 0;
  addEventListener("pointerup", () => up = performance.now(), {capture: true, once: true});
  const drawn = source => new Promise(done => source.properties.data.change.connect(() => up && done()));
  window.answered = Promise.all(bars.map(drawn)).then(() => new Promise(requestAnimationFrame))
    .then(() => performance.now() - up);
}"""
"""Has the page take the milliseconds from the end of the next stroke to the frame that shows both learners' answers."""

TABS = ("Are you better?", "Draw", "Where do gradients lead?", "Methods", "Look inside", "Sinusoids")


class Visitor:
    """Somebody with a mouse.

    Attributes:
        tab: The browser's.
        errors: What its console complained about.
    """

    def __init__(self, tab: "playwright.Page", url: str) -> None:
        self.tab, self.errors = tab, []
        tab.set_default_timeout(PATIENCE)
        tab.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        tab.on("pageerror", lambda error: self.errors.append(str(error)))
        tab.on("request", lambda request: None if request.url.startswith(url) else self.refuse(request.url))
        tab.goto(url)
        tab.wait_for_selector(".bk-tab")
        tab.wait_for_function("Bokeh.documents[0].is_idle")

    def refuse(self, url: str) -> None:
        """Nothing is to come from outside."""
        if not url.startswith("data:"):
            self.errors.append(f"asks for {url}")

    def open(self, title: str) -> None:
        self.tab.locator(".bk-tab", has_text=title).click()

    def press(self, label: str) -> None:
        self.tab.locator("button:visible", has_text=label).click()

    def point(self, tool: str, x: float, y: float) -> tuple[float, float]:
        """A place in a plot, from its lower left corner, 0 to 1."""
        place = self.tab.evaluate(PLACE, tool)
        return place["x"] + x * place["width"], place["y"] + (1 - y) * place["height"]

    def draw(self, strokes: list, shift: float = 0.0) -> None:
        for stroke in strokes:
            self.drag("FreehandDrawTool", [(x + shift, y) for x, y in stroke])

    def drag(self, tool: str, way: list[tuple[float, float]]) -> None:
        first, *others = [self.point(tool, x, y) for x, y in way]
        self.tab.mouse.move(*first)
        self.tab.mouse.down()
        for place in others:
            self.tab.mouse.move(*place, steps=3)
        self.tab.mouse.up()

    def columns(self, tool: str, name: str) -> list[list]:
        return self.tab.evaluate(COLUMN, ["Figure", tool, name])

    def sees(self, text: str) -> None:
        self.tab.locator(f"text={text} >> visible=true").first.wait_for()


@pytest.fixture(scope="module")
def browser() -> Iterator["playwright.Browser"]:
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def visitor(browser, url) -> Visitor:
    return Visitor(browser.new_context(viewport=LAPTOP).new_page(), url)


@pytest.fixture(autouse=True)
def no_errors(visitor) -> Iterator[None]:
    yield
    assert visitor.errors == []


def test_every_tab_opens(visitor):
    for title in TABS:
        visitor.open(title)
        visitor.tab.locator(".bk-Figure:visible").first.wait_for()


@pytest.mark.parametrize("size", [PHONE, LAPTOP], ids=["phone", "laptop"])
def test_every_tab_fits_light_and_dark(visitor, size):
    visitor.tab.set_viewport_size(size)
    for _ in ("dark", "light"):
        visitor.press("Dark")
        for title in TABS:
            visitor.open(title)
            visitor.tab.wait_for_function(f"document.documentElement.scrollWidth <= {size['width']}")


def test_a_sinusoid_is_clicked_and_fitted(visitor):
    visitor.open("Sinusoids")
    before = visitor.tab.locator("text=mean squared error >> visible=true").last.inner_text()
    for x in (0.3, 0.7):
        visitor.tab.mouse.click(*visitor.point("PointDrawTool", x, 0.7))
        time.sleep(0.4)  # or else it is a double click
    on_wave = [column for column in visitor.columns("PointDrawTool", "y") if len(column) == 2]
    assert on_wave
    assert max(map(abs, on_wave[0])) <= 2.5
    deadline = time.monotonic() + 60
    while visitor.tab.locator("text=mean squared error >> visible=true").last.inner_text() == before:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_question_is_answered_by_a_key_by_a_click_and_by_dragging(visitor):
    visitor.open("Are you better?")
    visitor.tab.keyboard.press("b")
    visitor.sees("it is")
    visitor.tab.keyboard.press("Enter")
    visitor.sees("Which is it?")
    visitor.tab.mouse.click(*visitor.point("PointDrawTool", 0.1, 0.2))
    visitor.sees("it is")
    visitor.tab.keyboard.press("Enter")
    visitor.sees("Which is it?")
    visitor.drag("PointDrawTool", [(0.5, 0.7), (0.4, 0.6), (0.3, 0.2)])
    visitor.sees("it is")


def test_characters_are_drawn_and_one_is_classified(visitor):
    visitor.open("Draw")
    for name in ("hook", "cross", "wave"):
        visitor.draw(CHARACTERS[name])
        visitor.press("Keep as a new class")
        visitor.tab.wait_for_function(f"({COLUMN})(['Figure', 'FreehandDrawTool', 'xs'])[0].length == 0")
    visitor.draw(CHARACTERS["cross"], shift=0.05)
    visitor.sees("Answered in")
    second = "columns.length == 2 && columns.every(column => column[1] > 0.5)"
    bars = f"({COLUMN})(['Figure', '', 'right']).filter(column => column.length == 3)"
    visitor.tab.wait_for_function(f"(columns => {second})({bars})")  # once both strokes are answered
    visitor.press("Clear the pad")
    milliseconds = []
    for _ in range(5):
        visitor.tab.evaluate(ANSWER)
        visitor.draw(CHARACTERS["wave"])
        milliseconds.append(visitor.tab.evaluate("window.answered"))
    assert min(milliseconds) < 200  # the others, too, where nothing else has to be computed meanwhile


def test_paths_of_gradients_are_drawn(visitor):
    visitor.open("Where do gradients lead?")
    visitor.press("Go")
    paths = f"({COLUMN})(['Figure', 'PointDrawTool', 'a']).filter(column => column.length > 100)"
    visitor.tab.wait_for_function(f"{paths}.length == 8")  # of four algorithms, each with a white edge
