"""How far the statistics of a config may be from the data."""
from typing import Iterable

__all__ = ['MAX_MEAN', 'STD_RANGE', 'is_far']

# After normalisation by the config, data must have a mean of at most this
# size and a deviation in this range. Statistics of other data, such as
# ImageNet's for images at night, stay inside; another unit does not.
MAX_MEAN = 3
STD_RANGE = (0.1, 4)


def is_far(means: Iterable[float], stds: Iterable[float]) -> bool:
    """Whether data are far from the statistics that have normalised them.

    Args:
        means (Iterable[float]): Mean of each channel after normalisation.
        stds (Iterable[float]): Its standard deviation. Where it is 0, only
            the mean counts.

    Returns:
        bool: Whether a channel is beyond :data:`MAX_MEAN` or outside
        :data:`STD_RANGE`.

    Examples:
        >>> is_far([-0.4], [1.3]), is_far([400.], [210.])
        (False, True)
    """
    return any(
        abs(mean) > MAX_MEAN or (
            std > 0 and not STD_RANGE[0] <= std <= STD_RANGE[1])
        for mean, std in zip(means, stds))
