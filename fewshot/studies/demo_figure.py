"""The picture that the demo ends with: curves, and one episode before and after adaptation."""

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from torch import Tensor

from fewshot.episodes import Episode, Prediction
from fewshot.evaluation.curves import Curve
from fewshot.plots import RIGHT, WRONG, draw_image

QUERIES = 4
"""Queries to draw per class."""


def demo_figure(curves: Mapping[str, Curve], episode: Episode, prediction: Prediction, title: str) -> Figure:
    """Draws validation curves with the level of chance, and the first task of a meta-batch with its predictions.

    Args:
        curves: Validation accuracy of each learner, 0 to 1.
        episode: A meta-batch of test episodes, images ``[T, n, C, H, W]``.
        prediction: What a learner that adapts makes of it, before and after.
        title: What all of it is of.
    """
    figure = Figure(figsize=(12.5, 5.4), layout="constrained")
    figure.suptitle(title)
    left, right = figure.subfigures(1, 2, width_ratios=(1.15, 1))  # type: ignore[misc]
    ways = len(episode.support.y[0].unique())
    _draw_curves(left.subplots(), curves, 100 / ways)
    assert prediction.before is not None
    _draw_episode(right, episode, prediction.before.argmax(-1)[0], prediction.outputs.argmax(-1)[0])
    return figure


def _draw_curves(axis: Axes, curves: Mapping[str, Curve], chance: float) -> None:
    for name, (steps, values, _) in curves.items():
        axis.plot(steps, [100 * value for value in values], "o-", markersize=4, label=name)
    axis.axhline(chance, color="gray", linestyle="--", linewidth=1, label=f"chance: {chance:.0f} %")
    axis.set(xlabel="outer step of the training", ylabel="accuracy (%)", xlim=(0, None), ylim=(0, 100))
    axis.set_title("Accuracy on characters that were not trained on", fontsize="medium")
    axis.grid(alpha=0.3)
    axis.legend(loc="lower right", fontsize="small")


def _draw_episode(figure: SubFigure, episode: Episode, before: Tensor, after: Tensor) -> None:
    """Draws a row per class: its support images, and queries with the class predicted before and after."""
    support, query = episode.support, episode.query
    labels = support.y[0].unique().tolist()
    shots = int((support.y[0] == labels[0]).sum())
    axes = figure.subplots(len(labels), shots + QUERIES, squeeze=False)
    figure.suptitle(
        "One test episode, and what MAML takes each query for:\nclass before → after adaptation, green if right",
        size=10,
    )
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    for row, label in zip(axes, labels):
        row[0].set_ylabel(f"class {label}", rotation=0, ha="right", va="center")
        for axis, image in zip(row, support.x[0][support.y[0] == label]):
            draw_image(axis, image)
        own = (query.y[0] == label).nonzero().flatten().tolist()
        for axis, number in zip(row[shots:], own):
            draw_image(axis, query.x[0][number])
            guess = int(after[number])
            axis.set_xlabel(f"{int(before[number])} → {guess}", color=RIGHT if guess == label else WRONG, labelpad=1)
    axes[0, 0].set_title("support", fontsize="small")
    axes[0, shots].set_title("queries", fontsize="small")
