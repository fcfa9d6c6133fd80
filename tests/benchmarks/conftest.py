"""What the tests of benchmarks have in common."""

import pytest

import benchmarks.__main__ as command
from benchmarks import costs, engines
from benchmarks.work import Work


class Here:
    """In place of a worker's process, whose start takes seconds."""

    def __init__(self, engine: str, work: Work, device: str = "cpu") -> None:
        self.outer_step = getattr(engines if hasattr(engines, engine) else costs, engine)(work)

    def answer(self) -> tuple:
        return (*self.outer_step(), 0.2, 100.0)

    def step(self) -> float:
        return 0.1

    def peak(self) -> float:
        return 200.0


@pytest.fixture
def here(monkeypatch):
    """Measures in this process."""
    monkeypatch.setattr(command, "Worker", Here)
