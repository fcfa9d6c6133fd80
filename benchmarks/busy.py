"""What an outer step takes beside a busy process: ``python -m benchmarks.busy``.

Threads of OpenMP that wait for one another spin before they sleep. How long decides what they take where another
process wants their cores.
"""

import os
import subprocess
import sys
from statistics import median

from jsonargparse import auto_cli
from rich.console import Console
from rich.table import Table

from benchmarks.__main__ import Worker
from benchmarks.work import Work
from fewshot.__main__ import SPINS

WAYS_TO_WAIT = {
    "as OpenMP does by itself": {},
    f"GOMP_SPINCOUNT={SPINS}, as fewshot does": {"GOMP_SPINCOUNT": SPINS},
    "OMP_WAIT_POLICY=passive": {"OMP_WAIT_POLICY": "passive"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}


def main(busy: int = 1, rounds: int = 5, engine: str = "recorded") -> None:
    """Measures 5-way 1-shot, 32 tasks, 1 step, idle and busy, each way to wait in a process of its own and in turn.

    Args:
        busy: Processes that do nothing but keep a core busy.
        rounds: Steps of each.
        engine: Of make bench.
    """
    workers = []
    for variables in WAYS_TO_WAIT.values():
        os.environ.update(variables)
        workers.append(Worker(engine, Work()))
        workers[-1].answer()
        for name in variables:
            del os.environ[name]
    idle = [[worker.step() for worker in workers] for _ in range(rounds)]
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    try:
        beside = [[worker.step() for worker in workers] for _ in range(rounds)]
    finally:
        for other in others:
            other.kill()
    for worker in workers:
        worker.peak()
    shown = Table("ms per outer step", "idle", f"beside {busy} busy", title=f"{engine}, {Work().name}")
    for name, *times in zip(WAYS_TO_WAIT, zip(*idle), zip(*beside)):
        shown.add_row(name, *(f"{median(one) * 1e3:.0f} ({min(one) * 1e3:.0f}-{max(one) * 1e3:.0f})" for one in times))
    Console(width=100).print(shown)


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
