"""A process that holds one engine and one work, and times one step for every line that it reads.

``python -m benchmarks.worker ENGINE WORK DEVICE`` prints, as lines of JSON: the loss, the norm of the gradient and the
seconds of the first step (compilation included), and the peak memory in MB before it; then the seconds of each step
asked for, taken right after another one, as in a training, since the engines before it have emptied the caches; at the
end, its peak memory in MB: that of the process, or on a GPU that of its tensors.
"""

import contextlib
import json
import os
import sys
import time
from pathlib import Path

import torch

from benchmarks import costs, engines
from benchmarks.work import Work
from fewshot.fast.allocator import keep_freed_memory


def peak_mb() -> float:
    """Peak memory of this process alone; what getrusage() says includes its parent's, from before the start."""
    if torch.get_default_device().type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def main() -> None:
    """Serves until its input ends."""
    keep_freed_memory()  # for all engines, as fewshot's command line does for itself
    answers = os.fdopen(os.dup(1), "w")
    with contextlib.redirect_stdout(sys.stderr):  # libraries may print what they like
        name, work, device = sys.argv[1], Work(*json.loads(sys.argv[2])), sys.argv[3]
        torch.set_default_device(
            device
        )  # every engine makes its tensors there, and its steps end with a number from it
        step = getattr(engines if hasattr(engines, name) else costs, name)(work)
        idle = peak_mb()
        start = time.perf_counter()
        loss, norm = step()
        first = time.perf_counter() - start
        print(json.dumps([loss, norm, first, idle]), file=answers, flush=True)
        for _ in sys.stdin:
            step()
            start = time.perf_counter()
            step()
            print(json.dumps(time.perf_counter() - start), file=answers, flush=True)
        print(json.dumps(peak_mb()), file=answers, flush=True)


if __name__ == "__main__":
    main()
