"""Learners that fewshot trained, as sources of features and heads."""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from fewshot.algorithms import AdaptingModule, EpisodicModule, MetricModule
from fewshot.checkpoints import KEY, backbone_folder, read_checkpoint
from fewshot.classifier.heads import Head
from fewshot.classifier.sources import Picture, Source
from fewshot.data import EpisodicDataModule, ImageDataModule
from fewshot.data.pictures import open_picture
from fewshot.episodes import Episode, Examples
from fewshot.errors import FewShotError
from fewshot.evaluation.load import made
from fewshot.shipped import checkpoint_path

AT_ONCE = 512  # queries that a learner judges together, each on its own


class LearnerSource(Source):
    """A learner that fewshot trained, each picture read as an example of the data that it was trained on."""

    def __init__(self, module: EpisodicModule, data: EpisodicDataModule, describe: dict[str, Any]) -> None:
        if not isinstance(data, ImageDataModule) or module.objective.name != "cross-entropy":
            raise FewShotError(f"{type(data).__name__} has no pictures: predict takes learners of images")
        compares = isinstance(module, MetricModule)
        if not compares and not isinstance(module, AdaptingModule):
            raise FewShotError(f"{type(module).__name__} neither compares nor adapts: predict does not know it")
        module.eval()

        def read(picture: Picture) -> np.ndarray:
            return data.example(picture if isinstance(picture, Image.Image) else open_picture(picture))

        embed: Any = module.features if compares else lambda images: images.flatten(1)
        super().__init__(describe, module, embed, read)
        self.learner = module
        self.example_shape = self.example().shape

    def head(self, features: np.ndarray, labels: np.ndarray) -> Head:
        """The learner's own: compares with the support set, or adapts to it."""
        outputs, classes = getattr(self.learner, "outputs", None), int(labels.max()) + 1
        if outputs is not None and classes > outputs:
            raise FewShotError(
                f"the checkpoint's {self.learner.title} tells {outputs} classes apart, and the support set has "
                f"{classes}: give fewer, train one with --data.ways {classes}, or take a ProtoNet or the pretrained "
                "backbone, which know no such limit"
            )
        return LearnerHead(self.learner, self.example_shape, features, labels)


def learner_source(path: str, trust: tuple[str, ...] = ()) -> Source:
    """The learner of a checkpoint, its weights restored."""
    file = checkpoint_path(path)
    version = file.stat().st_mtime_ns if file.is_file() else 0
    return _learner_source(path, trust, version)


@lru_cache(maxsize=4)
def _learner_source(path: str, trust: tuple[str, ...], version: int) -> Source:
    return learner_of(read_checkpoint(path), trust)


def learner_of(checkpoint: dict[str, Any], trust: tuple[str, ...]) -> Source:
    """The learner of a checkpoint, judging each query on its own.

    Args:
        checkpoint: Its record, the name of its algorithm and its weights.
        trust: Modules of the user's own whose classes it may use.

    Raises:
        FewShotError: If its network is a backbone in a folder.
    """
    record = checkpoint[KEY]
    if folder := backbone_folder(checkpoint):
        raise FewShotError(
            f"the learner's network is the backbone in {folder}, which is not in its checkpoint: it can be tested by "
            f"fewshot test, but not be used here. Use the backbone itself: --backbone {folder}"
        )
    words = [f"--trust={list(trust)}"] if trust else []
    if record["config"]["data"]["init_args"].get("split") == "file":
        words.append("--data.split=random")  # the files are not known, and only the kind of its images matters here
    if record["config"]["model"]["init_args"].get("batch_norm") == "transductive":
        words.append("--model.batch_norm=inductive")
    learner = made(record, words)
    return LearnerSource(learner.module.restored(checkpoint), learner.data, {"learner": record})


class LearnerHead(NamedTuple):
    """The head that a learner makes of a support set.

    Attributes:
        learner: Trained.
        example_shape: Of an image that it adapts on, ``(C, H, W)``.
        features: Of the support set, ``[n, D]``: embedded for a learner that compares, pixels for one that adapts.
        labels: ``[n]``, 0 to N-1.
    """

    learner: EpisodicModule
    example_shape: tuple[int, ...]
    features: np.ndarray
    labels: np.ndarray

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Logits ``[n, N]`` of features ``[n, D]``."""
        classes = int(self.labels.max()) + 1
        parts = [self._logits(part) for part in np.array_split(features, range(AT_ONCE, len(features), AT_ONCE))]
        return np.concatenate(parts)[:, :classes]  # a head of more outputs has learned nothing of the others

    def _logits(self, features: np.ndarray) -> np.ndarray:
        x, queries = (
            torch.from_numpy(np.ascontiguousarray(part, np.float32))[None] for part in (self.features, features)
        )
        support = Examples(x, torch.from_numpy(self.labels)[None])
        if isinstance(self.learner, MetricModule):
            with torch.no_grad():
                return self.learner.compare(support, queries)[0].numpy(force=True)
        images, asked = (part.unflatten(-1, self.example_shape) for part in (x, queries))
        unknown = torch.zeros(asked.shape[:2], dtype=torch.int64)
        episode = Episode(support._replace(x=images), Examples(asked, unknown))
        return self.learner.predict(episode).outputs[0].numpy(force=True)
