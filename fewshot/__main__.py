"""The ``fewshot`` command, also as ``python -m fewshot``."""

import os
import signal
import sys

from fewshot.cli import main as run


def main() -> None:
    """Runs the command line."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a word, before and after the command
    # GNU's OpenMP reads it when torch is loaded. Threads that wait for one another spin for milliseconds before they
    # sleep: beside a busy process, a step then takes ten times as long. A tenth of a millisecond costs nothing.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "5000")
    sys.path.append(os.getcwd())  # --model my.module.MyModule finds a module of the user's, as python -m does
    run()


if __name__ == "__main__":
    main()
