"""What becomes of the failure of a callback, for all tabs."""

import html
import logging
from collections.abc import Callable
from typing import Any

from bokeh.document import Document
from bokeh.model import Model
from bokeh.models import Button, ColumnDataSource, Div

from fewshot.errors import FewShotError, gist

Action = Callable[[], None]


class Page:
    """One visitor's page: runs what its widgets ask for, and says what went wrong.

    Attributes:
        document: The visitor's own.
        status: Where messages are shown.
        keys: The key that was pressed last, and the title of the tab that was shown.
    """

    def __init__(self, document: Document) -> None:
        self.document = document
        self.keys = ColumnDataSource({"tab": [], "key": [], "time": []})
        self.status = Div(css_classes=["status"], sizing_mode="stretch_width", visible=False)

    def say(self, message: str = "") -> None:
        """Shows a message, or none."""
        self.status.text = html.escape(message)
        self.status.visible = bool(message)

    def attempt(self, action: Action) -> None:
        """Runs an action; what it raises becomes a message, and the page lives on."""
        try:
            action()
            self.say()
        except FewShotError as error:
            self.say(str(error))
        except Exception as error:  # nobody can say what a visitor's browser or a learner comes up with
            logging.getLogger(__name__).exception("a callback failed")
            self.say(f"That did not work: {gist(error)}")

    def work(self, action: Action) -> None:
        """The same with an action that takes a while: first the visitor is told."""
        if self.document.session_context is None:  # nobody is looking
            self.attempt(action)
        else:
            self.say("Working …")
            self.document.add_next_tick_callback(lambda: self.attempt(action))

    def on_change(self, model: Model, name: str, action: Action, *, long: bool = False) -> None:
        """Runs an action whenever a property of a model has changed."""
        run = self.work if long else self.attempt
        model.on_change(name, lambda attr, old, new: run(action))

    def button(self, label: str, action: Action, *, long: bool = False, **options: Any) -> Button:
        """A button that runs an action."""
        button = Button(label=label, **{"width_policy": "min", **options})
        run = self.work if long else self.attempt
        button.on_click(lambda: run(action))
        return button
