"""A classifier as one ONNX file: normalisation, network and head."""

import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewshot.algorithms import MetricModule, ProtoNetModule
from fewshot.algorithms.metric import prototypes
from fewshot.classifier.heads import LinearHead
from fewshot.classifier.learners import LearnerHead
from fewshot.classifier.sources import both_ways
from fewshot.episodes import Examples
from fewshot.errors import FewShotError, gist
from fewshot.files import write_bytes
from fewshot.networks import PretrainedEmbedding

if TYPE_CHECKING:
    from fewshot.classifier.estimator import FewShotClassifier


class Whole(nn.Module):
    """A fitted classifier: from images to probabilities."""

    def __init__(self, classifier: "FewShotClassifier") -> None:
        super().__init__()
        module: Any = classifier.source.module
        self.backbone: Any = module if isinstance(module, PretrainedEmbedding) else None
        self.learner: Any = module if self.backbone is None else None
        self.scores = _scores(classifier)
        self.temperature = classifier.temperature_

    def _embed(self, images: Tensor) -> Tensor:
        return self.backbone.backbone(self.backbone.prepared(images))  # as it is, for what exports it to look into

    def forward(self, images: Tensor) -> Tensor:
        """Probabilities ``[n, N]`` of images ``[n, C, H, W]`` of 0 to 1."""
        features = both_ways(self._embed, images) if self.backbone is not None else self.learner.features(images)
        return (self.scores(features) / self.temperature).softmax(1)


class Linear(nn.Module):
    """Scores that are linear in features of length one."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = nn.Buffer(weight), nn.Buffer(bias)

    def forward(self, features: Tensor) -> Tensor:
        """Scores ``[n, N]`` of features ``[n, D]``."""
        return F.normalize(features) @ self.weight.T + self.bias


class Distances(nn.Module):
    """Scores that are minus the squared distances to centres."""

    def __init__(self, centres: Tensor, temperature: float) -> None:
        super().__init__()
        self.centres, self.temperature = nn.Buffer(centres), temperature

    def forward(self, features: Tensor) -> Tensor:
        """Scores ``[n, N]`` of features ``[n, D]``."""
        return -(features.unsqueeze(1) - self.centres).square().sum(-1) / self.temperature


def _scores(classifier: "FewShotClassifier") -> nn.Module:
    """The head as a module.

    Raises:
        FewShotError: If ONNX cannot hold it.
    """
    head, module = classifier.head_, classifier.source.module
    if isinstance(head, LinearHead) and isinstance(module, PretrainedEmbedding | MetricModule):
        return Linear(*(torch.from_numpy(part).float() for part in head))
    if isinstance(head, LearnerHead) and isinstance(head.learner, ProtoNetModule):
        support = Examples(*(torch.from_numpy(part)[None] for part in (head.features, head.labels)))
        centres, temperature = prototypes(support)[0], head.learner.temperature
        if head.learner.distance == "euclidean":
            return Distances(centres, temperature)
        return Linear(F.normalize(centres) / temperature, torch.zeros(len(centres)))
    raise FewShotError(
        f"{type(module).__name__} cannot be written as ONNX: a pretrained backbone can, a ProtoNet, "
        "and any other learner that compares with head logistic"
    )


def export_onnx(classifier: "FewShotClassifier", file: Path) -> None:
    """Writes a fitted classifier: input ``images`` ``float32`` ``[n, C, H, W]`` of 0 to 1, output ``probabilities``.

    The images are as the classifier reads pictures: upright, opaque, resized and cut to its square.

    Raises:
        FewShotError: If its scores are not linear in features, a package is missing, or the file cannot be written.
    """
    if file.is_dir():
        raise FewShotError(f"{file} is a folder: name a file in it")
    whole = Whole(classifier).eval()
    example = torch.from_numpy(classifier.source.example()).float()[None].repeat(2, 1, 1, 1) / 255
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of the exporter's own parts
            program = torch.onnx.export(
                whole,
                (example,),
                input_names=["images"],
                output_names=["probabilities"],
                dynamic_shapes={"images": {0: torch.export.Dim("n")}},
                dynamo=True,
                verbose=False,
            )
    except ImportError as error:
        missing = error.name or gist(error)
        raise FewShotError(f'ONNX needs {missing}, which is not installed: pip install "fewshot[onnx]"') from None
    assert program is not None
    try:
        write_bytes(file, program.model_proto.SerializeToString())
    except OSError as error:
        raise FewShotError(f"{file} cannot be written ({error.strerror})") from None
