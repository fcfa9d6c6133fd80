"""The front door: which command the words after ``fewshot`` name. Its module is imported when it is called."""

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

import fewshot
from fewshot.errors import FewShotError, did_you_mean
from fewshot.foresight import check_call, check_run
from fewshot.signals import Stopped, stoppable
from fewshot.telling import one_line_errors
from fewshot.terminal import make_printable

RUNS = {
    "fit": "trains a learner, and keeps its best state",
    "test": "tests a trained learner on episodes of new classes",
}
"""The commands that are LightningCLI's."""


class Command(NamedTuple):
    """A command that is a plain function of its name: its arguments are the options, its docstring the help.

    Attributes:
        home: The module that has it.
        does: What, in a line.
        goes_on: Whether it keeps what it has done when it is interrupted.
    """

    home: str
    does: str
    goes_on: bool = False


COMMANDS = {
    "demo": Command("studies.demo", "trains and tests two learners on built-in glyphs: two minutes", True),
    "explore": Command("explore.command", "a page in the browser to play with trained learners"),
    "predict": Command("classifier.predict", "sorts pictures of yours by a few labelled ones of each class"),
    "sweep": Command("evaluation.sweep", "tests learners at several shots, steps, ways or queries", True),
    "compare": Command("evaluation.compare", "which learner is better, episode by episode", True),
    "curves": Command("evaluation.curves", "draws the training curves of several runs together"),
    "lake": Command("evaluation.lake", "Lake's 20 one-shot runs within alphabets"),
    "reuse": Command("evaluation.reuse", "how much of a learner adapts, and how much is reused"),
    "instances": Command("evaluation.instances", "accuracy at the 1st to the 10th instance of a class"),
    "export": Command("evaluation.export", "writes a checkpoint without the state of its training"),
    "download": Command("networks.download", "fetches a pretrained backbone, once"),
    "homework": Command("studies.homework", "study: what changes with the inner rate, the shots, the steps", True),
    "family": Command("studies.family", "study: MAML and its relatives on the same episodes", True),
    "feature_reuse": Command("studies.feature_reuse", "study: rapid learning or feature reuse", True),
    "methods": Command("studies.methods", "study: nine methods beside what was published", True),
    "recipes": Command("studies.recipes", "study: what each measure of a training recipe buys", True),
    "results": Command("studies.results", "study: the checkpoints that come along, in all settings", True),
}


def main(args: list[str] | None = None) -> None:
    """The ``fewshot`` command.

    Args:
        args: The words after ``fewshot``; those of the process if not given.
    """
    words = sys.argv[1:] if args is None else args
    make_printable()
    with one_line_errors():
        if not words or words[0] in ("-h", "--help", "help"):
            print(overview())
        elif words[0] == "--version":
            print(f"fewshot {fewshot.__version__}")
        elif words[0] in COMMANDS:
            call(words[0], words[1:])
        elif not words[0].startswith("-") and words[0] not in RUNS:
            question = did_you_mean(words[0], [*RUNS, *COMMANDS])
            raise FewShotError(f"there is no command {words[0]!r}{question or '; fewshot --help lists them'}")
        else:
            if words[0] in RUNS:
                check_run(words[0], words[1:])
            run = imported("fewshot.runs").run
            with stoppable():
                run(words)


def overview() -> str:
    """All commands, a line each."""
    does = {**RUNS, **{name: command.does for name, command in COMMANDS.items()}}
    lines = [f"  {name:<15}{what}" for name, what in does.items()]
    return "\n".join(
        [
            "usage: fewshot COMMAND [OPTIONS]",
            "",
            f"{fewshot.__doc__}",
            "",
            *lines,
            "",
            "fewshot COMMAND --help lists the options of one, fewshot --version says which",
            "version this is. To begin with: fewshot demo",
        ]
    )


def call(command: str, args: list[str]) -> None:
    """Runs one of the :data:`COMMANDS`.

    Args:
        command: Which.
        args: The words after it.

    Raises:
        FewShotError: If the user made a mistake.
    """
    where = f"fewshot {command} --help lists the options"
    home = f"fewshot.{COMMANDS[command].home}"
    check_call(home, command, args, where)
    function: Callable[..., Any] = getattr(imported(home), command)
    prepare = imported("fewshot.runs").prepare
    parser_class = imported("fewshot.parser").Parser
    with stoppable():
        prepare()
        parser = parser_class(
            prog=f"fewshot {command}",
            description=(function.__doc__ or "").partition("Args:")[0],
            where=where,
        )
        options = parser.add_function_arguments(function, as_group=False, as_positional=command == "download")
        config = parser.parse_args(args)
        try:
            function(**{option: config[option] for option in options})
        except Stopped:
            if COMMANDS[command].goes_on:
                print("The same command goes on with what is missing.")
            raise


def imported(module: str) -> Any:
    """A module, imported when it is needed: torch alone takes a second or two.

    Raises:
        FewShotError: If torch and torchvision do not go together; torchmetrics imports torchvision wherever it is
            installed.
    """
    try:
        return import_module(module)
    except RuntimeError as error:
        if "torchvision" not in str(error):
            raise
        raise FewShotError(
            f"torch and torchvision are of different builds ({error}): install both from the same place, or a CPU-only "
            "torch with a torchvision of its version"
        ) from None
