"""How the weights K act on training, where a gradient is not what is scaled.

``'gradient'`` is in :class:`MWAMHook` and :class:`MWAMNeck`, ``'loss'`` in
:func:`with_modality_heads`.
"""
from typing import Any, Dict, Iterator, List, Mapping, Sequence, Tuple, Union

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.structures import BaseDataElement
from torch import Tensor, nn
from torch.optim import Optimizer

from mwam_mm.layout import ModalityLayout
from mwam_mm.mwam import MWAM, dropout_probabilities

Combination = Tuple[str, ...]

INTERVENTIONS = ('gradient', 'update', 'loss', 'dropout')

# They divide a constant factor of the gradient out again. By name, because
# most are not of PyTorch.
_ADAPTIVE = {
    'Adadelta', 'Adafactor', 'Adagrad', 'Adam', 'AdamP', 'AdamW', 'AdaBelief',
    'Adamax', 'Adan', 'DAdaptAdam', 'LAMB', 'Lamb', 'LARS', 'Lion', 'Muon',
    'NAdam', 'NovoGrad', 'Prodigy', 'RAdam', 'RMSprop', 'Rprop', 'SparseAdam'
}


def check_interventions(
        intervention: Union[str, Sequence[str]]) -> Tuple[str, ...]:
    """The interventions as a tuple.

    Args:
        intervention (str | Sequence[str]): One or several of
            ``INTERVENTIONS``.

    Raises:
        ValueError: If there is none, an unknown one, or one twice.
    """
    names = [intervention] if isinstance(intervention, str) else intervention
    where = f'MWAMHook.intervention={intervention!r}'
    if not names:
        raise ValueError(f'{where} is empty: name one or several of '
                         f'{list(INTERVENTIONS)}')
    unknown = [name for name in names if name not in INTERVENTIONS]
    if unknown:
        raise ValueError(f'{where} names {unknown}; known are '
                         f'{list(INTERVENTIONS)}')
    if len(set(names)) < len(names):
        raise ValueError(f'{where} names one twice')
    return tuple(names)


def is_adaptive(optimizer: Optimizer) -> bool:
    """Whether a constant factor of the gradients hardly changes its steps."""
    # ZeroRedundancyOptimizer holds the one that it runs.
    optimizer = getattr(optimizer, 'optim', optimizer)
    return any(cls.__name__ in _ADAPTIVE for cls in type(optimizer).__mro__)


def scale_updates(mwam: MWAM, branches: Mapping[str,
                                                Sequence[nn.Parameter]],
                  optimizers: Sequence[Optimizer]) -> List[Any]:
    r"""Scale what the steps of the optimizers change in the branches.

    After each step a parameter of modality m lies at
    :math:`\theta + K_m (\theta' - \theta)`, between the value before the step
    and the one that the optimizer gave it. Learning rates, weight decay and
    the optimizer's state stay as they are.

    Args:
        mwam (MWAM): Its weights at the time of the step are taken.
        branches (Mapping[str, Sequence[nn.Parameter]]): Modality to the
            parameters of its branch.
        optimizers (Sequence[Optimizer]): The optimizers.

    Returns:
        list: Handles, whose ``remove`` ends the scaling.

    Raises:
        ValueError: If no optimizer has a parameter of a branch that trains.
    """
    handles: List[Any] = []
    held = [{p for group in optimizer.param_groups for p in group['params']}
            for optimizer in optimizers]
    for name, parameters in branches.items():
        trainable = [p for p in parameters if p.requires_grad]
        if trainable and not any(p in params for params in held
                                 for p in trainable):
            raise ValueError(
                'MWAMHook.intervention "update": no optimizer has a parameter '
                f'of the branch of modality "{name}". If the model is in a '
                'wrapper that flattens its parameters, use "gradient"')
    for optimizer, params in zip(optimizers, held):
        branch = {
            p: mwam.modalities.index(name)
            for name, parameters in branches.items() for p in parameters
            if p in params
        }
        handles += _scale_updates_of(optimizer, mwam, branch)
    return handles


def _scale_updates_of(optimizer: Optimizer, mwam: MWAM,
                      branch: Dict[nn.Parameter, int]) -> List[Any]:
    before: Dict[nn.Parameter, Tensor] = {}

    def keep(*_) -> None:
        before.update({
            p: p.detach().clone()
            for p in branch if p.requires_grad
        })

    @torch.no_grad()
    def scale(*_) -> None:
        # Not weight * K: at K = 1 this leaves every bit as it is.
        back = (1 - mwam.weights).unbind()
        for p, old in before.items():
            p.lerp_(old, back[branch[p]].to(p))
        before.clear()

    return [
        optimizer.register_step_pre_hook(keep),
        optimizer.register_step_post_hook(scale)
    ]


