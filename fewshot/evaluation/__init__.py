"""What is built out of whole runs."""

from fewshot.evaluation.compare import compare
from fewshot.evaluation.curves import curves, read_curve
from fewshot.evaluation.export import export
from fewshot.evaluation.instances import instances
from fewshot.evaluation.lake import lake
from fewshot.evaluation.report import Report
from fewshot.evaluation.reuse import reuse
from fewshot.evaluation.sweep import sweep
