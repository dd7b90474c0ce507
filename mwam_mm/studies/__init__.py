"""Studies: trainings compared over seeds, several at a time.

A study is a small config file, see :meth:`Study.from_file`;
``tools/analysis_tools/compare_seeds.py`` runs it and tabulates what comes out.
"""
from .run import Run, read_ahead, train_all
from .study import Study, Variant

__all__ = ['Run', 'Study', 'Variant', 'read_ahead', 'train_all']
