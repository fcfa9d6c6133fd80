"""The ``fewshot`` command, also as ``python -m fewshot``."""

import os
import signal
import sys

from fewshot.cli import main as run


def main() -> None:
    """Runs the command line."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a word, before and after the command
    # OpenMP reads it when torch is loaded. Threads that spin while they wait for one another take several times
    # as long as those that sleep where another process wants the core.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    sys.path.append(os.getcwd())  # --model my.module.MyModule finds a module of the user's, as python -m does
    run()


if __name__ == "__main__":
    main()
