"""The table and the picture of a race."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter

from benchmarks.race.record import BEST, MARKS, name_of
from fewshot.studies.tables import markdown

NOT_REACHED = "not reached"

Records = Mapping[str, dict[str, Any]]
"""The contents of records, by contestant."""


def table(records: Records) -> str:
    """A row per contestant: minutes until each mark in validation, with the test of that state; then the best state."""
    marks = [name_of(mark) for mark in MARKS]
    columns = ["contestant", *(f"minutes to {mark} %" for mark in marks), "best", "minutes", "outer steps"]
    rows = []
    for name, content in records.items():
        states, (seconds, steps, _) = content["states"], content["points"][-1]
        cells = [_cell(states.get(mark)) for mark in marks]
        best = f"{100 * states[BEST]['point'][2]:.2f} ({_test(states[BEST])})"
        unfinished = "" if content["finished"] else " (unfinished)"
        rows.append([name + unfinished, *cells, best, f"{seconds / 60:.1f}", steps])
    return markdown(columns, rows)


def _cell(state: dict[str, Any] | None) -> str:
    return NOT_REACHED if state is None else f"{state['point'][0] / 60:.2f} ({_test(state)})"


def _test(state: dict[str, Any]) -> str:
    if "test" not in state:
        return "not tested"
    interval = "" if state["ci95"] is None else f" ± {100 * state['ci95']:.2f}"
    return f"test {100 * state['test']:.2f}{interval}"


def figure(records: Records) -> Figure:
    """Validation accuracy over minutes of training, on a logarithmic axis; fewshot's contestants are drawn bold."""
    drawn = Figure(figsize=(8, 4.5), layout="constrained")
    axes = drawn.subplots()
    for name, content in records.items():
        seconds, _, accuracies = zip(*content["points"])
        width = 2.5 if name.startswith("fewshot") else 1.2
        axes.plot([s / 60 for s in seconds], accuracies, linewidth=width, marker=".", label=name)
    for mark in MARKS:
        axes.axhline(mark, color="grey", linewidth=0.8, linestyle=":")
    axes.set(xscale="log", xlabel="minutes of training", ylabel="validation accuracy, 5-way 1-shot")
    for write in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        write(FormatStrFormatter("%g"))  # 0.4, not 4 x 10^-1
    lowest = min(content["points"][-1][2] for content in records.values())
    axes.set_ylim(bottom=min(0.9, lowest - 0.02))
    axes.legend()
    return drawn
