"""Which subsets of the modalities are trained besides the complete input."""
from typing import Any, Dict, List

import numpy as np
from mmengine.dist import get_rank
from torch import Tensor

from mwam_mm.layout import Presence
from mwam_mm.models.backbones import BranchOutputs
from mwam_mm.models.host import heads_of, normalises
from mwam_mm.models.joined import splittable_heads

from ..signal import Signal
from .base import Context, Intervention
from .host_weights import HostWeights

__all__ = ['OnSubsets', 'training_subsets']

_KINDS = ('singles', 'paired')
_WEIGHTS = ('even', 'k')
# Interventions that train the model's own heads on subsets.
_TRAIN = ('combination', 'lfm', 'mmpareto')


def training_subsets(context: Context) -> List[str]:
    """The interventions of a run that train the model's own heads on subsets.

    Args:
        context (Context): The run.
    """
    return [name for name in context.interventions if name in _TRAIN]


class OnSubsets(Intervention):
    """Base of the interventions that run neck and heads on subsets as well.

    Args:
        subsets (str): ``'singles'``, each modality alone on the samples that
            have it; or ``'paired'``, each sample with one modality drawn from
            those that it has. Defaults to ``'singles'``.
        weights (str): ``'even'`` or ``'k'``: how a modality is drawn, and
            what its losses are multiplied by. Defaults to ``'even'``.

    Raises:
        ValueError: If an argument is none of these.
    """
    #: str: What configs call it.
    name: str

    def __init__(self,
                 subsets: str = 'singles',
                 weights: str = 'even') -> None:
        for key, value, known in (('subsets', subsets, _KINDS),
                                  ('weights', weights, _WEIGHTS)):
            if value not in known:
                raise ValueError(f'"{self.name}": {key}={value!r}, but known '
                                 f'are {list(known)}')
        self.kind, self.by_k = subsets, weights == 'k'

    def check(self, context: Context) -> None:
        where = f'{context.where} "{self.name}"'
        context.probe.require_host(where, 'another intervention')
        if not hasattr(context.model, 'loss'):
            raise ValueError(f'{where}: {type(context.model).__name__} has '
                             'no loss that could be taken of a subset: use '
                             'another intervention')
        wrong = [name for name in context.modalities if 'loss' in name]
        if wrong:
            raise ValueError(f'{where}: rename the modalities {wrong}: '
                             'MMEngine takes all logs with "loss" in their '
                             'name for losses')
        training = training_subsets(context)
        if self.name in training and len(training) > 1:
            raise ValueError(
                f'{context.where}: each of {training} trains the heads of the '
                'model on each modality alone, so that all would count '
                'several times: name one of them')
        if context.runner.cfg.get('compile'):
            raise ValueError(f'{where} runs the heads in ways that '
                             'torch.compile does not follow: set '
                             'compile=False in the config')

    def attach(self, context: Context) -> None:
        super().attach(context)
        self._k = HostWeights(context.modalities, context.weights)
        if not splittable_heads(context.model) and normalises(
                *heads_of(context.model)):
            context.logger.warning(
                f'"{self.name}": the losses of {type(context.model).__name__} '
                'cannot be split by sample, so its heads run once for each '
                'subset, and their BatchNorm layers see one subset at a time. '
                'Norm layers without batch statistics, such as GN, see no '
                'difference.')

    def at_features(self, signal: Signal,
                    outputs: BranchOutputs) -> BranchOutputs:
        present = outputs.present
        if self.kind == 'singles':
            for name in present:
                signal.subsets[name] = {
                    other: list(flags) if other == name else
                    [False] * len(flags)
                    for other, flags in present.items()
                }
        else:
            drawn = self._draw(present)
            signal.subsets['paired'] = {
                name: [name == one for one in drawn] for name in present
            }
        return outputs

    def subset_names(self, signal: Signal) -> List[str]:
        """What the subsets are called; those that a plug-in has asked for
        are its own.

        Args:
            signal (Signal): A forward.
        """
        return ['paired'] if self.kind == 'paired' else list(signal.modalities)

    def subset_weights(self, signal: Signal) -> Dict[str, Tensor]:
        """What the losses of the subsets are multiplied by.

        Args:
            signal (Signal): A forward that has ended.

        Returns:
            dict[str, Tensor]: Subset to weight, 0-d; without those that
            nobody has.
        """
        self._k.keep(signal.weights)
        k = dict(zip(signal.modalities, signal.weights))
        one = signal.weights.new_ones(())
        groups = signal.joined.groups
        return {
            name: one * 0 if groups[name].idle else
            k[name] if self.by_k and name in k else one
            for name in self.subset_names(signal) if name in groups
        }

    def state_dict(self) -> Dict[str, Any]:
        # K is needed only where the next subsets are drawn by it.
        drawn = self.kind == 'paired' and self.by_k
        return {self.name: self._k.state()} if drawn else {}

    def load_state_dict(self, state_dict: Dict[str, Any]) -> None:
        if self.name in state_dict:
            self._k.load(state_dict[self.name])

    def _draw(self, present: Presence) -> List[str]:
        """One modality for each sample. It depends on the seed, the rank and
        the iteration only, so that a resumed run goes on with the same."""
        runner = self.context.runner
        rng = np.random.default_rng(
            [runner.seed, get_rank(), runner.iter, 1])
        k = dict.fromkeys(present, 1.)
        if self.by_k:
            k = dict(zip(self._k.modalities, self._k.weights.tolist()))
        drawn = []
        for flags in zip(*present.values()):
            names = [n for n, has in zip(present, flags) if has]
            p = np.array([k[name] for name in names])
            p = p / p.sum() if p.sum() > 0 else None
            drawn.append(names[rng.choice(len(names), p=p)])
        return drawn
