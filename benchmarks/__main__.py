"""``python -m benchmarks``: measures, prints tables, and writes ``results.json`` and pictures to a folder."""

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any, Literal

import torch
from jsonargparse import auto_cli
from rich.console import Console
from rich.table import Table

from benchmarks import pipeline
from benchmarks.plots import times_figure
from benchmarks.work import Work

COMPARED = ("recorded", "vectorized", "sequential", "learn2learn", "higher", "torchopt", "jax")
"""These agree about the loss and its gradient's norm."""
ENGINES = (*COMPARED, "bf16", "floor")
SECOND_ORDER_ONLY = ("higher", "torchopt")
LIBRARIES = ("torch", "pytorch-lightning", "learn2learn", "higher", "torchopt", "jax", "easyfsl")
SAME = 1e-2  # relative; float32 in another order, which batch norm over few images amplifies; first order is 10 % off

Row = dict[str, Any]


def table_works() -> list[Work]:
    """The works of the table, as published: 32 tasks of 5 ways, 16 of 20."""
    second_order = [
        Work(ways, shots, 32 if ways == 5 else 16, steps)
        for ways, shots in ((5, 1), (5, 5), (20, 1))
        for steps in (1, 5)
    ]
    first_order = [work._replace(first_order=True) for work in second_order if work.shots == 1]
    return second_order + first_order


