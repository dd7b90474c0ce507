"""A check of data against the model when a run starts."""
from typing import Dict

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mwam_mm.consistency import check_checkpoint, check_runner
from mwam_mm.registry import HOOKS

from ..multimodal_optim_wrapper_constructor import check_rules_of_backbone


@HOOKS.register_module()
class DataCheckHook(Hook):
    """Compare the datasets of a run with its model.

    Once, when a training, validation or test starts. Pipelines and model must
    have the same modalities with the same channels, mean, std, scale and
    values that mean "no measurement", and the heads of the model must have
    the classes of the data. A training checks what it validates on, too.
    Validation and test compare the classes with those that the checkpoint
    names; other names than its own are a warning, another order or number is
    an error, and so is a branch of which it has nothing.
    Rules of the optimizer for a backbone that act on no branch are a warning,
    too.

    The tools of this package add the hook to every run, and
    :class:`BalanceHook` and the missing-modality loops check what they run.
    Other runs have it by

    .. code-block:: python

        default_hooks = dict(data_check=dict(type='mwam_mm.DataCheckHook'))

    Raises:
        ValueError: If something does not fit. The message names both keys of
            the config.
    """

    priority = 'VERY_HIGH'

    def before_run(self, runner: Runner) -> None:
        """Compare what is going to be run.

        Args:
            runner (Runner): The runner.
        """
        check_runner(runner)
        check_rules_of_backbone(runner)

    def after_load_checkpoint(self, runner: Runner, checkpoint: Dict) -> None:
        """Compare the classes and the branches with those of a checkpoint.

        Args:
            runner (Runner): The runner.
            checkpoint (dict): What was loaded.
        """
        check_checkpoint(runner, checkpoint)
