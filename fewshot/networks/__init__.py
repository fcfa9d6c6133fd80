"""One file per network."""

from fewshot.networks.backbones import without_weights
from fewshot.networks.base import Classifier, Embedding
from fewshot.networks.batch_norm import (
    BatchNormMode,
    PerStepBatchNorm,
    keeps_running_statistics,
    norms_of,
    per_step,
    per_step_tables,
    rows_of_step,
)
from fewshot.networks.conv4 import Conv4
from fewshot.networks.mlp import MLP
from fewshot.networks.pretrained import PretrainedEmbedding
from fewshot.networks.resnet12 import ResNet12
