"""K on the probabilities of modality dropout."""
from typing import Any, Callable, Dict, List, Mapping, Sequence, Tuple

import numpy as np
from mmengine.dist import get_rank
from mmengine.structures import BaseDataElement
from torch import Tensor

from mwam_mm.config import type_name, walk_pipelines
from mwam_mm.layout import ModalityLayout
from mwam_mm.mwam import dropout_probabilities
from mwam_mm.mwam.dropout import keep_probabilities
from mwam_mm.registry import INTERVENTIONS

from ..signal import Signal
from .base import Context, Intervention
from .host_weights import HostWeights

__all__ = ['Dropout', 'drop_modalities']

Combination = Tuple[str, ...]
# These take K and give the probability of keeping each subset.
Probabilities = Callable[[Sequence[float]], Dict[Tuple[int, ...], float]]

_DRAWS: Dict[str, Probabilities] = dict(
    subset=dropout_probabilities, each=keep_probabilities)


@INTERVENTIONS.register_module(name='dropout')
class Dropout(Intervention):
    """Drop modalities of the training samples with probabilities that follow
    the K of the iteration before, see :func:`dropout_probabilities`.

    It needs a data preprocessor of this package, and takes the place of
    :class:`RandomDropModality`.

    Args:
        draw (str): ``'subset'`` for what is kept as a whole, or ``'each'``:
            each modality is kept with probability K, at most 1, and a sample
            that would lose all keeps all. Defaults to ``'subset'``.

    Raises:
        ValueError: If ``draw`` is unknown.
    """

    def __init__(self, draw: str = 'subset') -> None:
        if draw not in _DRAWS:
            raise ValueError(f'dropout.draw={draw!r} is none of '
                             f'{list(_DRAWS)}')
        self.probabilities = _DRAWS[draw]

    def check(self, context: Context) -> None:
        where = f'{context.where} "dropout"'
        preprocessor = getattr(context.model, 'data_preprocessor', None)
        layout = getattr(preprocessor, 'layout', None)
        if not isinstance(layout, ModalityLayout):
            raise ValueError(
                f'{where} names absent modalities in the data samples, which '
                f'{type(preprocessor).__name__} does not read: use a '
                'mwam_mm.MultiModal...DataPreprocessor, or another '
                'intervention')
        if set(layout.names) != set(context.modalities):
            raise ValueError(
                f'{where} is for the modalities {list(context.modalities)}, '
                f'but the data preprocessor has {list(layout.names)}')
        pipelines = walk_pipelines(context.runner.train_dataloader.dataset)
        if 'RandomDropModality' in map(type_name, pipelines):
            raise ValueError(
                f'{where} and RandomDropModality in the training pipeline '
                'would drop modalities twice: take RandomDropModality out')

    def attach(self, context: Context) -> None:
        super().attach(context)
        self._layout = context.model.data_preprocessor.layout
        self._k = HostWeights(context.modalities, context.weights)

    def before_iter(self, data_batch: Any) -> None:
        drop_modalities(self.context.runner, data_batch, self._k,
                        self._layout, self.probabilities)

    def at_losses(self, signal: Signal, losses: Any) -> Any:
        self._k.keep(signal.weights)
        return losses

    def state_dict(self) -> Dict[str, Any]:
        return dict(dropout=self._k.state())

    def load_state_dict(self, state_dict: Dict[str, Any]) -> None:
        if 'dropout' in state_dict:
            self._k.load(state_dict['dropout'])


def drop_modalities(runner, data_batch: Any, weights: HostWeights,
                    layout: ModalityLayout,
                    probabilities: Probabilities = dropout_probabilities
                    ) -> None:
    """Name random modalities of the samples of a batch absent.

    What would leave nothing but means of a sample, as a depth map without a
    single valid pixel does, is drawn anew. The draws depend on the seed, the
    rank and the iteration only, so that a resumed run goes on with the same
    ones.

    Args:
        runner (Runner): The runner of the training process.
        data_batch (dict): What the dataloader gives, with ``data_samples``
            that are not in use elsewhere; those are replaced.
        weights (HostWeights): K of the iteration before.
        layout (ModalityLayout): That of the stacked images.
        probabilities (Callable): From the weights of the modalities that a
            sample has to the probability of each subset. Defaults to
            :func:`dropout_probabilities`.

    Raises:
        TypeError: If the batch has no data samples.
    """
    samples = data_batch.get('data_samples') if isinstance(
        data_batch, dict) else None
    if not isinstance(samples, list) or not all(
            isinstance(sample, BaseDataElement) for sample in samples):
        raise TypeError(
            'the intervention "dropout" takes batches with a list of data '
            'samples under "data_samples", as PackSegInputs and '
            f'PackDetInputs give them, but got {type(data_batch).__name__}')
    rng = np.random.default_rng([runner.seed, get_rank(), runner.iter])
    k = dict(zip(weights.modalities, weights.weights.tolist()))
    for i, sample in enumerate(samples):
        absent = tuple(sample.metainfo.get('absent_modalities', ()))
        names = [name for name in k if name not in absent]
        if not names:
            continue  # the data preprocessor refuses it
        kept = _draw_for(data_batch['inputs'][i],
                         probabilities([k[n] for n in names]), names, layout,
                         rng)
        dropped = [name for name in names if name not in kept]
        samples[i] = sample.new(metainfo=dict(
            sample.metainfo, absent_modalities=(*absent, *dropped)))


def _draw_for(image: Tensor, of_indices: Mapping[Tuple[int, ...], float],
              names: List[str], layout: ModalityLayout,
              rng: np.random.Generator) -> Combination:
    """Draw what one sample keeps."""
    probabilities = {
        tuple(names[j] for j in kept): p for kept, p in of_indices.items()
    }
    kept = _draw(probabilities, rng)
    if not layout.is_blank(image, kept):
        return kept
    probabilities = {
        kept: p
        for kept, p in probabilities.items()
        if not layout.is_blank(image, kept)
    }
    if not probabilities:
        return kept  # the model refuses the sample
    return _draw(probabilities, rng) if any(
        probabilities.values()) else tuple(names)


def _draw(probabilities: Mapping[Combination, float],
          rng: np.random.Generator) -> Combination:
    p = np.array(list(probabilities.values()))
    return list(probabilities)[rng.choice(len(p), p=p / p.sum())]
