"""MWAM on any host model."""
from typing import List, Mapping, Optional, Sequence, Union

from torch import nn

from mwam_mm.balance import Weigher
from mwam_mm.balance.builder import Interventions
from mwam_mm.balance.probes.neck import find_neck
from mwam_mm.balance.weighers import MWAMWeigher
from mwam_mm.models.necks import MWAMNeck
from mwam_mm.mwam import MWAM
from mwam_mm.registry import HOOKS

from .balance_hook import BalanceHook


@HOOKS.register_module()
class MWAMHook(BalanceHook):
    r"""Weight the training signal of each modality's branch.

    :class:`BalanceHook` with MWAM as the weigher. Each training forward
    measures the frequency ratio metric (FRM) of what enters the branches,
    smooths it in a bank and turns it into one weight for each modality,

    .. math::
        K_m = \alpha - \frac{\beta}{1 + e^{-\lambda (T_m - \gamma)}},

    (Eq. 5 of `Plug, Play, and Fortify <https://arxiv.org/abs/2602.22644>`_).
    ``intervention`` says what the weights act on, see :class:`BalanceHook`.
    Parameters outside the branches are untouched, and so is inference.

    The weights and the smoothed metric are logged as ``mwam/K_<modality>``
    and ``mwam/FRM_<modality>``. Checkpoints hold the bank under ``mwam``, and
    resuming goes on with it.

    Note:
        Without ``branches`` the hook looks after the :class:`MWAMNeck` of the
        model, whose ``mwam`` has the constants.

    Args:
        branches (dict[str, str | list[str]], optional): Modality to the path
            or paths of the modules whose parameters are its branch.
            Defaults to None, see the note.
        inputs (dict[str, str], optional): Modality to the path of the module
            that the modality's image of shape (B, C, H, W) enters as the
            only argument of that shape. Defaults to None, the first path of
            each branch.
        intervention (str | dict | list): One or several of those of
            :class:`BalanceHook` and your own. Defaults to ``'gradient'``.
        mwam (dict, optional): Arguments of :class:`mwam_mm.mwam.MWAM`.
            Defaults to None, the paper's constants.
        **window: ``begin``, ``end`` and ``by_epoch`` of
            :class:`BalanceHook`. Defaults to always.

    Raises:
        ValueError: When training starts, if a path matches no module or no
            parameter, two modalities share a parameter, or the
            model weights its branches already. Before that, if
            ``intervention`` is unknown or names one twice.

    Examples:
        .. code-block:: python

            custom_hooks = [
                dict(type='mwam_mm.MWAMHook',
                     branches=dict(rgb='backbone.rgb_stream',
                                   depth='backbone.depth_stream'),
                     intervention='update')
            ]
    """

    key = 'mwam'

    def __init__(self,
                 branches: Optional[Mapping[str, Union[str,
                                                       List[str]]]] = None,
                 inputs: Optional[Mapping[str, str]] = None,
                 intervention: Interventions = 'gradient',
                 mwam: Optional[dict] = None,
                 **window) -> None:
        if branches is None and (inputs is not None or mwam is not None):
            raise ValueError(
                'MWAMHook without branches looks after an MWAMNeck: give the '
                'constants there, as model.neck.mwam (model.mwam of '
                'mwam_mm.multimodal), and no inputs')
        self._neck: Optional[MWAMNeck] = None
        super().__init__(
            dict(type='MWAM', **(mwam or {})), intervention, branches, inputs,
            **window)

    @property
    def mwam(self) -> Optional[MWAM]:
        """MWAM: Measures and weighs. None before training with a neck."""
        return None if self.weigher is None else self.weigher.mwam

    def _find_neck(self, model: nn.Module) -> MWAMNeck:
        self._neck = find_neck(model, 'MWAMHook', with_mwam=True)
        return self._neck

    def _build_weigher(self, modalities: Sequence[str]) -> Weigher:
        if self._neck is None:
            return super()._build_weigher(modalities)
        return MWAMWeigher(modalities, self._neck.mwam)
