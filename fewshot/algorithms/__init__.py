"""One file per algorithm."""

from fewshot.algorithms.base import EpisodicModule, Prediction
from fewshot.algorithms.maml import MAMLModule
from fewshot.algorithms.protonet import ProtoNetModule

__all__ = ["EpisodicModule", "MAMLModule", "Prediction", "ProtoNetModule"]