def check_dropout(runner, model: nn.Module, mwam: MWAM) -> ModalityLayout:
    """Check that dropping modalities of the data samples will take effect.

    Args:
        runner (Runner): The runner of the training process.
        model (nn.Module): Its model, without wrapper.
        mwam (MWAM): Names the modalities.

    Returns:
        ModalityLayout: That of the stacked images.

    Raises:
        ValueError: If the data preprocessor does not know these modalities,
            or the training pipeline drops modalities as well.
    """
    where = 'MWAMHook.intervention "dropout"'
    preprocessor = getattr(model, 'data_preprocessor', None)
    layout = getattr(preprocessor, 'layout', None)
    if not isinstance(layout, ModalityLayout):
        raise ValueError(
            f'{where} names absent modalities in the data samples, which '
            f'{type(preprocessor).__name__} does not read: use a '
            'mwam_mm.MultiModal...DataPreprocessor, or another intervention')
    if set(layout.names) != set(mwam.modalities):
        raise ValueError(
            f'{where} is for the modalities {list(mwam.modalities)}, but the '
            f'data preprocessor has {list(layout.names)}')
    # Not at the top: the hook alone needs no MMSegmentation.
    from mwam_mm.datasets.transforms import RandomDropModality
    if any(isinstance(part, RandomDropModality)
           for part in _parts(runner.train_dataloader.dataset)):
        raise ValueError(
            f'{where} and RandomDropModality in the training pipeline would '
            'drop modalities twice: take RandomDropModality out')
    return layout


def _parts(owner: Any) -> Iterator[Any]:
    """A dataset, the ones that it wraps, and their transforms."""
    yield owner
    for key in ('dataset', 'datasets', 'pipeline', 'transforms'):
        parts = getattr(owner, key, None)
        for part in parts if isinstance(parts, (list, tuple)) else [parts]:
            if part is not None:
                yield from _parts(part)


def drop_modalities(runner, data_batch: Any, mwam: MWAM,
                    layout: ModalityLayout) -> None:
    """Name random modalities of the samples of a batch absent.

    What would leave nothing but means of a sample, as a depth map without a
    single valid pixel does, is drawn anew. The draws depend on the seed, the
    rank and the iteration only, so that a resumed run goes on with the same
    ones.

    Args:
        runner (Runner): The runner of the training process.
        data_batch (dict): What the dataloader gives, with ``data_samples``
            that are not in use elsewhere; those are replaced.
        mwam (MWAM): Gives the weights, those of the previous iteration.
        layout (ModalityLayout): That of the stacked images.

    Raises:
        TypeError: If the batch has no data samples.
    """
    samples = data_batch.get('data_samples') if isinstance(
        data_batch, dict) else None
    if not isinstance(samples, list) or not all(
            isinstance(sample, BaseDataElement) for sample in samples):
        raise TypeError(
            'MWAMHook.intervention "dropout" takes batches with a list of '
            'data samples under "data_samples", as PackSegInputs and '
            f'PackDetInputs give them, but got {type(data_batch).__name__}')
    rng = np.random.default_rng([runner.seed, get_rank(), runner.iter])
    weights = dict(zip(mwam.modalities, mwam.weights.tolist()))
    for i, sample in enumerate(samples):
        absent = tuple(sample.metainfo.get('absent_modalities', ()))
        names = [name for name in weights if name not in absent]
        if not names:
            continue  # the data preprocessor refuses it
        probabilities = {
            tuple(names[j] for j in kept): p
            for kept, p in dropout_probabilities([weights[n]
                                                  for n in names]).items()
        }
        image = data_batch['inputs'][i]
        kept = _draw(probabilities, rng)
        if layout.is_blank(image, kept):
            probabilities = {
                kept: p
                for kept, p in probabilities.items()
                if not layout.is_blank(image, kept)
            }
            if probabilities:  # else the model refuses the sample
                kept = _draw(probabilities, rng)
        dropped = [name for name in names if name not in kept]
        samples[i] = sample.new(metainfo=dict(
            sample.metainfo, absent_modalities=(*absent, *dropped)))


def _draw(probabilities: Mapping[Combination, float],
          rng: np.random.Generator) -> Combination:
    p = np.array(list(probabilities.values()))
    return list(probabilities)[rng.choice(len(p), p=p / p.sum())]
