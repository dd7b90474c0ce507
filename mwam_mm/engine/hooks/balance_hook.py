"""A weigher and interventions in a training run."""
import copy
from typing import Any, Dict, List, Mapping, Optional, Sequence, Set, Union

import torch
from mmengine.hooks import Hook, LoggerHook
from torch import nn

from mwam_mm.balance import (
    Context,
    NeckProbe,
    PathProbe,
    Probe,
    Signal,
    Weigher,
)
from mwam_mm.balance.builder import (
    Interventions,
    build_interventions,
    build_weigher,
)
from mwam_mm.balance.checks import (
    check_alone,
    check_finite,
    check_run,
    checked_weights,
)
from mwam_mm.balance.interventions.step_hook import StepHook, optimizers_of
from mwam_mm.balance.probes.neck import find_neck, find_necks
from mwam_mm.balance.probes.path import branch_paths
from mwam_mm.balance.state import collect_state, restore_state
from mwam_mm.balance.window import Acting, Window
from mwam_mm.models.necks import MWAMNeck
from mwam_mm.registry import HOOKS
from mwam_mm.wrappers import unwrapped


@HOOKS.register_module()
class BalanceHook(Hook):
    """Balance the modalities in training.

    After each training forward the weigher turns what the forward offers into
    one weight K for each modality, and the interventions act by it:

    - ``'gradient'`` on the gradients of each branch, for SGD,
    - ``'update'`` on what the optimizer changes in each branch, for Adam and
      the like too,
    - ``'loss'`` on a loss of each modality alone,
    - ``'combination'`` on the model's own losses of each modality alone,
    - ``'distill'`` on the distance of these predictions to the complete one,
    - ``'detach'`` on the share of the fused loss that reaches each branch,
    - ``'dropout'`` on the probabilities of modality dropout,

    or another one of ``docs/interventions.md`` and ``docs/comparators.md``, or
    one of your own, see :class:`Intervention` and :class:`Weigher`.
    Inference and the model's ``state_dict`` stay as they are.

    K and what the weigher tells are logged as ``balance/K_<modality>`` and
    ``balance/<name>_<modality>``. Checkpoints hold the state of weigher and
    interventions under ``balance``, and resuming goes on with it.

    Note:
        Without ``branches`` the model needs one :class:`MWAMNeck`. If that
        has ``mwam``, the hook's weigher takes its place.

    Args:
        weigher (str | dict): The weigher, a name or a config without
            ``modalities``.
        intervention (str | dict | list): One or several interventions, each
            a name or a config. Defaults to ``'gradient'``.
        branches (dict[str, str | list[str]], optional): Modality to the path
            or paths of the modules whose parameters are its branch.
            Defaults to None, see the note.
        inputs (dict[str, str], optional): Modality to the path of the module
            that the modality's image of shape (B, C, H, W) enters as the
            only argument of that shape. Defaults to None, the first path of
            each branch.
        begin (int): The first iteration in which the balancing acts, counted
            from 0. Before it K is 1. Defaults to 0.
        end (int, optional): The first one after it, from which on K is 1.
            Defaults to None, never.
        by_epoch (bool): Whether both count epochs. Defaults to False.

    Raises:
        ValueError: If ``intervention`` is empty, unknown or names one twice,
            or ``inputs`` names a modality that ``branches`` lacks. When
            training starts, if a path matches no module or no parameter, two
            modalities share a parameter, or an intervention cannot work.

    Examples:
        .. code-block:: python

            custom_hooks = [
                dict(type='mwam_mm.BalanceHook',
                     weigher=dict(type='mwam_mm.Constant'),
                     intervention=['loss', 'gradient'])
            ]
    """

    # It comes after EMAHook, which has averaged weights in the model until a
    # validation ends, and before LoggerHook.
    priority = 55
    #: Where checkpoints and logs have what the hook knows.
    key = 'balance'

    def __init__(self,
                 weigher: Union[str, dict],
                 intervention: Interventions = 'gradient',
                 branches: Optional[Mapping[str, Union[str,
                                                       List[str]]]] = None,
                 inputs: Optional[Mapping[str, str]] = None,
                 begin: int = 0,
                 end: Optional[int] = None,
                 by_epoch: bool = False) -> None:
        where = type(self).__name__
        self.window = Window(begin, end, by_epoch, where)
        self.interventions = build_interventions(
            intervention, f'{where}.intervention')
        self._acting = Acting(list(self.interventions.values()), self.window)
        if branches is not None and not branches:
            raise ValueError(f'{where}.branches is empty: name the modalities')
        self.branches = branches and branch_paths(branches)
        self.inputs = dict(inputs or {})
        unknown = set(self.inputs) - set(self.branches or {})
        if unknown:
            raise ValueError(f'{where}.inputs names {sorted(unknown)}, but '
                             f'the branches are {list(self.branches or {})}')
        self.weigher_cfg = weigher
        self.weigher: Optional[Weigher] = None
        if self.branches is not None:
            self.weigher = self._build_weigher(list(self.branches))
        self.context: Optional[Context] = None
        self._called = False
        self._said: Set[str] = set()
        self._saved_state: Optional[Dict[str, Any]] = None
        self._handles: List[Any] = []

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Keep the state until training starts.

        Args:
            runner (Runner): The runner of the training process.
            checkpoint (dict): The loaded checkpoint.
        """
        self._saved_state = checkpoint.get(self.key)

    def before_train(self, runner) -> None:
        """Attach to the model and, when resuming, restore the state.

        Args:
            runner (Runner): The runner of the training process.
        """
        check_alone(runner.hooks, BalanceHook)
        if self.context is not None:
            self._go_on(runner)
        model = unwrapped(runner.model)
        self.probe = self._build_probe(model)
        if self.weigher is None:
            self.weigher = self._build_weigher(self.probe.modalities)
        device = next(model.parameters()).device
        self.weigher.to(device)
        self.context = Context(
            runner, model, self.probe,
            torch.ones(len(self.probe.modalities), device=device),
            optimizers_of(runner.optim_wrapper), tuple(self.interventions),
            f'{type(self).__name__}.intervention')
        check_run(self.context, self.weigher, self.interventions)
        self.window.attach(self.context)
        for intervention in self.interventions.values():
            intervention.check(self.context)
        self.weigher.attach(self.probe)
        for intervention in self.interventions.values():
            intervention.attach(self.context)
        self.probe.attach(self._acting.at_features, self._acting.at_fusion,
                          self._at_end)
        self._handles = [StepHook(optimizer, self._acting)
                         for optimizer in self.context.optimizers]
        state, self._saved_state = self._saved_state, None
        if runner.iter > 0:
            restore_state(state, self.weigher, self.interventions.values(),
                          self.key, runner.logger)

    def _go_on(self, runner) -> None:
        """Go on after a training that has ended or was interrupted, with what
        is known, unless a checkpoint was loaded since."""
        if self._saved_state is None:
            # It is copied, since attaching may change in place what is
            # collected.
            self._saved_state = copy.deepcopy(
                collect_state(self.weigher, self.interventions.values()))
        if self._handles:  # it was interrupted
            self.after_train(runner)

    def before_train_iter(self,
                          runner,
                          batch_idx: int,
                          data_batch=None) -> None:
        """Let the interventions change the batch.

        Args:
            runner (Runner): The runner of the training process.
            batch_idx (int): The index of the current batch in the train loop.
            data_batch (dict, optional): Data from dataloader. Defaults to
                None.
        """
        self._acting.before_iter(data_batch)

    def _at_end(self, signal: Signal, losses: Any) -> Any:
        self._called = True
        if not self.window.over:
            # The weigher observes before the window opens, too, so that
            # something is known by then.
            self.weigher.observe(signal)
            k = checked_weights(self.weigher, signal.modalities)
            if self.window.open:
                # K is copied, since backward may come after the weigher's next
                # step.
                signal.weights.copy_(k, non_blocking=True)
        self.context.weights = signal.weights
        return self._acting.at_losses(signal, losses)

    def after_train_iter(self,
                         runner,
                         batch_idx: int,
                         data_batch=None,
                         outputs: Optional[dict] = None) -> None:
        """Log, as often as the logger writes.

        Args:
            runner (Runner): The runner of the training process.
            batch_idx (int): The index of the current batch in the train loop.
            data_batch (Sequence[dict], optional): Data from dataloader.
                Defaults to None.
            outputs (dict, optional): Outputs from model. Defaults to None.
        """
        interval = next((hook.interval for hook in runner.hooks
                         if isinstance(hook, LoggerHook)), 1)
        # Reading the values waits for the device, so they are not read in
        # every iteration.
        if self.every_n_inner_iters(batch_idx, interval) or \
                self.end_of_epoch(runner.train_dataloader, batch_idx):
            self._log(runner)

    def after_val_epoch(self, runner, metrics=None) -> None:
        """Tell the weigher of a validation in training.

        Args:
            runner (Runner): The runner of the training process.
            metrics (dict, optional): Its metrics. Defaults to None.
        """
        if self._handles and metrics and not self.window.over:
            self.weigher.observe_metrics(metrics)

    def _log(self, runner) -> None:
        check_finite(self.weigher, self.probe.modalities, self.context.weights)
        scalars = dict(K=self.context.weights, **self.weigher.scalars())
        for name, values in scalars.items():
            for modality, value in zip(self.probe.modalities,
                                       values.tolist()):
                if value == value:  # NaN where nothing is known
                    runner.message_hub.update_scalar(
                        f'train/{self.key}/{name}_{modality}', value)

        self._warn(runner)

    def _warn(self, runner) -> None:
        said = self.weigher.warnings()
        if not self._called:
            said = [f'{type(self).__name__} has seen no forward of the model, '
                    'so nothing is balanced: let train_step call the model '
                    'itself, self(**data), not a method of it.']
        for text in said:
            if text not in self._said:
                self._said.add(text)
                runner.logger.warning(
                    f'By iteration {runner.iter + 1}: {text}')

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Save what the weigher and the interventions know.

        Args:
            runner (Runner): The runner of the training process.
            checkpoint (dict): The checkpoint to save.
        """
        if self.weigher is None:
            return
        checkpoint[self.key] = collect_state(self.weigher,
                                             self.interventions.values())

    def after_train(self, runner) -> None:
        """Leave the model as it was.

        Args:
            runner (Runner): The runner of the training process.
        """
        self.probe.detach()
        self.weigher.detach()
        for intervention in self.interventions.values():
            intervention.detach()
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _build_weigher(self, modalities: Sequence[str]) -> Weigher:
        return build_weigher(self.weigher_cfg, modalities)

    def _build_probe(self, model: nn.Module) -> Probe:
        if self.branches is None:
            return NeckProbe(model, self._find_neck(model))
        if find_necks(model, with_mwam=True):
            raise ValueError(
                'the model has an MWAMNeck with mwam, which weights the '
                f'branches already: drop {type(self).__name__}.branches or '
                'model.neck.mwam (model.mwam of mwam_mm.multimodal)')
        return PathProbe(model, self.branches, self.inputs,
                         type(self).__name__, self.weigher.needs_images)

    def _find_neck(self, model: nn.Module) -> MWAMNeck:
        return find_neck(model, type(self).__name__)
