"""Parsing options: jsonargparse, made strict and brief."""

import re
from importlib import import_module
from typing import Any, NoReturn

from pytorch_lightning.cli import LightningArgumentParser

from fewshot.errors import FewShotError

# The lines that jsonargparse wraps round the one that says what is wrong.
PADDING = (
    "Does not validate against any of the Union subtypes",
    "Subtypes: ",
    "Errors:",
    "Given value",
    "Expected a <class 'NoneType'>",
)

NO_FILE = re.compile(r"Expected a path but \S+ either not accessible or invalid: ")
NO_CLASS = re.compile(r"Expected a dot import path string: (\S+)")


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
        self, *args: Any, where: str = "--help, --model.help NAME and --data.help NAME list the options", **kwargs: Any
    ) -> None:
        super().__init__(*args, allow_abbrev=False, **kwargs)
        self.where = where

    def instantiate_classes(self, *args: Any, **kwargs: Any) -> Any:
        """Makes the objects that the options describe.

        Raises:
            FewShotError: What a constructor says, without the lines that jsonargparse wraps round it.
        """
        try:
            return super().instantiate_classes(*args, **kwargs)
        except ValueError as error:
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, FewShotError):
                cause = cause.__cause__ or cause.__context__
            raise cause or error from None

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raises the gist of what jsonargparse would print below its usage."""
        lines = (line.strip(" -") for line in message.replace("Does not validate", "\nDoes not validate").splitlines())
        gist = ": ".join(line.rstrip(": ") for line in lines if line and not line.startswith(PADDING))
        if "required: fit." in gist or "required: test." in gist:
            gist += "; a --config FILE or a --ckpt_path FILE knows them"
        if gist.endswith("not accepted") or (gist.startswith("unrecognized") and "--help" not in gist):
            gist += f"; {self.where}"
        gist = NO_CLASS.sub(r"there is no \1: a class of your own goes by its path, as in my.module.\1", gist)
        gist = NO_FILE.sub("", gist)
        if "Option 'lr'" in gist and "meta_lr" not in gist:
            gist += "; the step size is --model.meta_lr"
        if "Expected a <class 'list'>" in gist and "[a,b]" not in gist:
            gist += "; give a list, as in [a,b]"
        raise FewShotError(_abstract(message) or re.sub(r'Parser key "(.+?)"', r"--\1", gist))


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
