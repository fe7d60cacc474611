"""The paper's Table 1: the model beside methods that are tuned for each person, on one base."""

from facestudio.evaluation.tuning.page import Table
from facestudio.evaluation.tuning.settings import TableSettings
from facestudio.evaluation.tuning.table import make_table

__all__ = ["Table", "TableSettings", "make_table"]
