"""Validation and test loops over modality combinations."""
import logging
import os.path as osp
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import torch
from mmengine.dataset import pseudo_collate
from mmengine.dist import get_dist_info, is_main_process
from mmengine.evaluator import Evaluator
from mmengine.logging import print_log
from mmengine.runner import EpochBasedTrainLoop, TestLoop, ValLoop
from mmengine.runner.base_loop import BaseLoop
from torch.utils.data import DataLoader

from mwam_mm.consistency import check_runner
from mwam_mm.evaluation import (
    build_faults,
    build_report,
    evaluate_defined,
    flatten_report,
    format_report,
    save_report,
    undefined_names,
    values_per_class,
)
from mwam_mm.layout import combination_name
from mwam_mm.registry import LOOPS
from mwam_mm.visualization import give_portable_names

from .combination_evaluators import CombinationEvaluators
from .combination_predictor import CombinationPredictor
from .combinations import parse_combinations
from .hook_outputs import HookOutputs
from .hooks.visualization_hook import draw_what_is_loaded

__all__ = ['MissingModalityTestLoop', 'MissingModalityValLoop']


def _check_directions(directions: Optional[Mapping[str, bool]],
                      where: str) -> Dict[str, bool]:
    if directions is None:
        return {}
    if not isinstance(directions, Mapping) or not all(
            isinstance(value, bool) for value in directions.values()):
        raise TypeError(f'{where} must map metrics to True or False, but got '
                        f'{directions!r}')
    return dict(directions)


