"""The front door: which command the words after ``fewshot`` name."""

import sys
from collections.abc import Callable
from typing import Any

import fewshot
from fewshot.classifier.predict import predict
from fewshot.errors import FewShotError
from fewshot.evaluation import compare, curves, export, instances, lake, reuse, sweep
from fewshot.explore import explore
from fewshot.networks.download import download
from fewshot.parser import Parser
from fewshot.runs import FewShotCLI, prepare, run
from fewshot.signals import Stopped, stoppable
from fewshot.studies.demo import demo
from fewshot.studies.family import family
from fewshot.studies.feature_reuse import feature_reuse
from fewshot.studies.homework import homework
from fewshot.studies.methods import methods
from fewshot.studies.results import results
from fewshot.telling import one_line_errors
from fewshot.terminal import make_printable

COMMANDS: dict[str, Callable[..., Any]] = {
    "demo": demo,
    "explore": explore,
    "predict": predict,
    "sweep": sweep,
    "compare": compare,
    "curves": curves,
    "lake": lake,
    "reuse": reuse,
    "instances": instances,
    "export": export,
    "download": download,
    "homework": homework,
    "family": family,
    "feature_reuse": feature_reuse,
    "methods": methods,
    "results": results,
}
"""The commands that are plain functions: their arguments are the options, their docstrings the help."""

BY_PLACE = {"download"}
"""Those of them whose required argument is given without its name."""

DESCRIPTION = f"{fewshot.__doc__} Beside fit and test there are {', '.join(COMMANDS)}: fewshot sweep --help, ..."


def main(args: list[str] | None = None) -> None:
    """The ``fewshot`` command.

    Args:
        args: The words after ``fewshot``; those of the process if not given.
    """
    words = sys.argv[1:] if args is None else args
    make_printable()
    with stoppable(), one_line_errors():
        if words[:1] == ["--version"]:
            print(f"fewshot {fewshot.__version__}")
        elif words and words[0] in COMMANDS:
            call(words[0], words[1:])
        elif words and not words[0].startswith("-") and words[0] not in FewShotCLI.subcommands():
            raise FewShotError(
                f"there is no command {words[0]!r}, but {', '.join([*FewShotCLI.subcommands(), *COMMANDS])}"
            )
        else:
            run(words, DESCRIPTION)


def call(command: str, args: list[str]) -> None:
    """Runs one of the :data:`COMMANDS`.

    Args:
        command: Which.
        args: The words after it.

    Raises:
        FewShotError: If the user made a mistake.
    """
    prepare()
    parser = Parser(
        prog=f"fewshot {command}",
        description=(COMMANDS[command].__doc__ or "").partition("Args:")[0],
        where=f"fewshot {command} --help lists the options",
    )
    options = parser.add_function_arguments(COMMANDS[command], as_group=False, as_positional=command in BY_PLACE)
    config = parser.parse_args(args)
    try:
        COMMANDS[command](**{option: config[option] for option in options})
    except Stopped:
        print("The same command goes on with what is missing.")
        raise
