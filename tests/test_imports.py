"""Imports go downwards only; data sets and algorithms never see each other."""

import ast
from collections.abc import Iterator
from pathlib import Path

from helpers import REPOSITORY

PACKAGE = REPOSITORY / "fewshot"

# From the ground floor up: a room may import what lies below it, and nothing of its own floor.
FLOORS = [
    {"__init__"},
    {"errors", "signals"},
    {"files", "terminal", "objectives", "metrics", "quiet", "wording", "shipped", "fast"},
    {"foresight", "parser", "telling", "translations", "trust"},
    {"episodes", "schedules", "checkpoints", "networks"},
    {"plots", "inner_loop"},
    {"data", "algorithms"},
    {"evaluation"},
    {"classifier"},
    {"runs"},
    {"studies"},
    {"explore"},
    {"cli"},
    {"__main__"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def test_every_room_has_its_floor():
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert rooms == set(FLOOR)
    assert sum(map(len, FLOORS)) == len(FLOOR)


def imported(path: Path) -> Iterator[str]:
    """The rooms of fewshot that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} has relative imports, which say less"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            package, _, rest = name.partition(".")
            if package == "fewshot":
                room = rest.partition(".")[0]
                yield room if room in FLOOR else "__init__"  # from fewshot import __version__


def test_imports_go_downwards():
    for path in PACKAGE.rglob("*.py"):
        own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for room in imported(path):
            assert room == own or FLOOR[room] < FLOOR[own], f"{path} imports {room}"
