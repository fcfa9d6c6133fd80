"""The frame of the page: its head, its tabs, its look."""

import html
import logging
from collections.abc import Callable
from pathlib import Path

from bokeh.document import Document
from bokeh.events import DocumentReady
from bokeh.layouts import column, row
from bokeh.models import CustomJS, Div, InlineStyleSheet, TabPanel, Tabs, Toggle, UIElement

from fewshot.errors import gist
from fewshot.explore.race import Race
from fewshot.explore.shelf import Shelf
from fewshot.explore.tabs.draw import Draw
from fewshot.explore.tabs.gradients import Gradients
from fewshot.explore.tabs.inside import InsideTab
from fewshot.explore.tabs.look import THEMES, template
from fewshot.explore.tabs.methods import MethodsTab
from fewshot.explore.tabs.page import Page
from fewshot.explore.tabs.race import RaceTab
from fewshot.explore.tabs.sinusoids import Sinusoids

STYLE = Path(__file__).with_name("style.css")

KEYS = """
window.addEventListener("keydown", event => {
  const typing = event.composedPath()[0].matches("input, textarea, select");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  keys.data = {tab: [tabs.tabs[tabs.active].title], key: [event.key], time: [event.timeStamp]};
});
"""
"""Tells the server of keys."""


def fill(document: Document, shelf: Shelf) -> None:
    """Builds the page of a visitor.

    Args:
        document: Theirs.
        shelf: What all visitors share.
    """
    page = Page(document)
    document.title = "fewshot explore"
    document.template = template()
    document.theme = THEMES[False]
    tabs = Tabs(tabs=panels(page, shelf), sizing_mode="stretch_width", css_classes=["tabs"])
    dark = Toggle(label="Dark", width_policy="min", css_classes=["dark"])
    page.on_change(dark, "active", lambda: setattr(document, "theme", THEMES[bool(dark.active)]))
    dark.js_on_change("active", CustomJS(code="document.documentElement.classList.toggle('dark', cb_obj.active)"))
    prefers = "toggle.active = window.matchMedia('(prefers-color-scheme: dark)').matches"
    document.js_on_event(DocumentReady, CustomJS(args={"toggle": dark}, code=prefers))
    document.js_on_event(DocumentReady, CustomJS(args={"tabs": tabs, "keys": page.keys}, code=KEYS))
    title = Div(text="<h1>Play with few-shot learning</h1>", sizing_mode="stretch_width")
    head = row(title, dark, sizing_mode="stretch_width")
    root = column(head, page.status, tabs, sizing_mode="stretch_width", tags=[page.keys])
    sheet = InlineStyleSheet(css=STYLE.read_text())
    for model in root.references():
        if isinstance(model, UIElement):
            model.stylesheets = [*model.stylesheets, sheet]
    document.add_root(root)


def panels(page: Page, shelf: Shelf) -> list[TabPanel]:
    """The tabs; one that cannot be built says why, and the others are there."""
    race = Race(shelf.characters, shelf.drawings)
    builders: dict[str, Callable[[], UIElement]] = {
        "Sinusoids": lambda: Sinusoids(page, shelf.sinusoids).layout(),
        RaceTab.title: lambda: RaceTab(page, race).layout(),
        "Draw": lambda: Draw(page, shelf.drawings).layout(),
        "Where do gradients lead?": lambda: Gradients(page).layout(),
        "Methods": lambda: MethodsTab(page, race).layout(),
        "Look inside": lambda: InsideTab(page, shelf).layout(),
    }
    result = []
    for title, build in builders.items():
        try:
            content = build()
        except Exception as error:
            logging.getLogger(__name__).exception("a tab cannot be built")
            content = Div(text=f"This tab cannot be shown: {html.escape(gist(error))}")
        result.append(TabPanel(child=content, title=title))
    return result
