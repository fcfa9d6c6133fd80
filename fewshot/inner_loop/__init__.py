"""Adapting one meta-batch of tasks: step sizes, and how the tasks are run."""

from fewshot.inner_loop.adam import InnerAdam
from fewshot.inner_loop.base import Adapt, BatchNormMode, Graph, InnerLoop, Learners, Rows
from fewshot.inner_loop.rates import Descent, InnerRates, LearnInnerLR, Weights
from fewshot.inner_loop.sequential import SequentialInnerLoop
from fewshot.inner_loop.vectorized import VectorizedInnerLoop, VectorizedLearners

__all__ = [
    "Adapt",
    "BatchNormMode",
    "Descent",
    "Graph",
    "InnerAdam",
    "InnerLoop",
    "InnerRates",
    "LearnInnerLR",
    "Learners",
    "Rows",
    "SequentialInnerLoop",
    "VectorizedInnerLoop",
    "VectorizedLearners",
    "Weights",
]
