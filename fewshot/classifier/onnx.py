"""A classifier as one ONNX file: normalisation, network and head."""

import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewshot.algorithms import MetricModule, ProtoNetModule
from fewshot.algorithms.protonet import prototypes
from fewshot.classifier.heads import LinearHead
from fewshot.classifier.sources import LearnerHead, both_ways
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
        self.network: Any = getattr(module, "network", None)
        weight, bias, self.unit_length = _linear(classifier)
        self.weight, self.bias = nn.Buffer(weight / classifier.temperature_), nn.Buffer(bias / classifier.temperature_)

    def _embed(self, images: Tensor) -> Tensor:
        return self.backbone.backbone(self.backbone.prepared(images))  # as it is, for what exports it to look into

    def forward(self, images: Tensor) -> Tensor:
        """Probabilities ``[n, N]`` of images ``[n, C, H, W]`` of 0 to 1."""
        features = both_ways(self._embed, images) if self.backbone is not None else self.network(images)
        if self.unit_length:
            features = F.normalize(features)
        return (features @ self.weight.T + self.bias).softmax(1)


def _linear(classifier: "FewShotClassifier") -> tuple[Tensor, Tensor, bool]:
    """Weight ``[N, D]`` and bias ``[N]`` of the scores, and whether features are brought to length one for them.

    Raises:
        FewShotError: If the scores are not linear in the features.
    """
    head, module = classifier.head_, classifier.source.module
    if isinstance(head, LinearHead) and isinstance(module, PretrainedEmbedding | MetricModule):
        return torch.from_numpy(head.weight).float(), torch.from_numpy(head.bias).float(), True
    if isinstance(head, LearnerHead) and isinstance(head.learner, ProtoNetModule):
        learner = head.learner
        support = Examples(*(torch.from_numpy(part)[None] for part in (head.features, head.labels)))
        centres = prototypes(support)[0].double()
        if learner.distance == "cosine":
            return (F.normalize(centres) / learner.temperature).float(), torch.zeros(len(centres)), True
        # The squared distance, less that from the middle, which all classes share: the rest has digits to lose.
        middle = centres.mean(0)
        bias = middle.square().sum() - centres.square().sum(1)
        return (2 * (centres - middle) / learner.temperature).float(), (bias / learner.temperature).float(), False
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
