"""A trained learner with its episodes, as a checkpoint describes them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fewshot.algorithms import EpisodicModule
from fewshot.checkpoints import KEY, read_checkpoint
from fewshot.data import EpisodicDataModule
from fewshot.networks import without_weights
from fewshot.parser import Parser, link
from fewshot.trust import options_of, trusted_by


class Loaded(NamedTuple):
    """What a checkpoint describes.

    Attributes:
        name: The name of its run.
        module: The learner, with untrained weights: ``Trainer.test(..., ckpt_path=...)`` restores them.
        data: Its episodes.
        options: The resolved options of both, as JSON.
    """

    name: str
    module: EpisodicModule
    data: EpisodicDataModule
    options: str


def load(path: str | Path, options: Sequence[str] = ()) -> Loaded:
    """Makes the learner and the data of a checkpoint anew.

    Args:
        path: A checkpoint that ``fewshot fit`` wrote.
        options: Words as one would type them after ``fewshot test``, such as ``--data.test_shots=4``; they win over
            what the checkpoint says.

    Raises:
        FewShotError: If it is no checkpoint, an option is wrong, or a class is neither one of fewshot nor trusted.
    """
    return made(read_checkpoint(path)[KEY], options)


def made(record: dict[str, Any], options: Sequence[str] = ()) -> Loaded:
    """Makes the learner and the data that a checkpoint's record describes; see :func:`load`."""
    theirs, _ = options_of(record["config"], trusted_by(options))
    parser = Parser()
    parser.add_argument("--trust", type=list[str])
    parser.add_argument("--config", action="config")
    parser.add_lightning_class_args(EpisodicModule, "model", subclass_mode=True)
    parser.add_lightning_class_args(EpisodicDataModule, "data", subclass_mode=True)
    link(parser)
    config = parser.parse_args(["--config", json.dumps(theirs), *options])
    with without_weights():
        parts = parser.instantiate_classes(config)
    options_json = parser.dump(config, format="json", skip_link_targets=False)
    parts.model.options = json.loads(options_json)["model"]
    return Loaded(record["name"], parts.model, parts.data, options_json)