class MissingModalityLoop(BaseLoop):
    """What :class:`MissingModalityValLoop` and the test loop share.

    It comes before the stock loop, which builds dataloader and evaluator.
    """

    stage: str

    def __init__(self,
                 runner,
                 dataloader: Union[DataLoader, Dict],
                 evaluator: Union[Evaluator, Dict, List],
                 combinations: Union[str, Sequence] = 'all',
                 metric: Union[None, str, Sequence[str]] = None,
                 drop_probs: Sequence[float] = (0.05, 0.1, 0.2),
                 fp16: bool = False,
                 higher_is_better: Optional[Mapping[str, bool]] = None,
                 faults: Union[str, Sequence[Mapping]] = ()) -> None:
        super().__init__(runner, dataloader, evaluator, fp16=fp16)
        self._predictor = CombinationPredictor(runner.model, fp16)
        self.layout = self._predictor.layout
        check_runner(runner, {self.stage: self})
        self.combinations = parse_combinations(
            combinations, self.layout, f'{self.stage}_cfg.combinations')
        self.faults = build_faults(faults, self.layout,
                                   f'{self.stage}_cfg.faults')
        draw_what_is_loaded(runner)
        give_portable_names(runner.visualizer)
        self.metric = metric
        self.drop_probs = drop_probs
        if not all(0 <= p < 1 for p in drop_probs):
            raise ValueError(f'{self.stage}_cfg.drop_probs must be in [0, 1),'
                             f' but got {list(drop_probs)}')
        self.higher_is_better = _check_directions(
            higher_is_better, f'{self.stage}_cfg.higher_is_better')

    def run(self) -> Dict[str, Any]:
        """Evaluate every combination in one pass over the data.

        Returns:
            dict: The merged metrics.
        """
        self.runner.call_hook(f'before_{self.stage}')
        self.runner.call_hook(f'before_{self.stage}_epoch')
        self.runner.model.eval()
        # The evaluator is copied now rather than at construction because users
        # add metrics to it in between.
        self._evaluators = CombinationEvaluators(
            self.evaluator, self.dataloader.dataset,
            (*self.combinations, *((fault.name, ) for fault in self.faults)),
            self.layout.names)
        for fault in self.faults:
            fault.prepare(self._load)
        self._position = 0
        for idx, data_batch in enumerate(self.dataloader):
            self.run_iter(idx, data_batch)
        metrics = self._evaluate()
        self._forget_outdated(metrics)
        self.runner.call_hook(f'after_{self.stage}_epoch', metrics=metrics)
        self.runner.call_hook(f'after_{self.stage}')
        return metrics

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: dict) -> None:
        """Predict and process one batch for every combination.

        Args:
            idx (int): Index of the batch.
            data_batch (dict): ``inputs`` and ``data_samples`` as the
                dataloader collates them.
        """
        self.runner.call_hook(
            f'before_{self.stage}_iter', batch_idx=idx, data_batch=data_batch)
        inputs, samples = self._predictor.preprocess(data_batch)
        outputs = HookOutputs()
        counting = self._counting(len(samples))
        self._evaluators.expect(self._predictor.present(inputs, counting))
        for combination, predictions in self._predictor.predict(
                inputs, samples, counting, self.combinations, self.faults,
                self._places(len(samples))):
            self._evaluators.process(combination, predictions, data_batch)
            outputs.add(combination, predictions)
        self._position += len(samples)
        self.runner.call_hook(
            f'after_{self.stage}_iter',
            batch_idx=idx,
            data_batch=data_batch,
            outputs=outputs.get(samples))

    def _places(self, size: int) -> List[int]:
        """The place of each sample of the batch, counted over all ranks."""
        rank, world_size = get_dist_info()
        return [(self._position + i) * world_size + rank for i in range(size)]

    def _counting(self, size: int) -> List[bool]:
        """Whether each sample of the batch counts.

        The copies of first samples with which a distributed sampler fills up
        the last batches do not: their place is beyond the dataset.
        """
        return [
            place < len(self.dataloader.dataset)
            for place in self._places(size)
        ]

    def _load(self, index: int) -> Tuple[torch.Tensor, List[str]]:
        """Normalised image of a sample, and the modalities that it lacks."""
        batch = pseudo_collate([self.dataloader.dataset[index]])
        inputs, (sample, ) = self._predictor.preprocess(batch)
        image = inputs[0]
        height, width = sample.metainfo.get('img_shape', image.shape[1:])[:2]
        presence = self.layout.presence(inputs)
        return image[:, :height, :width], [
            name for name, (flag, ) in presence.items() if not flag
        ]

    def _evaluate(self) -> Dict[str, Any]:
        """Evaluate what was processed and merge the metrics."""
        total = len(self.dataloader.dataset)
        scores: Dict[str, dict] = {}
        per_class: Dict[str, dict] = {}
        by_combination = self._evaluators.count()
        for combination, evaluator in self._evaluators.evaluators.items():
            name = combination_name(combination)
            count = by_combination[combination]
            print_log(f'Modalities {name}, {count} of {total} samples:',
                      'current')
            if count < total:
                print_log(
                    f'{total - count} samples have none of the '
                    f'modalities of "{name}" and are left out of it',
                    'current', logging.WARNING)
            scores[name] = evaluate_defined(evaluator, count) if count else {}
            per_class[name] = values_per_class(evaluator)
        if not any(scores.values()):
            return {}  # the evaluator only writes files
        counts = {
            combination_name(c): count for c, count in by_combination.items()
        }
        metrics = self._report(
            scores,
            counts,
            full_scores=self._evaluators.evaluate_full_on_same(by_combination),
            constants=self._evaluators.constant_predictions(),
            per_class=per_class)
        for name, values in scores.items():
            for key, value in values.items():
                metrics.setdefault(f'{name}/{key}', value)
        return metrics

    def _report(self, scores: Dict[str, dict], counts: Dict[str, int],
                **details: Dict[str, Any]) -> Dict[str, Optional[float]]:
        """Log and write the report and return it as flat metrics."""
        report = dict(
            config=osp.basename(self.runner.cfg.filename or '') or None,
            checkpoint=self._checkpoint_name(),
            stage=self.stage,
            **build_report(scores, counts, self.layout.names, self.metric,
                           self.drop_probs, self.higher_is_better,
                           [fault.name for fault in self.faults], **details))
        metrics = flatten_report(report)
        unknown = [
            key for key in report['avg']['PCR']
            if report['higher_is_better'][key] is None
        ]
        if unknown:
            print_log(
                f'The names {unknown} do not say whether higher is better, '
                'which the PCR assumes. If lower is better, set '
                f'{self.stage}_cfg.higher_is_better='
                f'{dict.fromkeys(unknown, False)}', 'current',
                logging.WARNING)
        undefined = undefined_names(report)
        if undefined:
            full = combination_name(self.layout.names)
            print_log(
                f'Undefined, reported as null: {undefined}. PCR needs a '
                f'positive score of "{full}", an average needs every score '
                'in it, an expectation every combination of modalities, an '
                'mAP objects of its kind',
                'current', logging.WARNING)
        print_log('Evaluation with missing modalities:\n'
                  f'{format_report(report)}', 'current')
        if is_main_process():
            # Each run has such a folder of its own. Several tests may share
            # one, if they start in the same second or one run tests
            # repeatedly.
            paths = save_report(
                report, self.runner.log_dir, replace=self.stage == 'val')
            print_log(f'Written to {paths[0]}', 'current')
        return metrics

    def _checkpoint_name(self) -> Optional[str]:
        loop = self.runner._train_loop
        if isinstance(loop, EpochBasedTrainLoop):
            return f'epoch_{loop.epoch}'
        if isinstance(loop, BaseLoop):
            return f'iter_{loop.iter}'
        path = self.runner._load_from
        return path and osp.basename(path)

    def _forget_outdated(self, metrics: Dict[str, Any]) -> None:
        """Remove what MMEngine would log of an earlier evaluation.

        It stores numbers and other values in different places, so a metric
        that was a number and is None now, or the reverse, would be logged
        twice.
        """
        hub = self.runner.message_hub
        for key, value in metrics.items():
            outdated = hub.log_scalars if value is None else hub.runtime_info
            outdated.pop(f'{self.stage}/{key}', None)


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
