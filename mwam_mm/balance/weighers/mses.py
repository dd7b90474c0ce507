"""MSES: each modality stops when it no longer improves."""
from typing import Any, Dict, List, Optional, Sequence

import torch
from mmengine.logging import print_log
from torch import Tensor

from mwam_mm.evaluation import is_higher_better
from mwam_mm.registry import WEIGHERS

from ..metrics import single_metrics
from ..probes import Probe
from ..probes.base import Listener
from ..signal import Signal
from .base import Weigher

__all__ = ['MSES']


@WEIGHERS.register_module()
class MSES(Weigher):
    r"""Modality-specific early stopping.

    K is 1 for a modality until its metric alone has not improved in
    ``patience`` validations, and 0 from then on. The branch then goes back to
    what it was at its best validation and works as in evaluation, so that its
    running statistics of normalisation stay, too. The rest of the model goes
    on. From N. Fujimori et al., Modality-Specific Learning Rate Control for
    Multimodal Classification (ACPR 2019).

    Use it with the intervention ``'update'``: a gradient of 0 stops neither
    momentum nor weight decay.

    Note:
        The best parameters of each branch are kept in the memory of the host
        and in the checkpoints. MMEngine saves the checkpoint of an iteration
        or epoch before it validates: a run that resumes from one at which a
        validation follows does not know its metrics.

    Args:
        modalities (Sequence[str]): The modalities' names.
        metric (str): The metric of the validation, such as ``'mIoU'``; for
            each modality ``'<name>/<metric>'`` as
            :class:`MissingModalityValLoop` gives it.
        patience (int): Number of validations in a row without an improvement
            after which a modality stops. Published: 80 epochs.
        smoothing (float): Share of the value before in what is compared, in
            [0, 1). The released code of AGM, which repeats the method, has
            0.6. Defaults to 0.
        higher_is_better (bool, optional): Defaults to None, what the name of
            the metric says.

    Raises:
        ValueError: If ``patience`` is not positive, ``smoothing`` is not in
            [0, 1), or the name of the metric does not say whether higher is
            better. When training starts, if a branch has no parameters. After
            a validation, if it has no such metric.

    Examples:
        .. code-block:: python

            custom_hooks = [
                dict(type='mwam_mm.BalanceHook',
                     weigher=dict(type='mwam_mm.MSES', metric='mIoU',
                                  patience=5),
                     intervention='update')
            ]
            val_cfg = dict(type='mwam_mm.MissingModalityValLoop')
    """

    needs_images = False

    def __init__(self,
                 modalities: Sequence[str],
                 metric: str,
                 patience: int,
                 smoothing: float = 0.,
                 higher_is_better: Optional[bool] = None) -> None:
        super().__init__(modalities)
        if patience < 1:
            raise ValueError(
                f'MSES.patience must be positive, but got {patience}')
        if not 0 <= smoothing < 1:
            raise ValueError(
                f'MSES.smoothing must be in [0, 1), but got {smoothing}')
        if higher_is_better is None:
            higher_is_better = is_higher_better(metric)
        if higher_is_better is None:
            raise ValueError(f'MSES.metric={metric!r} does not say whether '
                             'higher is better: set higher_is_better')
        self.metric, self.patience = metric, patience
        self.smoothing, self.higher_is_better = smoothing, higher_is_better
        self.tracks = {name: _Track() for name in self.modalities}
        self._weights = torch.ones(len(self.modalities))
        self._handles: List[Any] = []

    def attach(self, probe: Probe) -> None:
        empty = [name for name, p in probe.branches.items() if not p]
        if empty:
            raise ValueError(
                f'MSES finds no parameters of the branches of {empty}: with '
                'FSDP set use_orig_params=True')
        self._modules = probe.modules
        # The model is what is always called: a branch may be a list of
        # modules, or called by another method than forward.
        self._handles.append(
            probe.model.register_forward_pre_hook(
                Listener(self._evaluate_stopped)))

    def detach(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def to(self, device: torch.device) -> None:
        self._weights = self._weights.to(device)

    def _evaluate_stopped(self, *_) -> None:
        """Put the branches that have stopped into evaluation."""
        for name, track in self.tracks.items():
            if track.stopped:
                for module in self._modules[name]:
                    module.eval()

    def observe(self, signal: Signal) -> None:
        pass

    def step(self) -> Tensor:
        return self._weights

    def observe_metrics(self, metrics: Dict[str, Any]) -> None:
        values = single_metrics(metrics, self.metric, self.modalities,
                                'MSES.metric')
        for name, value in values.items():
            track = self.tracks[name]
            if track.stopped:
                continue
            smooth = value if track.previous is None else (
                self.smoothing * track.previous +
                (1 - self.smoothing) * value)
            track.previous = value
            sign = 1 if self.higher_is_better else -1
            if track.best is None or sign * smooth > sign * track.best:
                track.best, track.waited = smooth, 0
                track.state = [
                    x.detach().cpu().clone() for x in self._tensors(name)
                ]
                continue
            track.waited += 1
            if track.waited >= self.patience:
                self._stop(name)
        self._weigh()

    @torch.no_grad()
    def _stop(self, name: str) -> None:
        track = self.tracks[name]
        print_log(
            f'MSES: modality "{name}" stops, as {self.metric} of it alone has '
            f'not improved in {track.waited} validations; its branch goes '
            f'back to its best, {track.best:.4g}', 'current')
        for x, best in zip(self._tensors(name), track.state):
            x.copy_(best)
        track.stopped, track.state = True, []

    def _tensors(self, name: str) -> List[Tensor]:
        return [x.detach() for module in self._modules[name]
                for x in [*module.parameters(), *module.buffers()]]

    def _weigh(self) -> None:
        self._weights = torch.tensor([
            0. if self.tracks[name].stopped else 1.
            for name in self.modalities
        ]).to(self._weights.device)

    def state_dict(self) -> Dict[str, Any]:
        return dict(mses={
            name: dict(vars(track)) for name, track in self.tracks.items()
        })

    def load_state_dict(self, state_dict: Dict[str, Any]) -> None:
        for name, track in self.tracks.items():
            vars(track).update(state_dict['mses'][name])
        self._weigh()


class _Track:
    """What is known of one modality."""

    def __init__(self) -> None:
        self.best: Optional[float] = None
        self.previous: Optional[float] = None
        self.waited = 0
        self.stopped = False
        self.state: List[Tensor] = []
