"""K on a loss of each modality alone (Eq. 7)."""
from typing import Any, Dict

from mwam_mm.models.backbones import BranchOutputs
from mwam_mm.models.modality_heads import ModalityHeads
from mwam_mm.models.subsets import own_labels
from mwam_mm.registry import INTERVENTIONS

from ..signal import Signal
from .base import Context, Intervention

__all__ = ['Loss']


@INTERVENTIONS.register_module(name='loss')
class Loss(Intervention):
    r"""Add a loss for each modality, multiplied by K.

    .. math::
        L = L(y, y_o) + \sum_m K_m L(y, y_m)

    (Eq. 7). Needs :class:`MWAMNeck` and :func:`with_modality_heads`, which
    builds the heads that predict :math:`y_m`. They start as copies of the
    model's own and travel in the checkpoint beside the model.
    """

    def check(self, context: Context) -> None:
        if not context.probe.gives_features:
            raise ValueError(
                f'{context.where} "loss" needs the features of each '
                'modality and heads for them, which branches=... does not '
                'name: build the model with MultiModalBackbone, MWAMNeck and '
                'mwam_mm.with_modality_heads, and drop branches')
        if not isinstance(
                getattr(context.model, 'modality_heads', None),
                ModalityHeads):
            raise ValueError(
                f'{context.where} "loss" needs heads for each '
                'modality in the model: set model.host to what model.type '
                "is now, and model.type='mwam_mm.with_modality_heads'")
        if context.runner.cfg.get('compile'):
            raise ValueError(f'{context.where} "loss" runs the heads in '
                             'ways that torch.compile does not follow: set '
                             'compile=False in the config')

    def attach(self, context: Context) -> None:
        super().attach(context)
        self._heads: ModalityHeads = context.model.modality_heads
        # The model's own heads are initialised or loaded by now.
        self._heads.start_from(context.model)
        self._heads.in_training = True

    def at_features(self, signal: Signal,
                    outputs: BranchOutputs) -> BranchOutputs:
        # The model's own heads may change them afterwards.
        self._samples = own_labels(signal.arguments.get('data_samples') or [])
        return outputs

    def at_losses(self, signal: Signal, losses: Any) -> Any:
        if not isinstance(losses, dict) or signal.outputs is None:
            return losses  # the model was not called for losses
        weights = dict(zip(signal.modalities, signal.weights))
        return {**losses, **self._heads.losses(
            self.context.model, signal.outputs, weights,
            signal.arguments['inputs'], self._samples)}

    def detach(self) -> None:
        super().detach()
        self._heads.in_training = False

    def state_dict(self) -> Dict[str, Any]:
        return dict(modality_heads=self._heads.state())

    def load_state_dict(self, state_dict: Dict[str, Any]) -> None:
        if 'modality_heads' in state_dict:
            self._heads.load_state(state_dict['modality_heads'])
        else:
            self.context.logger.info(
                'The checkpoint holds no modality heads: they start as copies '
                "of the model's own.")
