"""jsonargparse's messages, in plain words."""

import re
import sys
from collections.abc import Iterable

from fewshot.errors import did_you_mean, one_line

PADDING = (
    "Does not validate against any of the Union subtypes",
    "Subtypes: ",
    "Errors",
    "Given value",
    "Expected a <class 'NoneType'>",
    "Not a valid subclass of",
    "Subclass types expect one of",
    "a class path (str)",
    "a dict with",
)
"""The lines that jsonargparse wraps round the one that says what is wrong."""

KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a text",
    "list": "a list, as in [a,b]",
    "dict": "options, as in {name: value}",
}
"""What to call a type."""

HOMES = ("fewshot.algorithms", "fewshot.data", "fewshot.networks", "torch.optim")
"""Where the classes are that go by their short names."""

NO_FILE = re.compile(r"Expected a path but \S+ either not accessible or invalid(: |$)")
NO_CLASS = re.compile(r"Expected a dot import path string: (\S+?):?(?=\s|$)")
NO_ATTRIBUTE = re.compile(r"Problem with given class_path '([\w.]+)': module '[\w.]+' has no attribute '\w+'")
EXPECTED = re.compile(r"Expected an? (?:<class '(?P<kind>[\w.]+)'>|typing\.Literal\[(?P<choices>.*?)\])")
GIVEN = re.compile(r"(?:Got|Given) value: (.*)")


def plain(message: str, options: Iterable[str], where: str) -> str:
    """What a message says, in one line that begins with the option that it is about.

    Args:
        message: What jsonargparse would print below its usage.
        options: Those that there are, as they are typed.
        where: What lists them.
    """
    if found := re.search(r"^unrecognized arguments:.*?\s(-\S+)", message):
        return no_option(found[1].partition("=")[0], options, where)
    if found := re.match(r"unrecognized arguments: (\S+) ", f"{message} "):
        return f"{found[1]} is one word too many: put several words, or a pattern such as '*.jpg', in quotes"
    if found := re.fullmatch(r"the following arguments are required: ([\w, ]+)", message):
        return "needed: " + ", ".join(f"--{name}" for name in found[1].split(", "))
    if found := re.fullmatch(r"Option '(.+?)' is not accepted", message):
        return no_option(f"--{found[1]}", options, where)
    said = expected(message) if not (lines := _telling(message)) else ": ".join(lines)
    said = NO_ATTRIBUTE.sub(_no_attribute, NO_CLASS.sub(_no_class, NO_FILE.sub("", said)))
    if found := re.match(r'\W*Parser key "(.+?)"', message):
        nested = re.match(r"--([\w.]+): ", said)
        option = f"{found[1]}.{nested[1]}" if nested else found[1]
        said = f"--{option}: {said[nested.end() if nested else 0 :]}"
        said = re.sub(r"( mean| or) --", rf"\1 --{found[1]}.", said)  # what there is goes by its whole name, too
    if "required: fit." in said or "required: test." in said:
        said += "; a --config FILE or a --ckpt_path FILE knows them"
    return said


def without_padding(message: str) -> str:
    """The lines of a message that say what is wrong."""
    return ": ".join(_telling(message)) or expected(message)


def _telling(message: str) -> list[str]:
    """The lines that say more than what kind of value would be allowed."""
    lines = (line.strip(" ") for line in message.replace("Does not validate", "\nDoes not validate").splitlines())
    lines = (re.sub(r"^-( |$)", "", line).rstrip(": ") for line in lines if not re.match(r'Parser key ".+"', line))
    kept = (line for line in lines if line and not line.startswith(PADDING))
    return list(dict.fromkeys(line for line in kept if not EXPECTED.match(line)))


def expected(message: str) -> str:
    """What a value must be, of all that would be allowed, and what it is."""
    allowed: list[str] = []
    for found in EXPECTED.finditer(message):
        kind, choices = found["kind"], found["choices"]
        if kind != "NoneType":
            allowed += [choice.strip(" '\"") for choice in choices.split(",")] if choices else [KINDS.get(kind, kind)]
    if not allowed:
        return one_line(message)
    *most, last = dict.fromkeys(allowed)
    given = GIVEN.search(message)
    return f"must be {', '.join(most)}{' or ' if most else ''}{last}{f', not {given[1]}' if given else ''}"


def no_option(option: str, options: Iterable[str], where: str) -> str:
    """Says that there is no such option, and which is like it, or what lists them."""
    last = option.rpartition(".")[2].lstrip("-")
    same = [name for name in options if name.rpartition(".")[2] == last]  # --shots for --data.shots
    question = f"; did you mean {' or '.join(same)}?" if same else did_you_mean(option, options)
    if option in ("--lr", "--model.lr"):
        question = "; the step size is --model.meta_lr"
    return f"{option}: there is no such option{question or f'; {where}'}"


def no_class(name: str, classes: Iterable[str]) -> str:
    """Says that there is no class of a name, and which is like it."""
    question = did_you_mean(name, classes)
    return f"there is no {name}{question or f': a class of your own goes by its path, as in my.module.{name}'}"


def _no_class(found: re.Match[str]) -> str:
    modules = [vars(sys.modules[home]) for home in HOMES if home in sys.modules]
    return no_class(found[1], {name for module in modules for name, value in module.items() if isinstance(value, type)})


def _no_attribute(found: re.Match[str]) -> str:
    module, _, name = found[1].rpartition(".")
    classes = {other for other, value in vars(sys.modules.get(module, sys)).items() if isinstance(value, type)}
    return f"{module} has no {name}{did_you_mean(name, classes)}"
