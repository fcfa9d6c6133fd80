"""What memory an outer step of MAML needs: ``python -m benchmarks.memory``, five to ten minutes on one core.

Measures peaks on a grid, fits :func:`amounts` to every other row of it, and prints what the published formula, that fit
in round numbers, says of the rows that the fit has not seen.
"""

import json
import os
import traceback
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jsonargparse import auto_cli
from rich.console import Console

from benchmarks.worker import peak_mb
from fewshot.algorithms import MAMLModule
from fewshot.episodes import Episode, Examples
from fewshot.fast.allocator import keep_freed_memory
from fewshot.networks import Conv4
from fewshot.studies.tables import markdown

FORMULA = (115, 0.4, 0.4, 0.44)
"""MB: once, per task and set of weights, and per image in small and in large meta-batches; see :func:`amounts`."""

RECORDING = 1.4
"""How much more while a step is recorded, which keeps all intermediate results: once for each shape of meta-batch."""

LARGE = 640
"""Images at once from which the activations of Conv4's first layer, 50 kB an image, exceed 32 MB: of freed blocks, the
allocator keeps all, and larger ones fit less often what is asked for next."""


class Setting(NamedTuple):
    """One outer step of MAML with Conv4 (64 filters, strides, 28 x 28 pixels) in float32, vectorized.

    Attributes:
        ways: Classes per task.
        shots: Support examples per class.
        queries: Queries per class.
        steps: Inner steps.
        tasks: Tasks at once: the meta-batch, or ``task_chunk_size``.
        chunks: How often those make a meta-batch.
        first_order: Without second derivatives.
        record: Whether the step is recorded.
    """

    ways: int
    shots: int
    queries: int
    steps: int
    tasks: int
    chunks: int = 1
    first_order: bool = False
    record: bool = False


def grid() -> list[Setting]:
    """The settings to which the formula is fitted, and on which it is checked."""
    return [
        Setting(ways, shots, shots, steps, tasks)
        for ways, shots, steps, tasks in product((5, 20), (1, 5), (1, 3, 5), (4, 16, 32))
        if ways * shots * steps * tasks <= 5000
    ]


def others() -> list[Setting]:
    """Settings on which it is only checked."""
    first_order = [(5, 1, 1, 1, 32), (5, 1, 1, 5, 32), (20, 1, 1, 5, 16), (5, 5, 5, 5, 16), (5, 1, 15, 5, 16)]
    recorded = [(5, 1, 1, 1, 32), (5, 1, 1, 5, 32), (5, 5, 5, 3, 16), (20, 1, 1, 5, 16)]
    return [
        *(Setting(*numbers) for numbers in ((5, 1, 15, 1, 16), (5, 1, 15, 5, 16), (20, 1, 5, 3, 16))),
        *(Setting(*numbers) for numbers in ((20, 1, 1, 5, 8, 4), (5, 5, 5, 5, 4, 8), (20, 5, 5, 5, 2, 8))),
        *(Setting(*numbers, first_order=True) for numbers in first_order),
        *(Setting(*numbers, record=True) for numbers in recorded),
    ]


def amounts(setting: Setting) -> tuple[float, ...]:
    """What the numbers of :data:`FORMULA` are multiplied by: 1, sets of weights, images in small and large batches.

    Every inner step keeps the weights of its tasks and the activations of their support images, and the last pass those
    of the queries. Without second derivatives one pass is kept at a time.
    """
    support, queries = setting.ways * setting.shots, setting.ways * setting.queries
    passes = max(support, queries) if setting.first_order else setting.steps * support + queries
    images, large = setting.tasks * passes, setting.tasks * max(support, queries) > LARGE
    return 1, setting.tasks * (setting.steps + 1), 0 if large else images, images if large else 0


def predicted(setting: Setting) -> float:
    """MB above those of the idle process, by the formula."""
    return float(np.dot(FORMULA, amounts(setting))) * (RECORDING if setting.record else 1)


def measured(setting: Setting) -> float:
    """Peak MB of a forked process above those that it begins with."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            keep_freed_memory()
            torch.set_num_threads(1)
            idle = peak_mb()
            take_outer_steps(setting)
            os.write(writer, json.dumps(peak_mb() - idle).encode())
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader) as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    return float(json.loads(told))


def take_outer_steps(setting: Setting, count: int = 3) -> None:
    """Takes some outer steps with Adam."""
    torch.manual_seed(0)
    module = MAMLModule(
        Conv4(),
        outputs=setting.ways,
        adaptation_steps=setting.steps,
        first_order=setting.first_order,
        record=setting.record,
        task_chunk_size=setting.tasks,
    )
    episode = Episode(_examples(setting, setting.shots), _examples(setting, setting.queries))
    optimizer = torch.optim.Adam(module.parameters())
    for _ in range(count):
        optimizer.zero_grad()
        module.outer_loss(episode).loss.backward()
        optimizer.step()


def _examples(setting: Setting, per_class: int) -> Examples:
    y = torch.arange(setting.ways).repeat_interleave(per_class).repeat(setting.tasks * setting.chunks, 1)
    return Examples(torch.rand(*y.shape, 1, 28, 28), y)


def fitted(settings: list[Setting], peaks: list[float]) -> np.ndarray:
    """The numbers of the formula, by least squares of relative errors."""
    relative = np.array([amounts(setting) for setting in settings]) / np.array(peaks)[:, None]
    return np.linalg.lstsq(relative, np.ones(len(peaks)))[0]


def table(rows: list[tuple[Setting, float]]) -> str:
    """Predicted and measured MB, and their ratio."""
    columns = ["ways", "shots", "queries", "inner steps", "tasks at once", "", "MB by the formula", "measured", "ratio"]
    return markdown(columns, [list(cells(setting, peak)) for setting, peak in rows])


def cells(setting: Setting, peak: float) -> Iterator[str]:
    """Of one row."""
    yield from map(str, setting[:5])
    marks = {"first order": setting.first_order, "recorded": setting.record}
    yield ", ".join([f"{setting.chunks} chunks"] * (setting.chunks > 1) + [mark for mark, on in marks.items() if on])
    yield from (f"{predicted(setting):.0f}", f"{peak:.0f}", f"{predicted(setting) / peak:.2f}")


def main(out: Path = Path("benchmarks/results")) -> None:
    """Measures, fits and checks.

    Args:
        out: Folder for memory.json and memory.md.
    """
    out.mkdir(parents=True, exist_ok=True)
    console = Console(width=160)
    settings = grid() + others()
    peaks = []
    for setting in settings:
        peaks.append(measured(setting))
        console.print(f"{setting}: {peaks[-1]:.0f} MB")
    seen = slice(0, len(grid()), 2)
    console.print("Fitted:", fitted(settings[seen], peaks[seen]).round(3).tolist(), "in use:", FORMULA)
    rows = list(zip(settings, peaks))
    (out / "memory.json").write_text(json.dumps([[*setting, peak] for setting, peak in rows]) + "\n")
    unseen = [row for number, row in enumerate(rows) if number % 2 or number >= len(grid())]
    (out / "memory.md").write_text(table(unseen))
    console.print(table(unseen))


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
