"""The ``fewshot`` command, also as ``python -m fewshot``."""

import os
import signal
import sys


def main() -> None:
    """Runs the command line, if torch and torchvision go together.

    Raises:
        SystemExit: With status 2 and one line on stderr, if they do not; torchmetrics imports torchvision wherever it
            is installed.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a word, before and after the command
    # OpenMP reads it when torch is loaded. Threads that spin while they wait for one another take several times
    # as long as those that sleep where another process wants the core.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        from fewshot.cli import main as run
    except RuntimeError as error:
        if "torchvision" not in str(error):
            raise
        print(
            f"fewshot: error: torch and torchvision are of different builds ({error}): install both from the same "
            "place, or a CPU-only torch with a torchvision of its version",
            file=sys.stderr,
        )
        raise SystemExit(2) from None
    sys.path.append(os.getcwd())  # --model my.module.MyModule finds a module of the user's, as python -m does
    run()


if __name__ == "__main__":
    main()
