"""Evaluation with missing modalities: scores and reports."""
from .functional import (
    average_pcr,
    combination_average,
    expectation,
    is_higher_better,
    pcr,
)
from .report import (
    build_report,
    flatten_report,
    format_report,
    newest_report,
    save_report,
)

__all__ = [
    'average_pcr', 'build_report', 'combination_average', 'expectation',
    'flatten_report', 'format_report', 'is_higher_better', 'newest_report',
    'pcr', 'save_report'
]
