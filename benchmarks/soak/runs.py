"""The trainings that are attacked, and where an uninterrupted one of each ends."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.soak.case import Case

CONV4, FEW = "--model.network.channels=4", "--model.adaptation_steps=3"
RUNS = {
    "maml": ["--config=glyphs_maml", CONV4, "--model.lr_scheduler=cosine"],
    "rates": ["--config=glyphs_maml", CONV4, "--model.learn_inner_lr=per-step", "--model.optimizer=Adam"],
    "protonet": ["--config=glyphs_protonet", CONV4],
    "sinusoid": ["--config=sinusoid_maml", "--model.record=false"],
    "reptile": ["--config=sinusoid_reptile", FEW],
    "imaml": ["--config=sinusoid_imaml", FEW],
}
STEPS = 30
TINY = [
    "--data.meta_batch_size=2", "--data.val_episodes=4", "--data.test_episodes=4", "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false", "--trainer.val_check_interval=5",
]  # fmt: skip
KEPT = ("state_dict", "optimizer_states", "lr_schedulers", "global_step")


def fit(run: str, place: Path, *more: str) -> list[str]:
    """The words that train one of the :data:`RUNS` in a folder."""
    here = [f"--name={run}", f"--trainer.default_root_dir={place}", f"--trainer.max_steps={STEPS}"]
    return ["fit", *RUNS[run], *TINY, *here, *more]


def checkpoints(run: str, place: Path) -> dict[str, Path]:
    """Its best and its last state, as far as they are there."""
    files = {which: place / "checkpoints" / run / f"{which}.ckpt" for which in ("best", "last")}
    return {which: file for which, file in files.items() if file.exists()}


def reference(case: Case, run: str, *more: str) -> tuple[Path, float]:
    """The folder of an uninterrupted run, and the seconds that it took; with ``more`` words, another one."""

    def train(place: Path) -> None:
        seconds = case.need_success(case.run(fit(run, place, *more))).seconds
        (place / "seconds").write_text(str(seconds))

    place = case.once("-".join([run, *(word.lstrip("-").replace("/", "_") for word in more)]), train)
    return place, float((place / "seconds").read_text())


def read(checkpoint: Path) -> dict[str, Any]:
    """A checkpoint, in full; fails if it is not whole."""
    return torch.load(checkpoint, map_location="cpu", weights_only=True)


def state(checkpoint: Path, *parts: str) -> dict[str, Any]:
    """What has to be the same bit for bit, or these parts of it."""
    content = read(checkpoint)
    kept = {part: content[part] for part in parts or KEPT}
    scores = [] if parts else [callback.get("best_model_score") for callback in content["callbacks"].values()]
    return {**kept, "best": [score for score in scores if score is not None]}


def difference(ours: Any, theirs: Any, path: str = "") -> str | None:
    """Where two nested states differ first, in bits; ``None`` if nowhere."""
    if type(ours) is not type(theirs):
        return path
    if isinstance(ours, dict | list):
        pairs = dict(enumerate(ours)) if isinstance(ours, list) else ours
        others = dict(enumerate(theirs)) if isinstance(theirs, list) else theirs
        if pairs.keys() != others.keys():
            return f"{path}: {sorted(map(str, pairs.keys() ^ others.keys()))}"
        found = (difference(part, others[name], f"{path}/{name}") for name, part in pairs.items())
        return next((one for one in found if one), None)
    if isinstance(ours, Tensor):
        return None if ours.dtype == theirs.dtype and ours.numpy().tobytes() == theirs.numpy().tobytes() else path
    return None if ours == theirs or (ours != ours and theirs != theirs) else f"{path}: {ours}, not {theirs}"


def need_whole(case: Case, run: str, place: Path) -> int:
    """Best and last state can be read and are finite; returns the outer step of the last, or 0."""
    step = 0
    for which, file in checkpoints(run, place).items():
        try:
            content = read(file)
        except Exception as error:
            case.need(False, f"{which}.ckpt is damaged ({error})")
        finite = all(weights.isfinite().all() for weights in content["state_dict"].values())
        case.need(finite, f"{which}.ckpt is not finite")
        step = content["global_step"] if which == "last" else 0
    return step


def need_same_end(case: Case, run: str, place: Path) -> None:
    """A run ended bit for bit like the uninterrupted one."""
    ours, theirs = checkpoints(run, place), checkpoints(run, reference(case, run)[0])
    case.need(ours.keys() == theirs.keys(), f"ended with {', '.join(ours) or 'nothing'}, not {', '.join(theirs)}")
    for which, file in ours.items():
        where = difference(state(file), state(theirs[which]))
        case.need(where is None, f"{which}.ckpt is not that of the uninterrupted run: {where}")


def figures(case: Case, checkpoint: Path, *more: str, **options: Any) -> dict[str, Any] | None:
    """What ``fewshot test`` reports of a checkpoint, but for its path; ``None`` if it is refused."""
    place = case.folder / f"test{case.starts}"
    tiny = [word for word in TINY if "val_check" not in word]
    done = case.run(
        ["test", f"--ckpt_path={checkpoint}", f"--trainer.default_root_dir={place}", *tiny, *more], **options
    )
    if done.status != 0:
        case.need(done.status == 2, f"status {done.status}: {done.err.strip()[-300:]}", done)
        return None
    reports = [json.loads(file.read_text()) for file in place.rglob("test.json")]
    case.need(len(reports) == 1, f"{len(reports)} reports", done)
    return {name: value for name, value in reports[0].items() if name != "checkpoint"}


def need_same_figures(case: Case, ours: dict[str, Any] | None, name: str, whole: Path) -> None:
    """A test was refused, or has exactly the figures of the whole checkpoint."""

    def test(place: Path) -> None:
        known = figures(case, whole)
        case.need(known, "the whole file is refused, too")
        (place / "figures.json").write_text(json.dumps(known))

    theirs = json.loads((case.once(f"figures-{name}", test) / "figures.json").read_text())
    where = None if ours is None else difference(ours, theirs)
    case.need(where is None, f"other figures: {where}")
