"""One file per algorithm."""

from fewshot.algorithms.adapting import AdaptingModule
from fewshot.algorithms.base import EpisodicModule
from fewshot.algorithms.baseline import BaselineModule
from fewshot.algorithms.gradients import OuterStep
from fewshot.algorithms.imaml import IMAMLModule
from fewshot.algorithms.maml import MAMLModule
from fewshot.algorithms.mann import MANNModule
from fewshot.algorithms.matching import MatchingModule
from fewshot.algorithms.metric import MetricModule
from fewshot.algorithms.protonet import ProtoNetModule
from fewshot.algorithms.relation import RelationModule
from fewshot.algorithms.reptile import ReptileModule
from fewshot.algorithms.ridge import RidgeModule
from fewshot.algorithms.siamese import SiameseModule
