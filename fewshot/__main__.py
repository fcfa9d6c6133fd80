"""The ``fewshot`` command, also as ``python -m fewshot``."""

import os
import signal
import sys

from fewshot.cli import main as run

SPINS = "3000"
"""How often a thread of GNU's OpenMP looks whether the others are done before it sleeps: a tenth of a millisecond.

By itself it spins for milliseconds, and a step beside a busy process takes ten times as long; see benchmarks/busy.py.
"""


def main() -> None:
    """Runs the command line."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a word, before and after the command
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)  # read when torch is loaded
    sys.path.append(os.getcwd())  # --model my.module.MyModule finds a module of the user's, as python -m does
    run()


if __name__ == "__main__":
    main()
