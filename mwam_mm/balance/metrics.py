"""Metrics of single modalities from a validation."""
from math import isfinite
from numbers import Real
from typing import Any, Dict, Mapping, Sequence

__all__ = ['single_metrics']


def single_metrics(metrics: Mapping[str, Any], metric: str,
                   modalities: Sequence[str], where: str) -> Dict[str, float]:
    """The metric of each modality alone.

    Args:
        metrics (Mapping[str, Any]): What a validation of combinations gives.
        metric (str): Name of the metric as the evaluator gives it.
        modalities (Sequence[str]): The modalities' names.
        where (str): The config key of ``metric``, for the error message.

    Returns:
        dict[str, float]: Modality to its value, without those that are
        undefined.

    Raises:
        ValueError: If the validation has no such metric of a modality.

    Examples:
        >>> single_metrics({'rgb/mIoU': 60.0, 'depth/mIoU': None}, 'mIoU',
        ...                ['rgb', 'depth'], 'MSLR.metric')
        {'rgb': 60.0}
    """
    keys = {name: f'{name}/{metric}' for name in modalities}
    missing = [key for key in keys.values() if key not in metrics]
    if missing:
        raise ValueError(
            f'{where}={metric!r} needs {missing} from the validation, which '
            f'has {sorted(metrics)}: validate each modality alone, by '
            "val_cfg=dict(type='mwam_mm.MissingModalityValLoop')")
    values = {name: metrics[key] for name, key in keys.items()}
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, Real) and isfinite(value)
    }
