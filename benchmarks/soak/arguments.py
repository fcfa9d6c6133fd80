"""Argument lists: real options with values that no one should give. They end in success, or in one line."""

import json
import re
import resource
from pathlib import Path

from benchmarks.soak.case import Case
from benchmarks.soak.runs import TINY, checkpoints, fit, reference

MEMORY = 10 << 30
"""Bytes of addresses that a command may have: what asks for more is told so by the system, not by the machine's end."""

COMMANDS = ("fit", "test", "sweep", "compare", "curves", "export")
HELP = [
    f"--{name}Module"
    for name in ("model.help=MAML", "model.help=ProtoNet", "data.help=GlyphsData", "data.help=SinusoidData")
]
NO_OPTION = re.compile(r"num_nodes|ckpt_path|print_config|root|dir$|dirpath$|folder|--to$")
"""Options that are left alone: what waits for other machines, and places, which a user may choose freely."""
HEAVY = re.compile(r"steps|epochs|episodes|batch|time|channels|widths|outputs|rounds|every|devices|workers|dev_run")
"""Options for which a large number is a long wait that was asked for."""

NUMBERS = "0 1 2 3 -1 0.5 -0.5 1e-300 1e400 nan inf -inf 1.0.0 0x10 1_0 ²".split()
LARGE = ["1_000", "1099511627776", "1" + 30 * "0", "9" * 5000]
# No class or function that would do something: one that a user types is the user's own, and is called.
WORDS = [
    "", " ", "[", "]", "{", "[1,2", "[1,2]", "[[]]", "[null]", "{a: 1}", "{}", "&a [*a]", "a: b: c", "- 1", "%", "\t",
    '{"class_path": "os.nothing", "init_args": {"command": "touch MARK"}}', "$(touch MARK)", "`touch MARK`",
    "!!python/object/apply:os.system [touch MARK]", "\n", "\\", "'", '"', "é\u202e\U0001f600", "\udcff", "a" * 300,
    "../../x", "/dev/null", "/proc/self/mem", "no/such/file", "x" * 5000, "--", "-", "--help",
    *"null true no ~ . os._exit builtins.exec subprocess.Popen fewshot.cli.main torch.nn.Module".split(),
    *"torch.optim.SGD MAMLModule Conv4 MLP ConvNet cosine StepLR Adam mse cross_entropy head all transductive".split(),
    *"running inductive per-step cpu gpu tpu auto ddp 16-mixed 64-true bf16-mixed glyphs_maml fit test".split(),
    "pretrained/maml_5w1s",
]  # fmt: skip


def options(case: Case) -> dict[str, list[str]]:
    """The options of every command, read from its help."""

    def ask(place: Path) -> None:
        found = {}
        for command in COMMANDS:
            asked = ["--help", *(HELP if command in ("fit", "test") else [])]
            told = " ".join(case.need_success(case.run([command, word])).out for word in asked)
            found[command] = sorted(set(re.findall(r"--[a-z][\w.]+", told)))
        (place / "options.json").write_text(json.dumps(found))

    return json.loads((case.once("options", ask) / "options.json").read_text())


def start(case: Case, command: str) -> list[str]:
    """Words that make sense."""
    runs = case.random.choice([("maml", "rates"), ("sinusoid", "reptile"), ("protonet", "maml")])
    places = [reference(case, run)[0] for run in runs]
    files = [str(checkpoints(run, place)["best"]) for run, place in zip(runs, places)]
    small = ["--data.test_episodes=2", "--accelerator=cpu", "--folder=out"]
    match command:
        case "fit":
            logs = f"--trainer.logger={case.random.choice(['true', 'false'])}"
            return fit(runs[0], Path("run"), "--trainer.max_steps=1", logs)
        case "test":
            tiny = [word for word in TINY if "val_check" not in word]
            return ["test", f"--ckpt_path={files[0]}", *tiny, "--trainer.default_root_dir=run"]
        case "sweep":
            return ["sweep", f"--ckpt_paths=[{files[0]}]", "--shots=[1,2]", *small]
        case "compare":
            return ["compare", f"--ckpt_paths=[{files[0]},{files[1]}]", *small]
        case "curves":
            logs = ",".join(f"{place}/logs/{run}" for run, place in zip(runs, places))
            return ["curves", f"--runs=[{logs}]", "--folder=out"]
        case _:
            return ["export", f"--ckpt_path={files[0]}", "--to=out/exported.ckpt"]


def value(case: Case, option: str) -> str:
    """One that may make sense, or not."""
    large = [] if HEAVY.search(option) else LARGE
    return case.random.choice(case.random.choice([NUMBERS + large, WORDS]))


def change(case: Case, words: list[str], known: list[str]) -> None:
    """Changes one thing about the words."""
    rng, at = case.random, case.random.randrange(len(words))
    option, equals, _ = words[at].partition("=")
    match rng.choice(["add"] * 5 + ["value"] * 3 + ["drop", "double", "swap", "cut", "junk"]):
        case "add":
            option = rng.choice([one for one in known if not NO_OPTION.search(one)])
            given = value(case, option)
            words[at + 1 : at + 1] = rng.choice([[f"{option}={given}"], [option, given], [option]])
        case "value" if equals and not NO_OPTION.search(option):
            words[at] = f"{option}={value(case, option)}"
        case "value" if "ckpt_path" in option or option == "--runs":
            words[at] = f"{option}={rng.choice(WORDS)}"
        case "drop" if "default_root_dir" not in option and "folder" not in option and not HEAVY.search(option):
            del words[at]
        case "double":
            words.insert(at, words[at])
        case "swap":
            other = rng.randrange(len(words))
            words[at], words[other] = words[other], words[at]
        case "cut" if at and len(words[at]) > 1 and not NO_OPTION.search(option) and not HEAVY.search(option):
            words[at] = words[at][: rng.randrange(1, len(words[at]))]
        case "junk":
            words.insert(at, rng.choice(WORDS))


def arguments(case: Case) -> None:
    """Some words that make sense, and a few that do not."""
    command = case.random.choices(COMMANDS, [10, 4, 2, 2, 2, 1])[0]
    words, known = start(case, command), options(case)[command]
    for _ in range(case.random.choice([1, 1, 1, 2, 3])):
        change(case, words, known)
    words = [word.replace("\0", "") for word in words]
    limits = MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]
    here = case.folder / "a" / "b" / "here"  # for ../../x
    case.attacks += 1
    done = case.run(words, folder=here, before=lambda: resource.setrlimit(resource.RLIMIT_AS, limits))
    case.need(done.status in (0, 2), f"status {done.status}", done)
    case.need_no_parts(case.folder)
    case.need(not list(case.folder.rglob("MARK")), "something ran what it was given", done)
