"""Tables in Markdown, and what they were measured on."""

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch

from fewshot.files import write_text


def markdown(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def sections(tables: Mapping[str, str]) -> str:
    """Tables under their titles."""
    return "\n".join(f"## {title}\n\n{table}" for title, table in tables.items())


def write_tables(report: Path, command: str, tables: Mapping[str, str]) -> None:
    """Writes ``tables.md``, which says what made it and on what, and tells where it is."""
    write_text(report / "tables.md", f"Tables of `make {command}`: {hardware()}.\n\n{sections(tables)}")
    print(f"Tables and figures: {report}")


def hardware() -> str:
    """What this runs on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = models[0] if models else platform.processor() or platform.machine()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{processor}, {os.cpu_count()} cores, {device}, torch {torch.__version__}"
