"""Hostile checkpoints: they run no code, write nowhere but into the run's folder, and change no figure."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import torch

from benchmarks.soak.case import Case
from benchmarks.soak.runs import checkpoints, figures, fit, need_same_figures, need_whole, read, reference
from fewshot.checkpoints import KEY

MODULE = """
import pathlib
pathlib.Path({mark!r}).touch()
class Net:
    def __init__(self, *args, **kwargs): pass
def call(*args, **kwargs): return 1.0
"""
NAMES = [
    "../../x", "{elsewhere}/x", "..", "", " ", "a\nb", "a/b", "evil", "evil.yaml", "{model: {class_path: evil.Net}}",
    None, 5, ["x"], "x" * 5000, "\udcff",
]  # fmt: skip
CLASSES = [
    "evil.Net", "onpath.Net", "onpath.call", "os.system", "subprocess.Popen", "builtins.exec", "evil.yaml", "evil.json",
    "runpy.run_path", "pathlib.Path", "torch.load", "torch.hub.load", "{class_path: evil.Net}", ["evil.Net"],
    '{"class_path": "evil.Net"}', {"class_path": "evil.Net"}, {"class_path": "onpath.Net", "init_args": {"x": 1}},
    {"class_path": "os.system", "init_args": {"command": "touch {mark}"}}, "!!python/name:evil.Net",
]  # fmt: skip
STATES: list[Any] = [
    None,
    "evil.Net",
    -1,
    1 << 70,
    float("nan"),
    [],
    {},
    {"a": "b"},
    torch.full((2,), torch.nan),
    torch.ones(()),
]
HALF = "--trainer.max_steps=15"


class Touch:
    """Pickled as a call of the system's ``touch``."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.mark}",)


class Hostile:
    """What an attacker can do to a good checkpoint: a method each.

    Args:
        rng: What is drawn from.
        content: The checkpoint; it is changed.
        mark: A file that only foreign code would make.
        elsewhere: A folder in which nothing may change.
    """

    def __init__(self, rng: Random, content: dict[str, Any], mark: Path, elsewhere: Path) -> None:
        self.rng, self.content, self.mark, self.elsewhere = rng, content, mark, elsewhere
        self.record = content[KEY]
        self.options = self.record["config"]

    def bad(self, choices: list[Any]) -> Any:
        """One of them, with the places of this case in it."""
        text = json.dumps(self.rng.choice(choices))
        return json.loads(text.replace("{mark}", str(self.mark)).replace("{elsewhere}", str(self.elsewhere)))

    def class_path(self) -> None:
        """The class of learner or data."""
        self.options[self.rng.choice(["model", "data"])]["class_path"] = self.bad(CLASSES)

    def option(self) -> None:
        """Any option is a class of the attacker's, or a file."""
        part = self.options[self.rng.choice(["model", "model", "data"])]["init_args"]
        part[self.rng.choice([*part, "network", "optimizer", "lr_scheduler", "loss"])] = self.bad(CLASSES)

    def part(self) -> None:
        """Whole parts of the options are text, or names of files."""
        name = self.rng.choice(["model", "data", "config"])
        (self.record if name == "config" else self.options)[name] = self.bad(CLASSES + NAMES)

    def schedule(self) -> None:
        """A function by its name, called with every outer step."""
        function = self.rng.choice(["os._exit", "evil.call", "onpath.call", "os.abort"])
        schedule = {"class_path": "torch.optim.lr_scheduler.LambdaLR", "init_args": {"lr_lambda": function}}
        self.options["model"]["init_args"]["lr_scheduler"] = schedule

    def place(self) -> None:
        """Where data are read and written."""
        option = self.rng.choice(["root", "cache_dir", "split_dir", "folder"])
        self.options["data"]["init_args"][option] = str(self.elsewhere / self.rng.choice(["", "new"]))

    def name(self) -> None:
        """The name of the run, which names folders."""
        self.record["name"] = self.bad(NAMES)

    def more(self) -> None:
        """Options that a checkpoint has no business with."""
        trainer = {"default_root_dir": str(self.elsewhere), "callbacks": ["evil.Net"], "max_steps": 1}
        extra = {
            "trainer": trainer,
            "seed_everything": 7,
            "ckpt_path": str(self.elsewhere / "x.ckpt"),
            "overwrite": True,
        }
        extra |= {"config": "evil.yaml", "optimizer": {"class_path": "evil.Net"}, "name": str(self.elsewhere)}
        self.options |= {name: extra[name] for name in self.rng.sample([*extra], self.rng.randint(1, 3))}

    def remembered(self) -> None:
        """Files that Lightning's callbacks believe to be theirs, to be removed when a better one comes."""
        victim, low = str(self.elsewhere / "victim.ckpt"), torch.tensor(-1.0)
        for state in self.content["callbacks"].values():
            state.update(best_model_path=victim, kth_best_model_path=victim, last_model_path=victim, dirpath="/nowhere")
            state.update(best_k_models={victim: low}, kth_value=low, current_score=low, best_model_score=low)

    def hyperparameters(self) -> None:
        """Keys by which Lightning makes objects of its own accord."""
        for key in ("hyper_parameters", "datamodule_hyper_parameters"):
            self.content[key] = {"_instantiator": "evil.call", "_class_path": "evil.Net", "network": "evil.Net"}
        self.content["hparams_name"] = self.content["hparams_type"] = "evil.Net"

    def state(self) -> None:
        """State that is not what it should be, anywhere."""
        where: Any = self.content
        while True:
            key = self.rng.choice([*where] if isinstance(where, dict) else range(len(where)))
            if not isinstance(where[key], dict | list) or not where[key] or self.rng.random() < 0.3:
                break
            where = where[key]
        where[key] = self.rng.choice(STATES)

    def pickled(self) -> None:
        """A call, somewhere in what is unpickled."""
        self.rng.choice([self.content, self.options, self.content["state_dict"]])["x"] = Touch(self.mark)

    def write(self, file: Path) -> None:
        """Writes the checkpoint, in one of the ways in which pickles come."""
        way = self.rng.choice(["zip", "zip", "zip", "old", "plain"])
        if way == "plain":
            file.write_bytes(pickle.dumps(self.content))
        else:
            torch.save(self.content, file, _use_new_zipfile_serialization=way == "zip")


