"""The combinations of modalities that a config names."""
from typing import List, Sequence, Tuple, Union

from mwam_mm.layout import ModalityLayout, combination_name

__all__ = ['Combination', 'parse_combinations']

Combination = Tuple[str, ...]


def parse_combinations(combinations: Union[str, Sequence],
                       layout: ModalityLayout,
                       where: str) -> List[Combination]:
    """Read the combinations of a config.

    Args:
        combinations (str | Sequence): ``'all'``, or a list whose items are
            lists of names or strings such as ``'rgb+depth'``.
        layout (ModalityLayout): The layout.
        where (str): Config key, for the error messages.

    Returns:
        list[tuple[str]]: The combinations, the most complete first, each with
        its modalities in the layout's order.

    Raises:
        TypeError: If ``combinations`` is neither.
        ValueError: If it or a combination is empty or has duplicates, or a
            name is unknown.
    """
    if combinations == 'all':
        return layout.combinations()
    if isinstance(combinations, str) or not isinstance(combinations, Sequence):
        raise TypeError(f"{where} must be 'all' or a list of combinations, "
                        f'but got {combinations!r}')
    if not combinations:
        raise ValueError(f'{where} is empty: name at least one combination')
    parsed = []
    for i, names in enumerate(combinations):
        key = f'{where}[{i}]'
        names = names.split('+') if isinstance(names, str) else list(names)
        combination = layout.check_names(names, key)
        if not combination:
            raise ValueError(f'{key} is empty: name at least one modality')
        if len(combination) != len(names):
            raise ValueError(f'{key} names a modality twice: {names}')
        if combination in parsed:
            raise ValueError(f'{key} repeats the combination '
                             f'"{combination_name(combination)}"')
        parsed.append(combination)
    return [c for c in layout.combinations() if c in parsed]
