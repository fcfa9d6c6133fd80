"""One file per algorithm."""

from fewshot.algorithms.base import EpisodicModule, Prediction
from fewshot.algorithms.imaml import IMAMLModule
from fewshot.algorithms.maml import MAMLModule
from fewshot.algorithms.pretrained import PretrainedModule
from fewshot.algorithms.protonet import ProtoNetModule
from fewshot.algorithms.reptile import ReptileModule

__all__ = [
    "EpisodicModule",
    "IMAMLModule",
    "MAMLModule",
    "Prediction",
    "PretrainedModule",
    "ProtoNetModule",
    "ReptileModule",
]
