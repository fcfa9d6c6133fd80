"""What an outer step of MAML's relatives costs: ``python -m benchmarks.costs``.

Every algorithm sees the same 5-way 1-shot tasks with one query per class and the same network, in a process of its own,
one step of each in turn. The numbers of inner steps are the same for all, whatever each would take in practice.
"""

import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from jsonargparse import auto_cli
from matplotlib.figure import Figure
from rich.console import Console

from benchmarks.work import Work, tensors
from fewshot.algorithms import EpisodicModule, IMAMLModule, MAMLModule, ReptileModule
from fewshot.episodes import Episode, Examples
from fewshot.networks import Conv4
from fewshot.studies.tables import markdown

Step = Callable[[], tuple[float, float]]

ALGORITHMS = ("maml", "fomaml", "anil", "reptile", "imaml")


def maml(work: Work) -> Step:
    """Second order."""
    return stepper(MAMLModule(Conv4(), outputs=work.ways, adaptation_steps=work.steps), work)


def fomaml(work: Work) -> Step:
    """First order."""
    return stepper(MAMLModule(Conv4(), outputs=work.ways, adaptation_steps=work.steps, first_order=True), work)


def anil(work: Work) -> Step:
    """Second order, in the head alone."""
    return stepper(MAMLModule(Conv4(), outputs=work.ways, adaptation_steps=work.steps, adapt="head"), work)


def reptile(work: Work) -> Step:
    """Inner Adam, all tasks at once; without the queries' pass, of which it learns nothing, it would be cheaper."""
    return stepper(ReptileModule(Conv4(), outputs=work.ways, adaptation_steps=work.steps), work)


def imaml(work: Work) -> Step:
    """Five steps of conjugate gradients."""
    return stepper(IMAMLModule(Conv4(), outputs=work.ways, adaptation_steps=work.steps), work)


def stepper(module: EpisodicModule, work: Work) -> Step:
    """One outer step after another."""
    x, y, query_x, query_y = tensors(work)
    episode = Episode(Examples(x, y), Examples(query_x, query_y))
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]

    def step() -> tuple[float, float]:
        module.zero_grad()
        loss, _ = module.outer_loss(episode)
        loss.backward()
        return loss.item(), torch.stack([p.grad.norm() for p in parameters if p.grad is not None]).norm().item()

    return step


def cost_table(rows: list[dict[str, Any]]) -> str:
    """Milliseconds, and memory above that of the process before its first step: a row per number of inner steps."""
    algorithms = dict.fromkeys(row["engine"] for row in rows)
    columns = ["inner steps", *(f"{algorithm}, {unit}" for algorithm in algorithms for unit in ("ms", "MB"))]
    lines = []
    for steps in dict.fromkeys(row["steps"] for row in rows):
        own = [row for row in rows if row["steps"] == steps]
        cells = [(1e3 * median(row["seconds"]), row["peak_mb"] - row["idle_mb"]) for row in own]
        lines.append([str(steps), *(f"{value:.0f}" for pair in cells for value in pair)])
    return markdown(columns, lines)


def cost_figure(rows: list[dict[str, Any]]) -> Figure:
    """The same as pictures."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for algorithm in dict.fromkeys(row["engine"] for row in rows):
        own = [row for row in rows if row["engine"] == algorithm]
        steps = [row["steps"] for row in own]
        left.plot(steps, [1e3 * median(row["seconds"]) for row in own], marker="o", label=algorithm)
        right.plot(steps, [row["peak_mb"] - row["idle_mb"] for row in own], marker="o")
    left.set(xlabel="inner steps", ylabel="ms per outer step", ylim=(0, None))
    right.set(xlabel="inner steps", ylabel="peak memory (MB above idle)", ylim=(0, None))
    for axis in (left, right):
        axis.grid(alpha=0.3)
    figure.legend(loc="outside upper center", ncols=5)
    return figure


def main(
    out: Path = Path("family/report"),
    algorithms: tuple[str, ...] = ALGORITHMS,
    rounds: int = 5,
    tasks: int = 16,
    steps: list[int] = list(range(1, 11)),  # noqa: B006
) -> None:
    """Measures time and memory against the number of inner steps, on this machine's CPU.

    Args:
        out: Folder for costs.json, costs.md and costs.png.
        algorithms: Which to measure.
        rounds: Steps of each algorithm, taken in turn; the median counts.
        tasks: Tasks per outer step.
        steps: Numbers of inner steps.
    """
    from benchmarks.__main__ import machine, measure

    out.mkdir(parents=True, exist_ok=True)
    console = Console(width=160)
    rows: list[dict[str, Any]] = []
    for count in steps:
        console.print(f"measuring {count} inner steps")
        rows += measure(Work(tasks=tasks, steps=count), algorithms, rounds)
        (out / "costs.json").write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")
    (out / "costs.md").write_text(cost_table(rows))
    console.print(cost_table(rows))
    cost_figure(rows).savefig(out / "costs.png", dpi=100)
    console.print(f"Results: {out / 'costs.json'}, costs.md, costs.png")


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
