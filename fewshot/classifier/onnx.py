"""A classifier as one ONNX file: normalisation, network and head."""

import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewshot.algorithms import MetricModule
from fewshot.classifier.heads import LinearHead
from fewshot.classifier.sources import LearnerHead
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
        self.network: Any = classifier.source.module
        self.temperature = classifier.temperature_
        head = classifier.head_
        self.is_linear = isinstance(head, LinearHead)
        if isinstance(head, LinearHead):
            self.weight, self.bias = (nn.Buffer(torch.from_numpy(part).float()) for part in head)
        elif isinstance(head, LearnerHead) and isinstance(self.network, MetricModule):
            self.support = nn.Buffer(torch.from_numpy(head.features)[None].float())
            self.labels = nn.Buffer(torch.from_numpy(head.labels)[None])
        else:
            raise FewShotError(
                f"{type(self.network).__name__} takes gradient steps on the support set, which ONNX cannot hold: take "
                "a learner that compares, or a pretrained backbone"
            )

    def forward(self, images: Tensor) -> Tensor:
        """Probabilities ``[n, N]`` of images ``[n, C, H, W]`` of 0 to 1."""
        if isinstance(self.network, PretrainedEmbedding):
            features = self.network.backbone(self.network.prepared(images))
        else:
            features = self.network.network(images)
        if self.is_linear:
            scores = F.normalize(features) @ self.weight.T + self.bias
        else:
            scores = self.network.compare(Examples(self.support, self.labels), features[None])[0]
        return (scores / self.temperature).softmax(1)


def export_onnx(classifier: "FewShotClassifier", file: Path) -> None:
    """Writes a fitted classifier: input ``images`` ``float32`` ``[n, C, H, W]`` of 0 to 1, output ``probabilities``.

    The images are as the classifier reads pictures: upright, opaque, resized and cut to its square.

    Raises:
        FewShotError: If the classifier takes gradient steps, a package is missing, or the file cannot be written.
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
        raise FewShotError(f'ONNX needs {gist(error)}: pip install "fewshot[onnx]"') from None
    assert program is not None
    try:
        write_bytes(file, program.model_proto.SerializeToString())
    except OSError as error:
        raise FewShotError(f"{file} cannot be written ({error.strerror})") from None
