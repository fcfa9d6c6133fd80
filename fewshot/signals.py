"""What a process does when it is told to end: at once, or during a training after the outer step."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
"""Ctrl-C, a job scheduler's or a container's end, a closed terminal, and SLURM's warning before the time is up."""


class Stopped(SystemExit):
    """The process was told to end. Its status is 128 and the signal's number, as shells count.

    Args:
        number: Of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.signal = signal.Signals(number)


class _State:
    active: bool = False  # whether the signals are ours
    asked: int = 0  # the signal that came, 0 if none did
    waits: bool = False  # whether somebody looks at it between two outer steps


@contextmanager
def stoppable() -> Iterator[None]:
    """Lets the first signal raise :class:`Stopped`, or wait for :func:`asked`; a second one ends the process at once.

    What the process was started to ignore (``nohup``) stays ignored. Within another one it changes nothing.
    """
    if _State.active or threading.current_thread() is not threading.main_thread():  # only there can handlers be set
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    _State.active, _State.asked, _State.waits = True, 0, False
    _install()
    try:
        yield
    finally:
        _State.active = False
        for number, handler in before.items():
            signal.signal(number, handler)


def wait(waits: bool) -> None:
    """Lets a signal wait until somebody asks for it, or no longer; takes it back from whoever took it meanwhile."""
    if waits and _State.active:
        _install()
    _State.waits = waits


def asked() -> int:
    """The number of the signal that came, 0 if none did."""
    return _State.asked


def _install() -> None:
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _handle)


def _handle(number: int, frame: FrameType | None) -> None:
    if _State.asked:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    _State.asked = number
    if not _State.waits:
        raise Stopped(number)
