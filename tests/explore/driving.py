"""What drives the page without a browser."""

from bokeh.events import ButtonClick
from bokeh.models import Button, UIElement


def press(tab: UIElement, label: str) -> None:
    """Presses a button."""
    (button,) = (model for model in tab.references() if isinstance(model, Button) and model.label == label)
    button._trigger_event(ButtonClick(button))
