"""Damaged files: refused in one line, or of no consequence; never other weights, never other figures."""

import json
import shutil
from pathlib import Path
from random import Random

import fewshot.shipped
from benchmarks.soak.case import Case
from benchmarks.soak.runs import (
    RUNS,
    TINY,
    checkpoints,
    difference,
    figures,
    fit,
    need_same_end,
    need_same_figures,
    need_whole,
    reference,
    state,
)

HALF = "--trainer.max_steps=15"


def harm(content: bytes, rng: Random) -> bytes:
    """Flips bits, cuts, blanks, overwrites, doubles or lengthens."""
    length, at = rng.choice([1, 16, 512, 5000]), rng.randrange(len(content))
    harmed = bytearray(content)
    match rng.choice(["bits"] * 4 + ["cut", "zeros", "noise", "twice", "longer", "missing"]):
        case "bits":
            for _ in range(rng.choice([1, 1, 2, 20])):
                harmed[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        case "cut":
            del harmed[at:]
        case "zeros":
            harmed[at : at + length] = bytes(len(harmed[at : at + length]))
        case "noise":
            harmed[at : at + length] = rng.randbytes(len(harmed[at : at + length]))
        case "twice":
            harmed[at:at] = harmed[at : at + length]
        case "longer":
            harmed += rng.randbytes(length)
        case "missing":
            del harmed[at : at + length]
    return bytes(harmed)


def damage(case: Case) -> None:
    """A file that was damaged, and a command that reads it."""
    kind = case.random.choices([*READERS], [25, 15, 20, 15, 15, 5])[0]
    case.attacks += 1
    READERS[kind](case)
    case.need_no_parts(case.folder)


def harmed(case: Case, file: Path, to: Path) -> Path:
    """A damaged copy of a file."""
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_bytes(harm(file.read_bytes(), case.random))
    return to


def trained(case: Case, *more: str) -> tuple[str, dict[str, Path]]:
    """Any run, and its whole checkpoints."""
    run = case.random.choice([*RUNS])
    return run, checkpoints(run, reference(case, run, *more)[0])


def tested(case: Case) -> None:
    """``fewshot test`` of a checkpoint."""
    run, files = trained(case)
    which = case.random.choice([*files])
    file = files[which]
    ours = figures(case, harmed(case, file, case.folder / "harmed.ckpt"))
    need_same_figures(case, ours, f"{run}-{which}", file)


def resumed(case: Case) -> None:
    """``fewshot fit`` from a checkpoint at half time, of runs whose schedule does not depend on the end."""
    run = case.random.choice(["rates", "protonet"])
    half, place = reference(case, run, HALF)[0], case.folder / "run"
    shutil.copytree(half, place)
    last = checkpoints(run, place)["last"]
    harmed(case, last, last)
    done = case.run(fit(run, place, f"--ckpt_path={last}", "--trainer.logger=false"))
    if done.status == 0:
        need_same_end(case, run, place)


def exported(case: Case) -> None:
    """``fewshot export`` of a checkpoint."""
    _, files = trained(case)
    to = case.folder / "exported.ckpt"
    done = case.run(["export", f"--ckpt_path={harmed(case, files['best'], case.folder / 'harmed.ckpt')}", f"--to={to}"])
    case.need((done.status == 0) == to.exists(), "an export that was refused, or none that was not", done)
    if to.exists():
        where = difference(state(to, "state_dict"), state(files["best"], "state_dict"))
        case.need(where is None, f"other weights: {where}", done)


def swept(case: Case) -> None:
    """``fewshot sweep`` over what an earlier one has kept in tested.json, or over a damaged checkpoint."""
    file = checkpoints("sinusoid", reference(case, "sinusoid")[0])["best"]

    def sweep(checkpoint: Path, folder: Path) -> bool:
        words = ["sweep", f"--ckpt_paths=[{checkpoint}]", "--shots=[2,5]", f"--folder={folder}"]
        return case.run([*words, "--data.test_episodes=10", "--accelerator=cpu"]).status == 0

    def whole(place: Path) -> None:
        case.need(sweep(file, place), "the sweep of a whole checkpoint is refused")

    known, folder = case.once("sweep", whole), case.folder / "sweep"
    shutil.copytree(known, folder)
    if case.random.random() < 0.7:
        harmed(case, known / "tested.json", folder / "tested.json")
    else:
        file = harmed(case, file, case.folder / "harmed.ckpt")
    if sweep(file, folder):
        ours, theirs = (json.loads((place / "results.json").read_text()) for place in (folder, known))
        own = ("seconds", "checkpoint", "key")
        rows = [[{name: row[name] for name in row if name not in own} for row in some] for some in (ours, theirs)]
        where = difference(rows[0], rows[1])
        case.need(where is None, f"other results: {where}")


def configured(case: Case) -> None:
    """``fewshot fit`` with a damaged config, which may well be another one that makes sense."""
    run, place = case.random.choice([*RUNS]), case.folder / "run"
    name = RUNS[run][0].partition("=")[2]
    file = harmed(case, fewshot.shipped.config_path(name), case.folder / f"{name}.yaml")
    steps = ["--trainer.max_steps=2", "--trainer.logger=false", "--model.test_adaptation_steps=2"]
    small = [word for word in RUNS[run][1:] if "channels" in word or "steps" in word]
    words = ["fit", f"--config={file}", *small, *TINY, *(steps if run != "protonet" else steps[:2])]
    case.run([*words, "--name=config", f"--trainer.default_root_dir={place}"])
    need_whole(case, "config", place)


def cached(case: Case) -> None:
    """Decoded images."""
    file = checkpoints("maml", reference(case, "maml")[0])["best"]
    cache = case.folder / "cache" / "fewshot"
    for kept in (case.home / "cache" / "fewshot").iterdir():
        harmed(case, kept, cache / kept.name)
    ours = figures(case, file, environment={"XDG_CACHE_HOME": str(cache.parent)})
    case.need(ours, "a damaged cache keeps a test from being done")
    need_same_figures(case, ours, "maml-best", file)


READERS = {
    "test": tested, "fit": resumed, "export": exported, "sweep": swept, "config": configured, "cache": cached,
}  # fmt: skip
"""What is damaged, by what reads it."""
