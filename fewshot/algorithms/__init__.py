"""One file per algorithm."""

from fewshot.algorithms.adapting import AdaptingModule
from fewshot.algorithms.base import EpisodicModule, Prediction, with_gradient
from fewshot.algorithms.imaml import IMAMLModule
from fewshot.algorithms.maml import MAMLModule
from fewshot.algorithms.pretrained import PretrainedModule
from fewshot.algorithms.protonet import ProtoNetModule
from fewshot.algorithms.reptile import ReptileModule

__all__ = [
    "AdaptingModule",
    "EpisodicModule",
    "IMAMLModule",
    "MAMLModule",
    "Prediction",
    "PretrainedModule",
    "ProtoNetModule",
    "ReptileModule",
    "with_gradient",
]
