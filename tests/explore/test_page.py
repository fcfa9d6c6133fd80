"""The frame: tabs, messages instead of failures, and visitors that do not disturb one another."""

import gc
import weakref

import pytest
from bokeh.document import Document
from bokeh.models import Div, Slider, TabPanel, Tabs, Toggle

from fewshot.errors import FewShotError
from fewshot.explore.tabs import frame
from fewshot.explore.tabs.frame import fill


def one(document: Document, kind: type):
    return next(model for model in document.models if type(model) is kind)


@pytest.fixture(scope="module")
def document(shelf):
    document = Document()
    fill(document, shelf)
    document.validate()
    return document


def test_there_are_six_tabs_and_each_says_what_to_do(document):
    panels = one(document, Tabs).tabs
    assert [panel.title for panel in panels] == [
        "Sinusoids", "Are you better?", "Draw", "Where do gradients lead?", "Methods", "Look inside"
    ]  # fmt: skip
    for panel in panels:
        texts = [model.text for model in panel.references() if isinstance(model, Div)]
        assert not any("cannot be shown" in text for text in texts)
        assert any("explained" in model.css_classes for model in panel.references() if isinstance(model, Div))


def test_the_page_can_be_dark(document):
    one(document, Toggle).active = True
    assert document.theme is frame.THEMES[True]


def test_what_an_action_raises_is_a_message_until_the_next(page):
    slider = Slider(start=0, end=9, value=1)

    def fail() -> None:
        if slider.value < 3:
            raise FewShotError("too <small>")
        if slider.value == 3:
            raise RuntimeError("something else")

    page.on_change(slider, "value", fail)
    slider.value = 2
    assert page.status.text == "too &lt;small&gt;"
    assert page.status.visible
    slider.value = 3
    assert page.status.text == "That did not work: something else"
    slider.value = 4
    assert not page.status.visible


def test_a_tab_that_fails_says_why_and_the_others_are_there(page, shelf, monkeypatch):
    def broken(*_: object) -> None:
        raise FewShotError("no learners")

    monkeypatch.setattr(frame, "Draw", broken)
    panels = {panel.title: panel for panel in frame.panels(page, shelf)}
    assert isinstance(panels["Draw"], TabPanel)
    assert panels["Draw"].child.text == "This tab cannot be shown: no learners"
    assert not isinstance(panels["Sinusoids"].child, Div)


def test_visitors_have_documents_of_their_own_which_are_forgotten(document, shelf):
    other = Document()
    fill(other, shelf)
    assert not {model.id for model in other.models} & {model.id for model in document.models}
    assert not {id(model) for model in other.models} & {id(model) for model in document.models}
    gone = weakref.ref(other)
    other.clear()
    del other
    gc.collect()
    assert gone() is None