ATTACKS = [
    Hostile.class_path, Hostile.option, Hostile.option, Hostile.part, Hostile.schedule, Hostile.place, Hostile.name,
    Hostile.more, Hostile.remembered, Hostile.hyperparameters, Hostile.state, Hostile.state, Hostile.pickled,
]  # fmt: skip
NO_FIGURES = [Hostile.class_path, Hostile.option, Hostile.part, Hostile.state]
"""What may change weights and options, which a checkpoint does decide."""


def hostile(case: Case) -> None:
    """One hostile checkpoint, and a command that reads it."""
    mark, elsewhere, here = case.folder / "MARK", case.folder / "elsewhere", case.folder / "a" / "b" / "here"
    for folder, module in ((here, "evil"), (case.folder / "path", "onpath"), (elsewhere, "other")):
        folder.mkdir(parents=True)
        (folder / f"{module}.py").write_text(MODULE.format(mark=str(mark)))
    for name in ("evil.yaml", "evil.json", "evil"):  # which is YAML, too
        (here / name).write_text(json.dumps({"class_path": "evil.Net", "trainer": {"callbacks": ["evil.Net"]}}))
    (elsewhere / "victim.ckpt").write_text("precious")
    before = contents(elsewhere)

    run, change = case.random.choice(["rates", "sinusoid"]), case.random.choice(ATTACKS)
    whole, file = checkpoints(run, reference(case, run, HALF)[0])["last"], case.folder / "hostile.ckpt"
    attack = Hostile(case.random, read(whole), mark, elsewhere)
    change(attack)
    attack.write(file)
    case.attacks += 1
    options = {"folder": here, "environment": {"PYTHONPATH": str(case.folder / "path")}}
    use(case, run, file, whole, change in NO_FIGURES, options)
    what = (change.__doc__ or "").partition(".")[0]
    case.need(not mark.exists(), f"{what}: ran code of the checkpoint's choice")
    case.need(contents(elsewhere) == before, f"{what}: wrote elsewhere")
    made = {path.name for path in case.folder.iterdir() if path.is_dir() and not path.name.startswith("test")}
    case.need(made <= {"a", "path", "elsewhere", "run", "here"}, f"{what}: wrote to {', '.join(sorted(made))}")
    case.need_no_parts(case.folder)


def use(case: Case, run: str, file: Path, whole: Path, changed: bool, options: dict[str, Any]) -> None:
    """A command that reads a checkpoint, and what has to come out of it."""
    place = case.folder / "run"
    tiny = ["--data.test_episodes=4", "--accelerator=cpu", f"--folder={place}"]
    match case.random.choice(["test", "test", "fit", "fit", "sweep", "compare", "export"]):
        case "test":
            ours = figures(case, file, **options)
            need_same_figures(case, None if changed else ours, f"half-{run}", whole)
        case "fit":
            words = fit(run, place, f"--ckpt_path={file}", "--trainer.logger=false", "--trainer.max_steps=20")
            done, step = case.run(words, **options), need_whole(case, run, place)
            case.need(done.status == 2 or step == 20, f"status {done.status} after {step} outer steps", done)
        case "sweep":
            case.run(["sweep", f"--ckpt_paths=[{file}]", "--shots=[1]", *tiny], **options)
        case "compare":
            case.run(["compare", f"--ckpt_paths=[{file},{whole}]", *tiny], **options)
        case _:
            case.run(["export", f"--ckpt_path={file}", f"--to={place}/exported.ckpt"], **options)


def contents(folder: Path) -> dict[Path, bytes | None]:
    """All that is in a folder."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}
