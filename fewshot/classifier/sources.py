"""Where features come from: a pretrained backbone, or a learner that fewshot trained."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from rich.progress import track

from fewshot.algorithms import AdaptingModule, EpisodicModule, MetricModule
from fewshot.checkpoints import KEY, read_checkpoint
from fewshot.classifier.heads import Head
from fewshot.data import EpisodicDataModule, ImageDataModule
from fewshot.data.pictures import Resampling, UnreadablePictureError, open_picture, read_picture
from fewshot.episodes import Episode, Examples
from fewshot.errors import FewShotError
from fewshot.evaluation.load import made
from fewshot.networks import PretrainedEmbedding
from fewshot.networks.backbones import EMBEDDED
from fewshot.shipped import checkpoint_path
from fewshot.terminal import console

Picture = str | Path | Image.Image

TOGETHER = 32  # pictures that are embedded together
AT_ONCE = 512  # queries that a learner judges together, each on its own
OF_BACKBONE = ("image_size", "crop", "interpolation")  # how pictures are read for it
MOST_REMEMBERED = 100_000  # features of files


class Source:
    """Turns pictures into features, and remembers those of files.

    Args:
        describe: What it is, for a saved classifier.
        module: Its weights.
        embed: From images ``[n, C, H, W]`` of 0 to 1 to features ``[n, D]``.
        read: From one picture to ``uint8`` ``[C, H, W]``.
    """

    def __init__(
        self,
        describe: dict[str, Any],
        module: torch.nn.Module,
        embed: Callable[[torch.Tensor], torch.Tensor],
        read: Callable[[Picture], np.ndarray],
    ) -> None:
        self.describe, self.module, self.embed, self.read = describe, module, embed, read
        self._remembered: dict[tuple[str, int, int] | None, np.ndarray] = {}

    def example(self) -> np.ndarray:
        """A white picture as the source reads it, ``uint8`` ``[C, H, W]``."""
        return self.read(Image.new("RGB", (64, 64), "white"))

    def head(self, features: np.ndarray, labels: np.ndarray) -> Head:
        """The head that the source brings along, for its own features."""
        raise FewShotError("a backbone has no head of its own: choose head auto, nearest-mean, ridge or logistic")

    def features(self, pictures: Sequence[Picture], what: str = "") -> tuple[np.ndarray, dict[int, str]]:
        """Embeds pictures.

        Args:
            pictures: Files, or pictures in memory.
            what: Title of a progress bar; none if empty.

        Returns:
            Features ``float32`` ``[n, D]`` of those that can be read, and of the others, by index, what is wrong.
        """
        parts: list[np.ndarray] = []
        wrong: dict[int, str] = {}
        starts: Iterable[int] = range(0, len(pictures), TOGETHER)
        if what:
            starts = track([*starts], what, console=console(), transient=True)
        with ThreadPoolExecutor() as pool:  # Pillow lets go of the interpreter while it decodes
            for start in starts:
                for offset, feature in enumerate(self._some(pictures[start : start + TOGETHER], pool)):
                    if isinstance(feature, UnreadablePictureError):
                        wrong[start + offset] = feature.why
                    else:
                        parts.append(feature)
        return (np.stack(parts) if parts else np.empty((0, 0), np.float32)), wrong

    def _some(self, pictures: Sequence[Picture], pool: ThreadPoolExecutor) -> list[np.ndarray | UnreadablePictureError]:
        """The features of a few pictures, each from memory, or embedded together with the others."""
        keys = [_version(picture) for picture in pictures]
        found: dict[int, Any] = {i: self._remembered[key] for i, key in enumerate(keys) if key in self._remembered}
        unknown = [index for index in range(len(pictures)) if index not in found]
        found.update(zip(unknown, pool.map(self._try, [pictures[index] for index in unknown])))
        read = [index for index in unknown if isinstance(found[index], np.ndarray)]
        if read:
            images = torch.from_numpy(np.stack([found[index] for index in read])).float() / 255
            with torch.no_grad():
                found.update(zip(read, self.embed(images).float().numpy(force=True)))
        for index in read:
            if (key := keys[index]) and len(self._remembered) < MOST_REMEMBERED:
                self._remembered[key] = found[index]
        return [found[index] for index in range(len(pictures))]

    def _try(self, picture: Picture) -> np.ndarray | UnreadablePictureError:
        try:
            return self.read(picture)
        except UnreadablePictureError as error:
            return error


def _version(picture: Picture) -> tuple[str, int, int] | None:
    """What tells a file from another, or from itself before it was changed."""
    if isinstance(picture, Image.Image):
        return None
    try:
        status = os.stat(picture)
    except OSError:
        return None
    return os.path.abspath(picture), status.st_mtime_ns, status.st_size


def of_network(network: PretrainedEmbedding, describe: dict[str, Any]) -> Source:
    """A pretrained backbone, each picture read as its training read them."""
    network.eval().requires_grad_(False)

    def read(picture: Picture) -> np.ndarray:
        resampling: Resampling = "bilinear" if network.interpolation == "bilinear" else "bicubic"
        return read_picture(picture, network.image_size, 3, network.crop, resampling)

    return Source(describe, network, partial(both_ways, network), read)


def both_ways(embed: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    """The features of images and of their mirror images, added up: half a point to a point better than one way."""
    return embed(images) + embed(images.flip(-1))


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

        embed: Any = module.network if compares else lambda images: images.flatten(1)
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


@lru_cache(maxsize=4)
def backbone_source(backbone: str, download: bool = False) -> Source:
    """A pretrained backbone by its name or folder; see :class:`fewshot.networks.PretrainedEmbedding`."""
    network = PretrainedEmbedding(backbone, download=download)
    name = backbone if backbone == EMBEDDED else network.backbone.pretrained_cfg["architecture"]
    return of_network(network, {"backbone": name, **{key: getattr(network, key) for key in OF_BACKBONE}})


def learner_source(path: str, trust: tuple[str, ...] = ()) -> Source:
    """The learner of a checkpoint, its weights restored."""
    file = checkpoint_path(path)
    version = file.stat().st_mtime_ns if file.is_file() else 0
    return _learner_source(path, trust, version)


@lru_cache(maxsize=4)
def _learner_source(path: str, trust: tuple[str, ...], version: int) -> Source:
    checkpoint = read_checkpoint(path)
    return learner_of(checkpoint[KEY], checkpoint["state_dict"], trust, checkpoint)


def learner_of(
    record: dict[str, Any], weights: dict[str, torch.Tensor], trust: tuple[str, ...], checkpoint: dict[str, Any]
) -> Source:
    """A learner as its record describes it, judging each query on its own.

    Args:
        record: What a checkpoint says of its run.
        weights: What it has learned.
        trust: Modules of the user's own whose classes it may use.
        checkpoint: What is checked before the weights are restored.
    """
    words = [f"--trust={list(trust)}"] if trust else []
    if record["config"]["model"]["init_args"].get("batch_norm") == "transductive":
        words.append("--model.batch_norm=inductive")
    learner = made(record, words)
    learner.module.on_load_checkpoint(checkpoint)
    learner.module.load_state_dict(weights)
    return LearnerSource(learner.module, learner.data, {"learner": record})


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
