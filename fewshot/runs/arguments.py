"""The options of a run that are fewshot's own, the order of all in ``--help``, and the classes that there are."""

import inspect
import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from jsonargparse import ArgumentParser

TITLES = {
    "model": "the learner: --model NAME names its class, --model.help lists them, --model.help NAME its options",
    "data": "the data: --data NAME names their class, --data.help lists them, --data.help NAME their options",
    "trainer": "Lightning's Trainer",
}
"""The groups of options behind the first, in this order."""

CKPT_PATH = {
    "fit": "The checkpoint to go on with: a file, or 'last' for this run's own, if there is one.",
    "test": "The checkpoint to test: a file, the name of one that comes with fewshot, or 'last' for this run's own.",
}


def add_options(parser: ArgumentParser) -> None:
    """Adds the options of a run that are neither the Trainer's nor those of model or data."""
    parser.add_argument(
        "--name",
        type=str | None,
        help="Name of the run, its folder in checkpoints/ and logs/. The config file's name if not given.",
    )
    parser.add_argument(
        "--overwrite",
        type=bool,
        default=False,
        help="fit: replace the checkpoints of an earlier run of this name.",
    )
    parser.add_argument(
        "--checkpoint_minutes",
        type=float,
        default=10.0,
        help="fit: renew last.ckpt at least so often, beside after every validation.",
    )
    parser.add_argument(
        "--trust",
        type=list[str],
        default=[],
        help="Modules of your own, as in [my.module], whose classes a checkpoint may use without your typing them.",
    )


def arrange(parser: ArgumentParser, command: str, does: str) -> None:
    """Puts the options of ``fit`` or ``test`` in order, as a reader looks for them.

    Args:
        parser: Of that command.
        command: Its name.
        does: What it does.
    """
    parser.usage = f"fewshot {command} [--config NAME] [--ckpt_path FILE] [OPTIONS]"
    parser.description = f"{does} What is typed last wins: over a config, over a checkpoint."
    own = parser._optionals
    groups = {name: next(group for group in parser._action_groups if _is_about(group, name)) for name in TITLES}
    for name, title in TITLES.items():
        groups[name].title, groups[name].description = title, None
    (ckpt_path,) = (action for action in parser._actions if action.dest == "ckpt_path")
    ckpt_path.help = CKPT_PATH[command]
    own._group_actions.append(ckpt_path)
    parser._action_groups = [own, *groups.values()]  # type: ignore[list-item]


def _is_about(group: object, name: str) -> bool:
    actions = getattr(group, "_group_actions", [])
    return any(action.dest == name or action.dest.startswith(f"{name}.") for action in actions)


def listing(words: Sequence[str], bases: Mapping[str, type]) -> str | None:
    """The classes that there are, if that is asked for by ``--model.help`` or ``--data.help`` without a name.

    Args:
        words: The words after ``fewshot``.
        bases: The options that name a class, and what that must be a subclass of.
    """
    for word, after in zip(words, [*words[1:], "-"]):
        name = word.removeprefix("--").removesuffix(".help")
        if word == f"--{name}.help" and name in bases and after.startswith("-"):
            classes = sorted(_concrete(bases[name]), key=lambda one: one.__name__)
            return "\n".join([*map(_line, classes), "", f"{word} NAME lists the options of one."])
    return None


def _concrete(base: type) -> Iterator[type]:
    subclass: type
    for subclass in base.__subclasses__():
        if not inspect.isabstract(subclass):
            yield subclass
        yield from _concrete(subclass)


def _line(one: type) -> str:
    """A class and the first sentence of its docstring, as wide as the terminal."""
    does = " ".join((inspect.getdoc(one) or "").partition("\n\n")[0].split())
    width = shutil.get_terminal_size().columns - 1
    return textwrap.fill(f"{one.__name__:<20}{does}", width, subsequent_indent=" " * 20)
