"""What is built out of whole runs."""

from fewshot.evaluation.compare import compare
from fewshot.evaluation.curves import curves, read_curve
from fewshot.evaluation.export import export
from fewshot.evaluation.load import load_module
from fewshot.evaluation.sweep import sweep

__all__ = ["compare", "curves", "export", "load_module", "read_curve", "sweep"]
