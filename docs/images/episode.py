"""Draws episode.png: one test episode of Omniglot and what the prototypical network that comes along says of it.

Run ``python docs/images/episode.py`` where Omniglot is at hand (``FEWSHOT_DATA``).
"""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from fewshot.algorithms import ProtoNetModule
from fewshot.data import OmniglotDataModule
from fewshot.plots import RIGHT, WRONG, save

WAYS, QUERIES, EPISODE = 5, 4, 2
"""The episode is one with a mistake in it."""


def draw() -> Figure:
    """A row per class: its support image on the left, its queries and the labels predicted for them on the right."""
    data = OmniglotDataModule(ways=WAYS, shots=1, queries=QUERIES)
    data.prepare_data()
    data.setup("test")
    episode = data.on_after_batch_transfer(data.dataset("test", length=1, first=EPISODE).__getitems__([0]), 0)
    learner = ProtoNetModule.load_from_checkpoint("pretrained/protonet_5w1s")
    guesses = learner.predict(episode).outputs.argmax(-1)[0].tolist()

    figure = Figure(figsize=(7, 3.2), dpi=150)
    known, asked = figure.subfigures(1, 2, width_ratios=[1.4, QUERIES])
    known.suptitle("support:\nthe labels are given", fontsize=10)
    asked.suptitle("query: the labels are predicted\n(green: right, red: wrong)", fontsize=10)
    spacing = {"gridspec_kw": {"hspace": 0.2, "top": 0.83, "bottom": 0.04, "left": 0.02, "right": 0.98}}
    for axis, image, label in zip(known.subplots(WAYS, 1, **spacing), episode.support.x[0], episode.support.y[0]):
        show(axis, image, f"class {label}", "black")
    queries = asked.subplots(WAYS, QUERIES, **spacing).flat
    for axis, image, label, guess in zip(queries, episode.query.x[0], episode.query.y[0], guesses):
        show(axis, image, str(guess), RIGHT if guess == label else WRONG)
    return figure


def show(axis: Axes, image: Tensor, label: str, colour: str) -> None:
    """Draws a character ``[1, H, W]``, ink bright, with a label on its right."""
    axis.imshow(image[0], cmap="gray_r", vmin=0, vmax=1)
    axis.text(1.08, 0.5, label, color=colour, va="center", transform=axis.transAxes)
    axis.set_axis_off()


if __name__ == "__main__":
    save(draw(), Path(__file__).with_suffix(".png"))
