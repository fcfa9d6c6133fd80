"""Imports go downwards only; data sets and algorithms never see each other."""

import ast

from helpers import REPOSITORY

PACKAGE = REPOSITORY / "fewshot"

# From the ground floor up: a room may import what lies below it, and nothing of its own floor.
FLOORS = [
    {"__init__"},
    {"errors"},
    {"objectives", "metrics", "quiet", "parser", "shipped", "fast", "translations"},
    {"episodes", "schedules", "checkpoints", "networks"},
    {"plots", "inner_loop"},
    {"data", "algorithms"},
    {"evaluation"},
    {"runs"},
    {"studies"},
    {"cli"},
    {"__main__"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def test_every_room_has_its_floor():
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert rooms == set(FLOOR)
    assert sum(map(len, FLOORS)) == len(FLOOR)


def test_imports_go_downwards():
    for path in PACKAGE.rglob("*.py"):
        own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                if name and name.split(".")[0] == "fewshot":
                    other = [*name.split("."), "__init__"][1]
                    assert other == own or FLOOR[other] < FLOOR[own], f"{path} imports {name}"
        relative = [node for node in ast.walk(ast.parse(path.read_text())) if getattr(node, "level", 0)]
        assert not relative, f"{path} has relative imports, which the above does not see"
