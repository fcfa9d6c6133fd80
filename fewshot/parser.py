"""Parsing options: jsonargparse, made strict and brief."""

import json
import os
import re
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

import yaml
from jsonargparse import get_loader, set_loader
from pytorch_lightning.cli import LightningArgumentParser

from fewshot.errors import FewShotError, gist
from fewshot.wording import plain, without_padding

read_yaml = get_loader("yaml")


def read_finite_yaml(text: str) -> Any:
    """What a text in YAML says.

    Raises:
        YAMLError: If it is none, or contains itself, which jsonargparse would never have read.
    """
    value = read_yaml(text)
    try:
        json.dumps(value, default=str, skipkeys=True)
    except (ValueError, RecursionError):
        raise yaml.YAMLError("it contains itself") from None
    return value


set_loader("yaml", read_finite_yaml, (yaml.YAMLError,))


def link(parser: LightningArgumentParser) -> None:
    """Lets a learner's head have as many outputs as the data say."""
    parser.link_arguments(
        "data", "model.init_args.outputs", compute_fn=lambda data: data.spec.outputs, apply_on="instantiate"
    )


class Parser(LightningArgumentParser):
    """Takes no abbreviated options, and says what is wrong with them in one line.

    Args:
        where: What lists the options, for the message on one that is not known.
    """

    def __init__(
        self, *args: Any, where: str = "--help, --model.help NAME and --data.help NAME list them", **kwargs: Any
    ) -> None:
        super().__init__(*args, allow_abbrev=False, **kwargs)
        self.where = where

    def parse_args(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> Any:  # type: ignore[override]
        """Reads the options.

        Raises:
            FewShotError: If there is anything wrong with them.
        """
        for word in sys.argv[1:] if args is None else args:
            path = word.partition("=")[2] if word.startswith("-") else word
            if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
                raise FewShotError(f"{path} is neither a file nor a folder, but a pipe or a device: give a file")
        try:
            return super().parse_args(args, *rest, **options)
        except FewShotError:
            raise
        except UnicodeError as error:
            raise FewShotError(f"a file among the options is no text in UTF-8: {error}") from error
        except Exception as error:
            raise FewShotError(f"the options cannot be read: {gist(error)}") from error

    def instantiate_classes(self, *args: Any, **kwargs: Any) -> Any:
        """Makes the objects that the options describe.

        Raises:
            FewShotError: What a constructor says, without the lines that jsonargparse wraps round it.
        """
        try:
            return super().instantiate_classes(*args, **kwargs)
        except Exception as error:
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, FewShotError):
                cause = cause.__cause__ or cause.__context__
            if cause is not None:
                raise cause from None
            wrapped = "Does not validate" in str(error)
            said = without_padding(str(error)) if wrapped else gist(error)
            said += "; an option that needs a value has none (null)" if "'NoneType'" in said else ""
            raise FewShotError(f"{_option_made_in(error)}: {said}") from error

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raises what jsonargparse would print below its usage, in plain words."""
        options = [option for option in self._option_string_actions if option[-1] != "+"]
        raise FewShotError(_abstract(message) or plain(message, options, self.where))


def _option_made_in(error: Exception) -> str:
    """The option whose class jsonargparse was making when an exception was raised."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__) if "component" in frame.f_locals]
    return f"--{frames[-1].f_locals['component'].dest}" if frames else "an option"


def _abstract(message: str) -> str | None:
    """What is wrong with a class that is abstract, if that is what a message is about."""
    found = re.search(r"instantiatable class, but (\S+)? ?is abstract.*?(?:Given value: (\S+))?$", message, re.DOTALL)
    if found is None:
        return None
    option = message.partition('"')[2].partition('"')[0]
    name = found[1] or found[2]
    module, _, short = name.rpartition(".")
    if short.startswith("Episodic"):
        return f"name the class first, as in --{option} NAME, and its options behind it"
    missing = sorted(getattr(import_module(module), short).__abstractmethods__)
    return f"--{option} {name} is abstract: it has no {', '.join(missing)}"
