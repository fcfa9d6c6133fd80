"""How the page looks: colours, themes of the plots, figures and texts that all tabs share."""

from functools import cache
from pathlib import Path
from typing import Any

from bokeh.layouts import column, row
from bokeh.models import Div, LinearColorMapper, UIElement
from bokeh.plotting import figure
from bokeh.themes import Theme
from jinja2 import Template

FIRST, SECOND, THIRD, FOURTH, FIFTH = COLOURS = ("#0077bb", "#ee7733", "#009988", "#cc3377", "#8866cc")
"""Of lines and points: told apart by the colour-blind, and readable on light and on dark."""

PAPER_AND_INK = tuple(f"#{level:02x}{level:02x}{level:02x}" for level in range(255, -1, -1))
"""From paper, 0, to ink, 1."""

GREY = "#808890"
RIGHT, WRONG = "#009988", "#cc3311"


def _theme(text: str, paper: str, grid: str) -> Theme:
    font = {"text_font": "system-ui, sans-serif"}
    axis = {
        "axis_label_text_font_style": "normal", "axis_label_text_color": text, "major_label_text_color": text,
        "axis_line_color": grid, "major_tick_line_color": grid, "minor_tick_line_color": None,
        "axis_label_text_font": "system-ui, sans-serif", "major_label_text_font": "system-ui, sans-serif",
        "axis_label_text_font_size": "14px", "major_label_text_font_size": "12px",
    }  # fmt: skip
    return Theme(
        json={
            "attrs": {
                "Plot": {"background_fill_color": paper, "border_fill_color": None, "outline_line_color": grid},
                "Axis": axis,
                "Grid": {"grid_line_color": grid, "grid_line_alpha": 0.5},
                "Title": {"text_color": text, **font},
                "LabelSet": {"text_color": text, **font},
                "Legend": {
                    "label_text_color": text, "label_text_font": "system-ui, sans-serif", "border_line_color": None,
                    "background_fill_color": paper, "background_fill_alpha": 0.8, "label_text_font_size": "12px",
                },
                "BaseColorBar": {
                    "background_fill_color": None, "major_label_text_color": text, "title_text_color": text,
                },
            }
        }
    )  # fmt: skip


THEMES = {False: _theme("#22272e", "#ffffff", "#d0d7de"), True: _theme("#dde3ea", "#1c2128", "#444c56")}
"""Of the plots, by whether the page is dark."""


@cache
def template() -> Template:
    """The HTML around the page."""
    return Template(Path(__file__).with_name("page.html").read_text())


def plot(x_label: str, y_label: str, **options: Any) -> figure:
    """A figure without tools, whose axes say what they are.

    Args:
        x_label: Along the horizontal axis, with the unit; nothing hides the axis.
        y_label: Along the vertical axis.
        **options: Those of Bokeh's figure.
    """
    size = {"height": 340, "sizing_mode": "stretch_width"}
    made = figure(**{**size, "tools": "", "toolbar_location": None, **options})
    for axis, label in ((made.xaxis, x_label), (made.yaxis, y_label)):
        axis.axis_label = label
        axis.visible = bool(label)
    if not x_label and not y_label:
        made.grid.visible = False
    return made


def ink() -> LinearColorMapper:
    """The colours of drawings, whose pixels are 0 to 1."""
    return LinearColorMapper(palette=PAPER_AND_INK, low=0, high=1)


def explained(text: str) -> Div:
    """What to do in a tab, and what to see."""
    return Div(text=text, css_classes=["explained"], sizing_mode="stretch_width")


def side_by_side(*children: UIElement) -> UIElement:
    """Elements beside one another, below one another where that is too narrow."""
    return row(*children, css_classes=["wrap"], sizing_mode="stretch_width")


def together(*children: UIElement) -> UIElement:
    """Elements that stay beside one another."""
    return row(*children, width_policy="min")


def below(*children: UIElement, least: int | None = None) -> UIElement:
    """Elements below one another, ``least`` pixels wide."""
    return column(*children, sizing_mode="stretch_width", min_width=least)
