"""``python -m benchmarks.race``: trains the contestants one after another, and writes their records and a report."""

from pathlib import Path
from typing import Literal, get_args

from jsonargparse import auto_cli

from benchmarks.race import ours, peer
from benchmarks.race.record import read
from benchmarks.race.report import figure, table
from fewshot.data import OmniglotDataModule
from fewshot.files import write_text
from fewshot.studies.tables import hardware

Name = Literal[
    "fewshot-maml",
    "fewshot-maml-short",
    "fewshot-protonet",
    "fewshot-protonet-short",
    "learn2learn-maml",
    "learn2learn-protonet",
    "easyfsl",
    "jax",
]
OURS: tuple[Name, ...] = get_args(Name)[: len(ours.RECIPES)]


def main(
    contestants: tuple[Name, ...] = OURS,
    minutes: float = 30.0,
    until: float = 1.0,
    steps: int | None = None,
    every: float = 20.0,
    out: Path = Path("benchmarks/results/race"),
) -> None:
    """Measures the minutes from an untrained network to 97.0, 98.0 and 98.8 % on Omniglot, split random, 5-way 1-shot.

    Each contestant is a process of its own, with as many threads as OMP_NUM_THREADS says. One that has finished is not
    run again as long as its record is in the folder.

    Args:
        contestants: Who runs, one after another; those of other libraries want pip install -e ".[bench]".
        minutes: Limit of each training; the step sizes of easyfsl and jax follow it.
        until: Validation accuracy that ends a training.
        steps: Outer steps of each training; if not given, those of fewshot's recipes, and any number for the others.
        every: Seconds of training between two validations, for the others; fewshot's recipes count outer steps.
        out: Folder for the records, race.md and race.png.

    Raises:
        SystemExit: If a library is missing.
    """
    for name in contestants:
        if name in peer.MAKERS:
            _need(name)
    OmniglotDataModule().prepare_data()  # decoded once, before any clock runs
    for name in contestants:
        file = out / f"{name}.json"
        record = read(file)
        if record is not None and record["finished"]:
            print(f"{name} has finished: without {file}, it runs again")
            continue
        train = ours.train if name in ours.RECIPES else peer.train
        train(name, file, minutes=minutes, until=until, steps=steps, every=every)
        report(out)
    print(f"{report(out)}\nResults: {out / 'race.md'}, {out / 'race.png'}")


def report(out: Path) -> str:
    """Writes the table and the picture of all records in a folder; returns the table."""
    read_all = {name: read(out / f"{name}.json") for name in get_args(Name)}
    records = {name: content for name, content in read_all.items() if content and content["points"]}
    threads = sorted({content["threads"] for content in records.values()})
    shown = table(records)
    write_text(out / "race.md", f"{hardware()}, threads: {', '.join(map(str, threads))}.\n\n{shown}")
    figure(records).savefig(out / "race.png", dpi=100)
    return shown


def _need(name: str) -> None:
    try:
        peer.maker(name)
    except ImportError as error:
        raise SystemExit(f'{name} cannot run: {error}. Install it: pip install -e ".[bench]"') from None


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
