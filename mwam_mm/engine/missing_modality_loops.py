"""Validation and test loops over modality combinations."""
from mmengine.runner import TestLoop, ValLoop

from mwam_mm.registry import LOOPS

from .missing_modality_loop import MissingModalityLoop

__all__ = ['MissingModalityTestLoop', 'MissingModalityValLoop']


@LOOPS.register_module()
class MissingModalityValLoop(MissingModalityLoop, ValLoop):
    """Validate every combination of modalities in one pass over the data.

    Each sample is loaded once, and the model called once per combination with
    the normalised channels of the missing modalities at 0. A branch of a
    :class:`MultiModalBackbone` encodes each sample once; its features are
    shared between the combinations.

    The evaluator is copied for each combination; files that its metrics write
    go to a folder named after the combination. The metrics are merged into

    - ``<combination>/<metric>`` and ``<combination>/PCR``, in percent,
    - ``avg/<metric>``, over the combinations with the full one included, and
      ``avg/PCR``, with the full one excluded,
    - ``emm_<p>/<metric>``, the expectation if each modality is missing with
      probability p,

    which hooks and loggers take as usual (``save_best='avg/mIoU'``). They are
    logged as a table and written to ``missing_modality_val.json``, ``.csv``
    and ``.png`` (``missing_modality_test`` in a test). These files lie beside
    the log of the run, in the folder of the work dir that is named after the
    time when the run started. A validation replaces those of the one before
    it in the same training; nothing else is ever replaced. What is undefined,
    such as the PCR where the full score is 0, is None and warned of.
    ``CheckpointHook`` passes over it; ``EarlyStoppingHook`` ends the training
    with a TypeError, so let that monitor what is always defined.

    ``IoUMetric`` and ``CocoMetric`` keep what they would lose, see
    :func:`mwam_mm.evaluation.keep_everything`: their values are not rounded,
    the JSON has those of each class, and a detector that finds nothing has 0.

    Under FSDP every rank predicts its whole batch once for each combination,
    and what does not count is left out afterwards.

    A sample that has none of a combination's modalities is left out of that
    combination; the report says how many samples each was evaluated on. Its
    PCR is computed from the metrics of the full one on the same samples, which
    the report has as ``full_on_same_samples``. Where a model predicts one and
    the same for every sample, the report says what, as ``constant``.

    Args:
        runner (Runner): The runner.
        dataloader (DataLoader or dict): The dataloader or its config.
        evaluator (Evaluator or dict or list): The evaluator or its config.
        combinations (str | Sequence): ``'all'`` non-empty subsets of the
            modalities, or a list of combinations, each a list of names or a
            string such as ``'rgb+depth'``. PCR needs the full one, the
            expectation all of them. Defaults to ``'all'``.
        metric (str | Sequence[str], optional): Metrics to give the PCR of and
            to plot. Defaults to None, the first found of ``mIoU``,
            ``coco/bbox_mAP``, ``pascal_voc/mAP``, ``accuracy/top1`` or else
            the first of all.
        drop_probs (Sequence[float]): Probabilities p of the expectation.
            Defaults to (0.05, 0.1, 0.2).
        fp16 (bool): Whether to predict in fp16. Defaults to False.
        higher_is_better (dict[str, bool], optional): Metric to whether a
            higher value is better, for metrics whose name does not say so
            (:func:`mwam_mm.evaluation.is_higher_better`). Defaults to None.
        faults (str | Sequence[dict]): Sensor faults to evaluate besides, each
            a config of one of :mod:`mwam_mm.evaluation.faults`, or ``'all'``.
            Every one is a further row, of all modalities together with this
            fault of one of them, and has a PCR but no part in the averages.
            Defaults to (), none.

    Raises:
        TypeError: If the model's data preprocessor has no layout, or
            ``higher_is_better`` is no mapping to booleans; when running, if
            the data preprocessor gives no stacked tensor with data samples,
            or the model does not predict one data sample for each.
        ValueError: If the parts of the model have different layouts,
            ``combinations`` is empty, names a combination or a
            modality twice or an unknown one, two faults are one row, or a
            probability is not in
            [0, 1); when running, if a sample has no modality at all, or
            ``metric`` or ``higher_is_better`` names a metric that the
            evaluator does not give.

    Examples:
        .. code-block:: python

            val_cfg = dict(type='mwam_mm.MissingModalityValLoop')
            test_cfg = dict(
                type='mwam_mm.MissingModalityTestLoop',
                combinations=['rgb+depth', 'rgb', 'depth'],
                faults=[
                    dict(type='mwam_mm.GaussianNoise', modality='depth',
                         sigma=0.2)
                ])
            default_hooks = dict(
                checkpoint=dict(type='CheckpointHook', save_best='avg/mIoU'))
    """
    stage = 'val'


@LOOPS.register_module()
class MissingModalityTestLoop(MissingModalityLoop, TestLoop):
    """Test every combination of modalities in one pass over the data.

    See :class:`MissingModalityValLoop`, whose arguments it takes.
    """
    stage = 'test'
