"""Imports go downwards only; data sets and algorithms never see each other."""

import ast

from conftest import REPOSITORY

LAYERS = [
    {"__init__"},
    {"errors", "layers", "allocator", "quiet"},
    {"episodes", "networks", "metrics", "objectives"},
    {"inner_loop", "plots", "checkpoints", "metaloss"},
    {"data", "algorithms"},
    {"callbacks", "parser"},
    {"evaluation"},
    {"cli"},
    {"driver"},
    {"demo", "homework", "family", "__main__"},
]
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}


def test_imports_go_downwards():
    package = REPOSITORY / "fewshot"
    for path in package.rglob("*.py"):
        own = path.relative_to(package).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                if name and name.split(".")[0] == "fewshot":
                    other = [*name.split("."), "__init__"][1]
                    assert other == own or LEVEL[other] < LEVEL[own], f"{path} imports {name}"
