"""The front door: which command the words after ``fewshot`` name. Its module is imported when it is called."""

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

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

COMMANDS = {
    "demo": "trains and tests two learners on built-in glyphs: two minutes",
    "explore": "a page in the browser to play with trained learners",
    "predict": "sorts pictures of yours by a few labelled ones of each class",
    "sweep": "tests learners at several shots, steps, ways or queries",
    "compare": "which learner is better, episode by episode",
    "curves": "draws the training curves of several runs together",
    "lake": "Lake's 20 one-shot runs within alphabets",
    "reuse": "how much of a learner adapts, and how much is reused",
    "instances": "accuracy at the 1st to the 10th instance of a class",
    "export": "writes a checkpoint without the state of its training",
    "download": "fetches a pretrained backbone, once",
    "homework": "study: what changes with the inner rate, the shots, the steps",
    "family": "study: MAML and its relatives on the same episodes",
    "feature_reuse": "study: rapid learning or feature reuse",
    "methods": "study: nine methods beside what was published",
    "recipes": "study: what each measure of a training recipe buys",
    "results": "study: the checkpoints that come along, in all settings",
}
"""The commands that are plain functions: their arguments are the options, their docstrings the help."""

HOMES = {
    "demo": "fewshot.studies.demo",
    "explore": "fewshot.explore.command",
    "predict": "fewshot.classifier.predict",
    "download": "fewshot.networks.download",
    **{name: f"fewshot.evaluation.{name}" for name in "sweep compare curves lake reuse instances export".split()},
    **{name: f"fewshot.studies.{name}" for name in "homework family feature_reuse methods recipes results".split()},
}
"""The module that has the function."""

GOES_ON = {"demo", "sweep", "compare", "homework", "family", "feature_reuse", "methods", "recipes", "results"}
"""Those of them that keep what they have done when they are interrupted."""

BY_PLACE = {"download"}
"""Those of them whose required argument is given without its name."""


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
    lines = [f"  {name:<15}{does}" for name, does in {**RUNS, **COMMANDS}.items()]
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
    check_call(HOMES[command], command, args, where)
    function: Callable[..., Any] = getattr(imported(HOMES[command]), command)
    prepare = imported("fewshot.runs").prepare
    parser_class = imported("fewshot.parser").Parser
    with stoppable():
        prepare()
        parser = parser_class(
            prog=f"fewshot {command}",
            description=(function.__doc__ or "").partition("Args:")[0],
            where=where,
        )
        options = parser.add_function_arguments(function, as_group=False, as_positional=command in BY_PLACE)
        config = parser.parse_args(args)
        try:
            function(**{option: config[option] for option in options})
        except Stopped:
            if command in GOES_ON:
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
