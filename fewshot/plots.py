"""Pure functions from data to matplotlib figures."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from fewshot.episodes import Episode

RIGHT, WRONG = "tab:green", "tab:red"


def episode_figure(episode: Episode, predictions: Tensor, ways: int = 10, queries: int = 5) -> Figure:
    """Draws the first task of a meta-batch: a row per class, its support image left, its judged queries right.

    Args:
        episode: The meta-batch, images ``[T, n, 1, H, W]``.
        predictions: Predicted labels of the queries, ``[T, N*Q]``.
        ways: Rows to draw at most.
        queries: Queries to draw per class at most.
    """
    labels = episode.support.y[0].unique().tolist()[:ways]
    rows = []
    for label in labels:
        support = episode.support.x[0][episode.support.y[0] == label][:1]
        member = episode.query.y[0] == label
        rows.append((label, support, episode.query.x[0][member][:queries], predictions[0][member][:queries].tolist()))
    columns = 1 + max(len(guesses) for *_, guesses in rows)
    figure = Figure(figsize=(columns, len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    for row, (label, support, images, guesses) in zip(axes, rows):
        row[0].imshow(support[0, 0].float().numpy(force=True), cmap="gray_r", vmin=0, vmax=1)
        row[0].set_ylabel(f"class {label}", rotation=0, ha="right", va="center")
        for axis, image, guess in zip(row[1:], images, guesses):
            axis.imshow(image[0].float().numpy(force=True), cmap="gray_r", vmin=0, vmax=1)
            axis.set_xlabel(str(guess), color=RIGHT if guess == label else WRONG, labelpad=1)
    axes[0, 0].text(0, 1.1, "support", transform=axes[0, 0].transAxes)
    heading = axes[0, 1].text(0, 1.1, "query, and its predicted class", transform=axes[0, 1].transAxes)
    heading.set_in_layout(False)  # it may reach over the columns on its right
    return figure


def curves_figure(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], title: str) -> Figure:
    """Draws validation accuracy (0 to 1) over outer steps, a line per run.

    Args:
        curves: For each run, its outer steps and its accuracies.
        title: What the runs have in common.
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    for name, (steps, accuracies) in curves.items():
        axis.plot(steps, 100 * np.asarray(accuracies), marker=".", label=name)
    axis.set(xlabel="outer step", ylabel="validation accuracy (%)", title=title)
    axis.grid(alpha=0.3)
    axis.legend()
    return figure
