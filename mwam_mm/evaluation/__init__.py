"""Evaluation with missing modalities and faults: scores and reports."""
from .anti_spoofing import attack_error_rates, tpr_at_fpr
from .comparison import (
    build_comparison,
    comparison_csv,
    comparison_tables,
    format_comparison,
    paired_difference,
    t_interval,
)
from .faults import Fault, build_faults
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
    undefined_names,
)
from .stock_metrics import (
    evaluate_defined,
    keep_everything,
    values_per_class,
)

__all__ = [
    'Fault', 'attack_error_rates', 'average_pcr', 'build_comparison',
    'build_faults', 'build_report', 'combination_average', 'comparison_csv',
    'comparison_tables', 'evaluate_defined', 'expectation', 'flatten_report',
    'format_comparison', 'format_report', 'is_higher_better',
    'keep_everything', 'newest_report', 'paired_difference', 'pcr',
    'save_report', 't_interval', 'tpr_at_fpr', 'undefined_names',
    'values_per_class'
]
