"""Where the weights K act on training."""
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Tuple

from mmengine.logging import MMLogger
from torch import Tensor, nn
from torch.optim import Optimizer

from mwam_mm.models.backbones import BranchOutputs
from mwam_mm.wrappers import count_sharded_units

from ..probes import Probe
from ..signal import Signal

__all__ = ['Context', 'Intervention']


@dataclass
class Context:
    """The training run that an intervention is part of.

    Args:
        runner (Runner): The runner.
        model (nn.Module): Its model, without wrapper.
        probe (Probe): Knows the modalities and their branches' parameters.
        weights (Tensor): The newest K, shape (M,).
        optimizers (list[Optimizer]): All optimizers of the run.
        interventions (tuple[str]): The names of all interventions of the run.
        where (str): The config key of the interventions, for error messages.
    """
    runner: Any
    model: nn.Module
    probe: Probe
    weights: Tensor
    optimizers: List[Optimizer] = field(default_factory=list)
    interventions: Tuple[str, ...] = ()
    where: str = 'BalanceHook.intervention'

    @property
    def modalities(self) -> Tuple[str, ...]:
        """tuple[str]: The modalities' names, in the order of K."""
        return self.probe.modalities

    @property
    def sharded(self) -> bool:
        """bool: Whether the model is in FullyShardedDataParallel."""
        return count_sharded_units(self.runner.model) > 0

    @property
    def logger(self) -> MMLogger:
        """MMLogger: Where to say what the user should know."""
        return self.runner.logger


class Intervention:
    """Base of the interventions. It knows no weigher.

    :class:`BalanceHook` calls the methods in the order in which they stand
    here; each may be left out.

    Examples:
        .. code-block:: python

            @INTERVENTIONS.register_module()
            class FeatureNoise(Intervention):
                # Noise on the features of preferred modalities.

                def at_features(self, signal, outputs):
                    k = dict(zip(signal.modalities, self.context.weights))
                    return outputs.map(lambda name, x: x + (
                        1 - k[name]).clamp(min=0) * torch.randn_like(x))

            custom_hooks = [
                dict(type='mwam_mm.BalanceHook',
                     weigher=dict(type='mwam_mm.MWAM'),
                     intervention='FeatureNoise')
            ]
    """

    #: Whether it acts on nothing in a branch without trainable parameters.
    scales_branches = False
    #: Context, optional: The run, from :meth:`attach` on.
    context: Optional[Context] = None

    def check(self, context: Context) -> None:
        """Refuse a run in which the intervention cannot work.

        Args:
            context (Context): The run.

        Raises:
            ValueError: If it cannot; the message says what to do instead.
        """

    def attach(self, context: Context) -> None:
        """Prepare for training, with the model's weights as they start.

        Args:
            context (Context): The run.
        """
        self.context = context

    def before_iter(self, data_batch: Any) -> None:
        """Change a batch before the data preprocessor gets it.

        Args:
            data_batch (Any): What the dataloader gives, changed in place.
        """

    def at_features(self, signal: Signal,
                    outputs: BranchOutputs) -> BranchOutputs:
        """Change the features before they are fused.

        ``signal.weights`` become this forward's K when it ends, so that
        backward finds them. ``context.weights`` are those of the forward
        before. Not called on models without :class:`MWAMNeck`.

        An intervention that needs losses of subsets of the modalities puts
        them into ``signal.subsets`` here and finds ``signal.joined`` in
        :meth:`at_losses`.

        Args:
            signal (Signal): The forward, so far.
            outputs (BranchOutputs): What the branches gave.

        Returns:
            BranchOutputs: What all losses are made of instead.
        """
        return outputs

    def at_fusion(self, signal: Signal,
                  outputs: BranchOutputs) -> BranchOutputs:
        """Change the features that the model's own losses are made of.

        As :meth:`at_features`, but losses of single modalities and of
        subsets do not see the change.

        Args:
            signal (Signal): The forward, so far.
            outputs (BranchOutputs): What :meth:`at_features` gave.

        Returns:
            BranchOutputs: What is fused for the model's own losses.
        """
        return outputs

    def at_losses(self, signal: Signal, losses: Any) -> Any:
        """Change what the model's forward returns, with K known.

        Args:
            signal (Signal): The forward.
            losses (Any): What the forward returns; in OpenMMLab's models with
                ``mode='loss'`` a dict of losses and values to log.

        Returns:
            Any: What it returns instead.
        """
        return losses

    def before_step(self, optimizer: Optimizer) -> None:
        """Called before an optimizer changes parameters.

        Args:
            optimizer (Optimizer): One of ``context.optimizers``.
        """

    def after_step(self, optimizer: Optimizer) -> None:
        """Called after an optimizer has changed parameters.

        Args:
            optimizer (Optimizer): One of ``context.optimizers``.
        """

    def detach(self) -> None:
        """Leave the model as it was."""
        self.context = None

    def state_dict(self) -> Dict[str, Any]:
        """What a checkpoint needs for resuming, under keys that no weigher
        and no other intervention uses."""
        return {}

    def load_state_dict(self, state_dict: Dict[str, Any]) -> None:
        """Restore :meth:`state_dict` after :meth:`attach`.

        Args:
            state_dict (dict): What the checkpoint holds, which may be of a
                run without this intervention.
        """
