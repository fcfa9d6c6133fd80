"""Pure functions from data to matplotlib figures, and how these become files."""

import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from fewshot.episodes import Episode
from fewshot.files import write_bytes

RIGHT, WRONG = "tab:green", "tab:red"
MOST_CLASSES, MOST_SHOTS, MOST_QUERIES = 10, 10, 5
"""Of an episode that is drawn: rows, support images and queries in a row."""
MOST_TICKS = 12
"""Along an axis that has one for each point."""
FEW = 20
"""Points below which a curve is drawn with dots, and not smoothed."""
DOTS = {"marker": "o", "markersize": 4}


class Line(NamedTuple):
    """Points with error bars.

    Attributes:
        x: Where.
        y: How much.
        ci: Half-widths of the confidence intervals of ``y``.
    """

    x: Sequence[float]
    y: Sequence[float]
    ci: Sequence[float]


def episode_figure(episode: Episode, predictions: Tensor) -> Figure:
    """Draws the first task of a meta-batch: a row per class, its support images left, its judged queries right.

    Args:
        episode: The meta-batch, images ``[T, n, C, H, W]`` of 0 to 1: one channel is ink, three are colour.
        predictions: Predicted labels of the queries, ``[T, N*Q]``.
    """
    labels = episode.support.y[0].unique().tolist()[:MOST_CLASSES]
    rows = []
    for label in labels:
        support = episode.support.x[0][episode.support.y[0] == label][:MOST_SHOTS]
        member = episode.query.y[0] == label
        queries = episode.query.x[0][member][:MOST_QUERIES]
        rows.append((label, support, queries, predictions[0][member][:MOST_QUERIES].tolist()))
    shown = max(len(support) for _, support, *_ in rows)
    columns = shown + max(len(guesses) for *_, guesses in rows)
    figure = Figure(figsize=(columns, len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    for row, (label, support, images, guesses) in zip(axes, rows):
        row[0].set_ylabel(f"class {label}", rotation=0, ha="right", va="center")
        for axis, image in zip(row, support):
            draw_image(axis, image)
        for axis, image, guess in zip(row[shown:], images, guesses):
            draw_image(axis, image)
            axis.set_xlabel(str(guess), color=RIGHT if guess == label else WRONG, labelpad=1)
    axes[0, 0].text(0, 1.1, "support", transform=axes[0, 0].transAxes)
    heading = axes[0, shown].text(0, 1.1, "query, and its predicted class", transform=axes[0, shown].transAxes)
    heading.set_in_layout(False)  # it may reach over the columns on its right
    return figure


def contact_sheet(images: Sequence[np.ndarray], captions: Sequence[str], title: str) -> Figure:
    """Draws pictures side by side, each with a caption below.

    Args:
        images: ``uint8`` ``[C, H, W]`` each, three channels are colour.
        captions: One for each.
        title: Above them all.
    """
    columns = 8
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(1.6 * columns, 2.0 * rows + 0.4), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    for axis, image, caption in zip(axes.flat, images, captions):
        pixels = np.moveaxis(image, 0, -1)
        axis.imshow(pixels if pixels.shape[-1] == 3 else pixels[..., 0], cmap="gray", vmin=0, vmax=255)
        axis.set_xlabel(caption, fontsize=6, labelpad=2, parse_math=False)
    return figure


def draw_image(axis: Axes, image: Tensor) -> None:
    """Draws an image ``[C, H, W]``."""
    pixels = image.float().clamp(0, 1).movedim(0, -1).numpy(force=True)
    axis.imshow(pixels if pixels.shape[-1] == 3 else pixels[..., 0], cmap="gray_r", vmin=0, vmax=1)


def fits_grid(episode: Episode, outputs: Mapping[str, Mapping[str, Tensor]]) -> Figure:
    """Draws what several learners make of all tasks of a meta-batch of regressions: a row per learner.

    Args:
        episode: The meta-batch, inputs and targets ``[T, n, 1]``.
        outputs: For each learner, predictions for the queries by name, ``[T, n, 1]`` each.
    """
    tasks = len(episode.query.y)
    figure = Figure(figsize=(3.2 * tasks, 2.2 * len(outputs)), layout="constrained")
    axes = figure.subplots(len(outputs), tasks, squeeze=False, sharex=True, sharey="col")
    for row, (name, predictions) in zip(axes, outputs.items()):
        row[0].set_ylabel(name)
        for task, axis in enumerate(row):
            draw_fit(axis, episode, predictions, task)
            top = max(2.0, 1.5 * episode.query.y[task].abs().max().item())
            axis.set_ylim(-top, top)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=5, fontsize="small")
    return figure


def draw_fit(axis: Axes, episode: Episode, outputs: Mapping[str, Tensor], task: int) -> None:
    """Draws one regression: support points, the true function, and predictions of it; see :func:`fits_grid`."""

    def flat(values: Tensor) -> np.ndarray:
        return values[task].flatten().float().numpy(force=True)

    order = flat(episode.query.x).argsort()
    x = flat(episode.query.x)[order]
    axis.plot(x, flat(episode.query.y)[order], color="black", linewidth=1, label="true function")
    for style, (name, y) in zip(("-", "--", ":"), outputs.items()):
        axis.plot(x, flat(y)[order], style, label=name)
    axis.scatter(flat(episode.support.x), flat(episode.support.y), color="black", marker="^", zorder=3, label="support")


def lines_figure(
    lines: Mapping[str, Line],
    xlabel: str,
    ylabel: str,
    level: float | None = None,
    places: Sequence[str] = (),
    joined: bool = True,
) -> Figure:
    """Draws points with error bars, a line per name.

    Args:
        lines: By what the legend calls them.
        xlabel: What x is.
        ylabel: What y is.
        level: Drawn as a dashed line across.
        places: What to call x = 0, 1, ..., where it is no number.
        joined: Whether lines go from point to point.
    """
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axis = figure.subplots()
    for name, (x, y, ci) in lines.items():
        axis.errorbar(x, y, ci, fmt="o-" if joined else "o", markersize=4, capsize=3, label=name)
    if level is not None:
        axis.axhline(level, color="gray", linestyle="--", linewidth=1)
    axis.set(xlabel=xlabel, ylabel=ylabel)
    ticks = sorted({place for line in lines.values() for place in line.x})
    if places:
        axis.set_xticks(range(len(places)), places)
    elif len(ticks) <= MOST_TICKS:
        axis.set_xticks(ticks)
    axis.grid(alpha=0.3)
    figure.legend(loc="outside upper center", ncols=2, fontsize="small")
    return figure


def smoothed(values: Sequence[float] | np.ndarray, weight: float) -> np.ndarray:
    """Exponential moving average with the given weight of the past, unbiased at the beginning, as in TensorBoard.

    Values that are not finite are left as they are, and count for nothing.
    """
    values, past = np.asarray(values, dtype=float), weight ** np.arange(len(values))
    finite = np.isfinite(values)
    sums, weights = (np.convolve(part, past)[: len(values)] for part in (np.where(finite, values, 0), finite))
    return np.where(finite, sums / np.where(finite, weights, 1), values)


def curves_figure(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float], Sequence[float]]],
    ylabel: str,
    percent: bool = False,
    smoothing: float = 0.0,
) -> Figure:
    """Draws values of runs over outer steps and over minutes: smoothed, with the raw ones behind.

    A curve of few points is drawn as it is, with markers.

    Args:
        curves: For each run, its outer steps, its values, and the minutes that it had taken at each.
        ylabel: What the values are.
        percent: Draw values of 0 to 1 as percent.
        smoothing: Weight of the past, 0 to 1.
    """
    figure = Figure(figsize=(11, 4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for number, (name, (steps, values, minutes)) in enumerate(curves.items()):
        raw = np.asarray(values) * (100 if percent else 1)
        # Ten colours, then the same ones in another style.
        style = {"color": f"C{number % 10}", "linestyle": ("-", "--", ":")[number // 10 % 3]}
        few = len(raw) < FEW
        for axis, x in zip(axes, (steps, minutes)):
            axis.plot(x, raw if few else smoothed(raw, smoothing), label=name, **style, **(DOTS if few else {}))
            if smoothing and not few:
                axis.plot(x, raw, alpha=0.25, **style)
    axes[0].set(xlabel="outer step", ylabel=f"{ylabel} (%)" if percent else ylabel)
    axes[1].set(xlabel="minutes")
    for axis in axes:
        axis.grid(alpha=0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize="small")
    return figure


def save(figure: Figure, path: Path, dpi: int = 150) -> None:
    """Writes a figure as PNG, whole or not at all."""
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a box stands in its place
        figure.savefig(content, format="png", dpi=dpi)
    write_bytes(path, content.getvalue())
