"""A process that holds one engine and one work, and times one step for every line that it reads.

``python -m benchmarks.worker ENGINE WORK`` prints, as lines of JSON: the loss and the seconds of the first step
(compilation included); then the seconds of each step asked for, taken right after another one, as in a training, since
the engines before it have emptied the caches; at the end, its peak memory in MB.
"""

import contextlib
import json
import os
import resource
import sys
import time

from benchmarks import engines
from benchmarks.work import Work


def main() -> None:
    """Serves until its input ends."""
    answers = os.fdopen(os.dup(1), "w")
    with contextlib.redirect_stdout(sys.stderr):  # libraries may print what they like
        step = getattr(engines, sys.argv[1])(Work(*json.loads(sys.argv[2])))
        start = time.perf_counter()
        loss = step()
        first = time.perf_counter() - start
        print(json.dumps([loss, first]), file=answers, flush=True)
        for _ in sys.stdin:
            step()
            start = time.perf_counter()
            step()
            print(json.dumps(time.perf_counter() - start), file=answers, flush=True)
        print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024), file=answers, flush=True)


if __name__ == "__main__":
    main()
