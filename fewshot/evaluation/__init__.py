"""What is built out of whole runs."""

from fewshot.evaluation.curves import read_curve
from fewshot.evaluation.load import load_module

__all__ = ["load_module", "read_curve"]
