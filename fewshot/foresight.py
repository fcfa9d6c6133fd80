"""Mistyped names and numbers, found in the sources before anything is imported: torch and Lightning take seconds.

Whatever is not sure here is left to the parser.
"""

import ast
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from fewshot.errors import FewShotError
from fewshot.shipped import config_path
from fewshot.wording import no_class, no_option

PACKAGE = Path(__file__).parent
EVERYWHERE = {"help", "config", "print_config"}
OF_A_RUN = {*EVERYWHERE, "seed_everything", "name", "overwrite", "checkpoint_minutes", "trust", "ckpt_path"}
PARTS = {"model": "algorithms", "data": "data"}
OF_A_CLASS = {"help", "class_path", "init_args", "dict_kwargs"}
NUMBERS = {"int": "a whole number", "float": "a number"}

Options = dict[str, str]
"""Names of arguments, and their types as they are written."""


class Class(NamedTuple):
    """A class, as its source has it.

    Attributes:
        bases: The names of its bases.
        options: Its own arguments.
        passes_on: Whether it takes those of its bases, too.
    """

    bases: list[str]
    options: Options
    passes_on: bool


def check_call(module: str, function: str, words: Sequence[str], where: str) -> None:
    """Checks the options of a command that is a plain function.

    Args:
        module: The module that has it.
        function: Its name.
        words: Those behind the command.
        where: What lists the options.

    Raises:
        FewShotError: If there is no such option.
    """
    options = _options_of_function(PACKAGE.parent.joinpath(*module.split(".")), function)
    known = {f"--{name}" for name in {*options, *EVERYWHERE}}
    for option, _ in _typed(words):
        if option.partition(".")[0] not in known:
            raise FewShotError(no_option(option, known, where))


def check_run(command: str, words: Sequence[str]) -> None:
    """Checks the options of ``fit`` and ``test``.

    Args:
        command: Which of them.
        words: Those behind it.

    Raises:
        FewShotError: If a config, an option or a class is not there, or what should be a number is none.
    """
    typed = list(_typed(words))
    config: dict[str, Any] = {}
    for option, value in typed:
        if option == "--config" and value and not value.startswith("{"):
            config |= _read(config_path(value))
    given = dict(typed)
    heads = {option.partition(".")[0] for option in given}
    knows = {"--config", "--help", "--print_config"}
    if given.get("--ckpt_path") != "last":  # whose, a config says
        knows.add("--ckpt_path")
    complete = heads >= {"--model", "--data"} or heads & knows
    if not complete and not {"-h", "-c"} & set(words) and not any(option.endswith(".help") for option in given):
        example = "--ckpt_path FILE knows both, as in --ckpt_path pretrained/maml_5w1s, and so does --config NAME"
        if command == "fit":
            example = "--config NAME knows both, as in --config omniglot_maml, and so does --ckpt_path FILE"
        raise FewShotError(
            f"fewshot {command} needs a learner and its data: {example}; or type --model NAME and --data NAME"
        )
    known = {f"--{name}": "" for name in {*OF_A_RUN, *PARTS, "trainer"}}
    known |= {f"--trainer.{name}": kind for name, kind in _options_of_trainer().items()}
    sure = {"trainer"}
    for part in PARTS:
        options = _options_of_class(part, given.get(f"--{part}"), config)
        if options is not None:
            sure.add(part)
            known |= {f"--{part}.{name}": kind for name, kind in {**options, **dict.fromkeys(OF_A_CLASS, "")}.items()}
    where = f"fewshot {command} --help, --model.help NAME and --data.help NAME list them"
    for option, value in typed:
        first = ".".join(option.split(".")[:2])
        head = option.partition(".")[0]
        if first not in known and (head not in known or head[2:] in sure):
            raise FewShotError(no_option(option, known, where))
        kind = known.get(option, "").removesuffix(" | None")
        kind = kind.removeprefix("Optional[").removesuffix("]")
        if kind in NUMBERS and isinstance(value, str) and not _is_number(value):
            raise FewShotError(f"{option}: must be {NUMBERS[kind]}, not {value}")


def _typed(words: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """The options among the words with their values; ``None`` where none follows."""
    for word, after in zip(words, [*words[1:], "--"]):
        if word.startswith("--"):
            option, equals, value = word.partition("=")
            yield option.removesuffix("+"), value if equals else None if after.startswith("--") else after


def _read(file: Path) -> dict[str, Any]:
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else None
    except (OSError, ValueError, yaml.YAMLError, RecursionError):  # the parser tells what is wrong with it
        return {}
    return config if isinstance(config, dict) else {}


def _is_number(value: str) -> bool:
    """Whether a value may be one: null may be."""
    try:
        float(value.replace("_", ""))
    except ValueError:
        return value in ("", "null", "~") or value.lower().startswith("0x")
    return True


def _options_of_class(part: str, typed: str | None, config: dict[str, Any]) -> Options | None:
    """The options of the class that a run names for its model or its data; ``None`` if it is none of ours.

    Raises:
        FewShotError: If it is a short name that no class has.
    """
    classes = _classes(PARTS[part])
    of_config = config.get(part)
    path = typed or (of_config.get("class_path") if isinstance(of_config, dict) else None)
    if not isinstance(path, str):
        return None
    home, _, name = path.rpartition(".")
    if not home and path.isidentifier() and not Path(path).exists() and name not in classes and typed:
        raise FewShotError(f"--{part}: {no_class(name, classes)}")
    return _with_bases(name, classes) if name in classes and (not home or home.startswith("fewshot.")) else None


def _with_bases(name: str, classes: dict[str, Class]) -> Options:
    if name not in classes:
        return {}
    bases, options, passes_on = classes[name]
    inherited = [_with_bases(base, classes) for base in bases if passes_on]
    return {option: kind for own in [*inherited, options] for option, kind in own.items()}


@cache
def _classes(room: str) -> dict[str, Class]:
    """The classes of a room of fewshot by their names."""
    found = {}
    for file in (PACKAGE / room).glob("*.py"):
        for node in _parse(file).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
                made = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
                options = _arguments(made[0]) if made else {}
                found[node.name] = Class(bases, options, not made or made[0].args.kwarg is not None)
    return found


@cache
def _options_of_trainer() -> Options:
    (package,) = find_spec("pytorch_lightning").submodule_search_locations or []  # type: ignore[union-attr]
    tree = _parse(Path(package, "trainer", "trainer.py"))
    trainer = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Trainer")
    return next(_arguments(part) for part in trainer.body if getattr(part, "name", "") == "__init__")  # type: ignore[arg-type]


def _options_of_function(file: Path, name: str) -> Options:
    tree = _parse(file.with_suffix(".py"))
    return next(_arguments(part) for part in tree.body if isinstance(part, ast.FunctionDef) and part.name == name)


def _arguments(function: ast.FunctionDef) -> Options:
    names = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return {name.arg: ast.unparse(name.annotation) if name.annotation else "" for name in names if name.arg != "self"}


def _parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))
