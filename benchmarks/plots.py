"""Pictures of the measurements."""

from statistics import median
from typing import Any

from matplotlib.figure import Figure


def times_figure(by_tasks: list[dict[str, Any]], by_steps: list[dict[str, Any]]) -> Figure:
    """Time per outer step against tasks, and against inner steps; both axes logarithmic."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    for axes, rows, field, label in zip(
        figure.subplots(1, 2, sharey=True),
        (by_tasks, by_steps),
        ("tasks", "steps"),
        ("tasks (1 step)", "inner steps (32 tasks)"),
    ):
        for engine in dict.fromkeys(row["engine"] for row in rows):
            points = [(row[field], median(row["seconds"]) * 1e3) for row in rows if row["engine"] == engine]
            ours = engine in ("recorded", "vectorized", "sequential")
            axes.plot(*zip(*points), marker="o", linewidth=2.5 if ours else 1.2, label=f"{'fewshot ' * ours}{engine}")
        axes.set(xscale="log", yscale="log", xlabel=label, title="5-way 1-shot, second order")
        axes.set_xticks(sorted({row[field] for row in rows}), sorted({row[field] for row in rows}))
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("ms per outer step")
    figure.axes[0].legend()
    return figure
