"""Adapting one meta-batch of tasks: inner optimisers, and how the tasks are run."""

from fewshot.inner_loop.adam import InnerAdam
from fewshot.inner_loop.base import Adapt, Draw, Graph, InnerLoop, Learners, adapted_parameters
from fewshot.inner_loop.optimizers import InnerOptimizer, InnerSGD, LearnInnerLR, Weights
from fewshot.inner_loop.sequential import SequentialInnerLoop
from fewshot.inner_loop.vectorized import VectorizedInnerLoop, VectorizedLearners
