"""Judges a model: how like the person its pictures are, beside real pairs and strangers."""

from facestudio.evaluation.evaluate import evaluate
from facestudio.evaluation.report import Report
from facestudio.evaluation.settings import EvaluationSettings

__all__ = ["EvaluationSettings", "Report", "evaluate"]
