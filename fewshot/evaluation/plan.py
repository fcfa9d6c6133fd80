"""Which tests a study consists of: all checkpoints on the same episodes."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from fewshot import __version__
from fewshot.checkpoints import KEY, read_checkpoint
from fewshot.errors import FewShotError
from fewshot.evaluation.fingerprint import digest
from fewshot.evaluation.load import load, made
from fewshot.shipped import checkpoint_path
from fewshot.terminal import console

KNOBS = {
    "shots": ("data", "test_shots"),
    "adaptation_steps": ("model", "test_adaptation_steps"),
    "ways": ("data", "test_ways"),
    "queries": ("data", "test_queries"),
}
"""What may be varied at test time, and the option of ``fewshot test`` that does."""

OPTIONS = {"seed": "--data.seed", "split": "--data (its split)", "split_digest": "--data (the digest of its split)"}
"""How to call what decides which episodes a test sees, where it is not --data.test_<name>."""


class Point(NamedTuple):
    """One test to be done.

    Attributes:
        name: What to call the checkpoint.
        path: Where it is.
        knob: What is varied; ``None`` if nothing.
        value: Its value.
        options: The words that one would type after ``fewshot test``.
        recipe: Fingerprint of the options of the training, but for the seed of its episodes.
        training: That seed.
        key: Fingerprint of weights, options, data and version: a result with the same one is the same.
    """

    name: str
    path: Path
    knob: str | None
    value: int | None
    options: list[str]
    recipe: str
    training: int
    key: str


def plan(
    ckpt_paths: Sequence[Path],
    knobs: Mapping[str, list[int] | None],
    data: Mapping[str, Any],
    model: Mapping[str, Any],
    trust: Sequence[str] = (),
) -> list[Point]:
    """The tests of every checkpoint at every value of one knob, value after value, all on the same episodes.

    Args:
        ckpt_paths: The checkpoints.
        knobs: The values of one knob, all others ``None``; or of none, to test as the checkpoints say.
        data: Options of the data for all checkpoints, as in ``fewshot test``.
        model: Options of the learner for all checkpoints.
        trust: Modules of the user's own whose classes the checkpoints may use.

    Raises:
        FewShotError: If a checkpoint or an option is wrong, or the episodes would not be the same for all.
    """
    knob, values = _one_knob(knobs)
    if knob and KNOBS[knob][1] in {"data": data, "model": model}[KNOBS[knob][0]]:
        raise FewShotError(f"--{knob} and --{'.'.join(KNOBS[knob])} are the same option: give one of them")
    words = ["--data.meta_batch_size=10", *typed(data, model, trust)]  # for speed: no result of a test depends on it
    paths = [checkpoint_path(path) for path in ckpt_paths]
    if knob == "adaptation_steps":
        paths = _adapting(paths, words)
    points = []
    for value in values:
        options = [*words, f"--{'.'.join(KNOBS[knob])}={value}"] if knob else words
        points += _points(paths, knob, value, options)
    return points


def typed(data: Mapping[str, Any], model: Mapping[str, Any], trust: Sequence[str]) -> list[str]:
    """The words that one would type after ``fewshot test`` for options of the data, of the learner, and for trust."""
    given = {f"data.{name}": value for name, value in data.items()}
    given |= {f"model.{name}": value for name, value in model.items()}
    given |= {"trust": list(trust)} if trust else {}
    return [f"--{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in given.items()]


def tell_apart(names: Sequence[str], paths: Sequence[Path]) -> list[str]:
    """A label for each path: its name, or more where names are equal.

    Raises:
        FewShotError: If a path is given twice.
    """
    if len({path.resolve() for path in paths}) < len(paths):
        raise FewShotError(f"one of {', '.join(map(str, paths))} is given twice")
    longer = [f"{name}/{path.stem}" for name, path in zip(names, paths)]
    choices = (list(names), longer, [str(path) for path in paths])
    return next(choice for choice in choices if len(set(choice)) == len(choice))


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Says of which checkpoint a mistake is."""
    try:
        yield
    except FewShotError as error:
        raise error if str(path) in str(error) else type(error)(f"{path}: {error}") from None


def _one_knob(knobs: Mapping[str, list[int] | None]) -> tuple[str | None, list[int | None]]:
    given = {knob: sorted(set(values)) for knob, values in knobs.items() if values is not None}
    if len(given) > 1:
        raise FewShotError(f"{' and '.join(f'--{knob}' for knob in given)} vary at once: give the values of one")
    for knob, values in given.items():
        if not values:
            raise FewShotError(f"--{knob} has no values: give some, as in --{knob} [1,4]")
        return knob, list(values)
    return None, [None]


def _adapting(paths: Sequence[Path], options: list[str]) -> list[Path]:
    """The checkpoints of learners that take inner steps; says which are left out.

    Raises:
        FewShotError: If none does.
    """
    kept = []
    for path in paths:
        with named(path):
            module = load(path, options).module
        if hasattr(module, "test_adaptation_steps"):
            kept.append(path)
        else:
            console().print(f"{path}: {module.title} takes no adaptation steps, and is left out", soft_wrap=True)
    if paths and not kept:
        raise FewShotError("none of these learners takes adaptation steps: vary --shots, --ways or --queries")
    return kept


class _Described(NamedTuple):
    name: str  # of the run
    options: str  # all of them
    episodes: dict[str, Any]  # what decides which episodes a test sees
    content: str  # fingerprint of their examples
    recipe: str  # fingerprint of its training's options, but for the seed of the episodes
    seed: int  # that seed


def _points(paths: Sequence[Path], knob: str | None, value: int | None, options: list[str]) -> list[Point]:
    """The tests of all checkpoints at one value."""
    described = [_describe(path, options) for path in paths]
    for (ours, here), (theirs, there) in pairwise(zip(paths, [one.episodes for one in described])):
        for what in [*here, *there]:
            if here.get(what) != there.get(what):
                option = OPTIONS.get(what, f"--data.test_{what}")
                raise FewShotError(
                    f"{ours} and {theirs} would not be tested on the same episodes: {option} is {here.get(what)} for "
                    f"one and {there.get(what)} for the other. Set it for both"
                )
    points = []
    for name, path, one in zip(tell_apart([one.name for one in described], paths), paths, described):
        parts = [one.options, repr(one.episodes), one.content, __version__]
        hashes = (hashlib.sha256(part).digest() for part in (path.read_bytes(), *(part.encode() for part in parts)))
        key = hashlib.sha256(b"".join(hashes)).hexdigest()[:16]
        points.append(Point(name, path, knob, value, options, one.recipe, one.seed, key))
    return points


def _describe(path: Path, options: list[str]) -> _Described:
    """Reads the images, so that what cannot be drawn from them is refused before the first test."""
    with named(path):
        record = read_checkpoint(path)[KEY]
        name, _, data, resolved = made(record, options)
        data.prepare_data()
        data.setup("test")
    episodes = data.describe()
    training = {**record["config"]["data"]["init_args"]}
    own, seed = training.pop("train_seed", None), training.get("seed", episodes["seed"])
    recipe = digest([record["config"]["model"], training, record.get("trainer")])
    return _Described(name, resolved, episodes, getattr(data, "content", ""), recipe, seed if own is None else own)