class Worker:
    """A process that holds one engine and one work: see ``benchmarks/worker.py``."""

    def __init__(self, engine: str, work: Work, device: str = "cpu") -> None:
        command = [sys.executable, "-m", "benchmarks.worker", engine, json.dumps(work), device]
        self.process = subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.name = f"{engine} on {work.name}"

    def answer(self) -> Any:
        """Waits for the next line of JSON."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} failed, as told above")
        return json.loads(line)

    def step(self) -> float:
        """Seconds of one step."""
        assert self.process.stdin is not None
        self.process.stdin.write("step\n")
        self.process.stdin.flush()
        return self.answer()

    def peak(self) -> float:
        """Ends the process; its peak memory in MB."""
        return json.loads(self.process.communicate()[0])


def measure(work: Work, engines: Iterable[str], rounds: int, device: str = "cpu") -> list[Row]:
    """Times every engine on one work: each in a process of its own, one step of each in turn.

    Raises:
        RuntimeError: If two engines of MAML disagree about the loss or the norm of its gradient.
    """
    engines = [engine for engine in engines if not (work.first_order and engine in SECOND_ORDER_ONLY)]
    workers, rows = [], []
    for engine in engines:
        workers.append(Worker(engine, work, device))
        loss, norm, first, idle = workers[-1].answer()  # it has compiled
        told = {"loss": loss, "norm": norm, "first": first, "idle_mb": idle}
        rows.append({**work._asdict(), "engine": engine, **told, "seconds": []})
    for _ in range(rounds):
        for worker, row in zip(workers, rows):
            row["seconds"].append(worker.step())
    for worker, row in zip(workers, rows):
        row["peak_mb"] = worker.peak()
    for what in ("loss", "norm"):
        values = [row[what] for row in rows if row["engine"] in COMPARED]
        if values and not max(values) - min(values) <= SAME * max(values):
            raise RuntimeError(f"not the same work on {work.name}: {what} of {engines} is {values}")
    return rows


def milliseconds(row: Row) -> str:
    """``84 (81-90)``: median, lowest and highest."""
    lowest, middle, highest = (f(row["seconds"]) * 1e3 for f in (min, median, max))
    return f"{middle:.0f} ({lowest:.0f}-{highest:.0f})"


def megabytes(row: Row) -> str:
    """Peak memory of the process, libraries included."""
    return f"{row['peak_mb']:.0f}"


def by_work(rows: list[Row]) -> dict[str, dict[str, Row]]:
    """The rows by the names of their works and engines."""
    works: dict[str, dict[str, Row]] = {}
    for row in rows:
        works.setdefault(Work(*(row[field] for field in Work._fields)).name, {})[row["engine"]] = row
    return works


def table(title: str, rows: list[Row], engines: Iterable[str], cell: Callable[[Row], str]) -> Table:
    """A row per work and a column per engine."""
    shown = Table("work", *engines, title=title)
    for name, own in by_work(rows).items():
        shown.add_row(name, *(cell(own[engine]) if engine in own else "-" for engine in engines))
    return shown


RATIOS = (("recorded", "floor"), ("learn2learn", "recorded"), ("jax", "recorded"), ("recorded", "bf16"))


def ratios(rows: list[Row]) -> Table:
    """How many times as long one engine takes as another: the median over the rounds, each of which is a pair."""
    shown = Table("work", *map(" / ".join, RATIOS), title="Ratios of times, median over the rounds")
    for name, own in by_work(rows).items():
        seconds = {engine: row["seconds"] for engine, row in own.items()}
        pairs = ([a / b for a, b in zip(seconds.get(one, ()), seconds.get(other, ()))] for one, other in RATIOS)
        shown.add_row(name, *(f"{median(pair):.2f}" if pair else "-" for pair in pairs))
    return shown


def machine() -> Row:
    """Hardware and versions, for the record."""
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "unknown"
    )
    versions = {}
    for library in LIBRARIES:
        try:
            versions[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            versions[library] = "absent"
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {"cpu": model, "cores": os.cpu_count(), "gpu": gpu, "python": platform.python_version(), **versions}


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def main(
    out: Path = Path("benchmarks/results"),
    engines: tuple[str, ...] = ENGINES,
    rounds: int = 5,
    works: list[Work] | None = None,
    tasks: list[int] = [1, 4, 16, 64],  # noqa: B006
    steps: list[int] = [1, 3, 10],  # noqa: B006
    outer_steps: int = 100,
    device: Literal["cpu", "cuda"] = "cpu",
) -> None:
    """Measures fewshot beside its peers.

    Args:
        out: Folder for results.json and the pictures.
        engines: What to measure; the peers come with pip install -e ".[bench]".
        rounds: Steps of each engine, taken in turn; shown are their median, lowest and highest.
        works: Rows of the table, each [ways, shots, tasks, steps, first_order]; the published ones if not given.
        tasks: Numbers of tasks for the picture of 5-way 1-shot, 1 step, second order.
        steps: Numbers of inner steps for the picture of 5-way 1-shot, 32 tasks, second order.
        outer_steps: Outer steps of the training that shows what the loop around the algorithm costs.
        device: Where the outer steps run; the loop around them is measured on the CPU. JAX is left on the CPU, too.
    """
    out.mkdir(parents=True, exist_ok=True)
    console = Console(width=160)
    results: dict[str, Any] = {"machine": machine()}
    console.print(results["machine"])

    def keep(name: str, value: Any) -> None:
        results[name] = value
        (out / "results.json").write_text(json.dumps(results, indent=1) + "\n")

    for name, series in (
        ("table", table_works() if works is None else works),
        ("tasks", [Work(tasks=count) for count in tasks]),
        ("steps", [Work(steps=count) for count in steps]),
    ):
        rows = []
        for work in series:
            console.print(f"measuring {work.name}")
            rows += measure(work, engines, rounds, device)
            keep(name, rows)
        if rows:
            console.print(table("MAML: ms per outer step, median (lowest-highest)", rows, engines, milliseconds))
            console.print(ratios(rows))
            console.print(table("MAML: peak memory of the process, MB", rows, engines, megabytes))
    times_figure(results["tasks"], results["steps"]).savefig(out / "times.png", dpi=100)
    if engines == ENGINES:
        keep("protonet", measure(Work(20, 1, tasks=1, steps=0), ("protonet", "easyfsl"), rounds, device))
        shown = Table("engine", "ms", title="ProtoNet: one 20-way 1-shot episode with 5 queries per class")
        for row in results["protonet"]:
            shown.add_row(row["engine"], milliseconds(row))
        console.print(shown)
    keep("pipeline", pipeline.measure(outer_steps, rounds))
    shares = Table("5w1s, 32 tasks, 1 step", "ms", title="What is not the algorithm")
    for what, seconds in results["pipeline"].items():
        shares.add_row(what, f"{seconds * 1e3:.1f}")
    console.print(shares)
    console.print(f"Results: {out / 'results.json'}, {out / 'times.png'}")


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
