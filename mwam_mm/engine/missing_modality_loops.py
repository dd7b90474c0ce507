"""Validation and test loops over modality combinations."""
import copy
import logging
import os.path as osp
from contextlib import nullcontext
from numbers import Real
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import torch
from mmengine.dist import all_reduce, get_dist_info, is_main_process
from mmengine.evaluator import Evaluator
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import EpochBasedTrainLoop, TestLoop, ValLoop
from mmengine.runner.amp import autocast
from mmengine.runner.base_loop import BaseLoop
from mmengine.structures import BaseDataElement
from mmengine.utils import mkdir_or_exist
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mwam_mm.evaluation import (
    build_report,
    flatten_report,
    format_report,
    is_higher_better,
    save_report,
)
from mwam_mm.layout import (
    ModalityLayout,
    Presence,
    check_layouts,
    combination_name,
    with_presence,
)
from mwam_mm.models.backbones.multi_branch import gather
from mwam_mm.models.backbones.multi_modal_backbone import (
    EncodeOnce,
    MultiModalBackbone,
)
from mwam_mm.registry import LOOPS

Combination = Tuple[str, ...]


def parse_combinations(combinations: Union[str, Sequence],
                       layout: ModalityLayout,
                       where: str) -> List[Combination]:
    """Read the combinations of a config.

    Args:
        combinations (str | Sequence): ``'all'``, or a list whose items are
            lists of names or strings such as ``'rgb+depth'``.
        layout (ModalityLayout): The layout.
        where (str): Config key, for the error messages.

    Returns:
        list[tuple[str]]: The combinations, the most complete first, each with
        its modalities in the layout's order.

    Raises:
        TypeError: If ``combinations`` is neither.
        ValueError: If it or a combination is empty or has duplicates, or a
            name is unknown.
    """
    if combinations == 'all':
        return layout.combinations()
    if isinstance(combinations, str) or not isinstance(combinations, Sequence):
        raise TypeError(f"{where} must be 'all' or a list of combinations, "
                        f'but got {combinations!r}')
    if not combinations:
        raise ValueError(f'{where} is empty: name at least one combination')
    parsed = []
    for i, names in enumerate(combinations):
        key = f'{where}[{i}]'
        names = names.split('+') if isinstance(names, str) else list(names)
        combination = layout.check_names(names, key)
        if not combination:
            raise ValueError(f'{key} is empty: name at least one modality')
        if len(combination) != len(names):
            raise ValueError(f'{key} names a modality twice: {names}')
        if combination in parsed:
            raise ValueError(f'{key} repeats the combination '
                             f'"{combination_name(combination)}"')
        parsed.append(combination)
    return [c for c in layout.combinations() if c in parsed]


def count_sharded_units(model: nn.Module) -> int:
    """Number of modules of a model that FSDP wraps, itself included."""
    if not torch.distributed.is_available():
        return 0
    from torch.distributed.fsdp import FullyShardedDataParallel
    return sum(
        isinstance(m, FullyShardedDataParallel) for m in model.modules())


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

    It is mixed in before the stock loop, which builds dataloader and
    evaluator.
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
                 higher_is_better: Optional[Mapping[str, bool]] = None
                 ) -> None:
        super().__init__(runner, dataloader, evaluator, fp16=fp16)
        model = runner.model
        self._model = model.module if is_model_wrapper(model) else model
        preprocessor = getattr(self._model, 'data_preprocessor', None)
        layout = getattr(preprocessor, 'layout', None)
        if not isinstance(layout, ModalityLayout):
            raise TypeError(
                f'{type(self).__name__} needs a data preprocessor that knows '
                'the modalities, such as mwam_mm.MultiModalSegDataPreprocessor'
                f', but {type(self._model).__name__} has '
                f'{type(preprocessor).__name__}')
        check_layouts(self._model)
        self.layout = layout
        self.combinations = parse_combinations(
            combinations, layout, f'{self.stage}_cfg.combinations')
        self.metric = metric
        self.drop_probs = drop_probs
        if not all(0 <= p < 1 for p in drop_probs):
            raise ValueError(f'{self.stage}_cfg.drop_probs must be in [0, 1),'
                             f' but got {list(drop_probs)}')
        self.higher_is_better = _check_directions(
            higher_is_better, f'{self.stage}_cfg.higher_is_better')
        units = count_sharded_units(model)
        self._sharded = units > 0
        self._needs_filler = units > 1
        backbones = [
            m for m in self._model.modules()
            if isinstance(m, MultiModalBackbone)
        ]
        self._backbone = backbones[0] if len(backbones) == 1 else None

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
        self._evaluators = {
            c: self._copy_evaluator(c) for c in self.combinations
        }
        self._counts = dict.fromkeys(self.combinations, 0)
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
        data = self._model.data_preprocessor(data_batch, False)
        inputs, samples = data['inputs'], data['data_samples']
        presence = self.layout.presence(inputs)
        present = self._present(presence)
        outputs: Dict[int, BaseDataElement] = {}
        for group in self._groups(present, len(samples)):
            chosen = self._choose(inputs, presence, group)
            sharing = (
                nullcontext()
                if self._backbone is None else self._backbone.encode_once())
            with sharing as session:
                for combination, evaluator in self._evaluators.items():
                    counted = [
                        i for i in group
                        if set(combination) & set(present.get(i, ()))
                    ]
                    # Every rank calls a sharded model equally often.
                    if not counted and not self._sharded:
                        continue
                    predictions = dict(
                        zip(
                            group,
                            self._predict(chosen,
                                          [samples[i].new() for i in group],
                                          combination, session)))
                    if not counted:
                        continue
                    evaluator.process(
                        data_samples=[predictions[i] for i in counted],
                        data_batch={
                            key: [values[i] for i in counted]
                            for key, values in data_batch.items()
                        })
                    self._counts[combination] += len(counted)
                    for i in counted:
                        outputs.setdefault(i, predictions[i])
        self._position += len(samples)
        # Hooks get the predictions of the most complete combination.
        self.runner.call_hook(
            f'after_{self.stage}_iter',
            batch_idx=idx,
            data_batch=data_batch,
            outputs=[outputs.get(i, s) for i, s in enumerate(samples)])

    def _present(self, presence: Presence) -> Dict[int, Combination]:
        """Which modalities each sample that counts has.

        The copies of first samples with which a distributed sampler fills up
        the last batches do not count: their position, counted over all ranks,
        is beyond the dataset.
        """
        rank, world_size = get_dist_info()
        return {
            i: tuple(n for n, flag in zip(presence, flags) if flag)
            for i, flags in enumerate(zip(*presence.values()))
            if (self._position + i) * world_size +
            rank < len(self.dataloader.dataset)
        }

    def _groups(self, present: Dict[int, Combination],
                size: int) -> List[List[int]]:
        """The samples of a batch that are predicted together.

        Samples with the same modalities form a group, since they share their
        combinations and each branch then runs once for them. A sharded model
        gathers its parameters from all ranks in each forward, so there the
        number of forwards must not depend on what a rank's samples have: the
        whole batch is one group.
        """
        if self._sharded:
            return [list(range(size))]
        groups: Dict[Combination, List[int]] = {}
        for i, names in present.items():
            groups.setdefault(names, []).append(i)
        return list(groups.values())

    def _choose(self, inputs: Tensor, presence: Presence,
                group: List[int]) -> Tensor:
        """The images of a group, and what they have.

        Where branches are sharded by themselves, each must run on every rank.
        An image that has every modality is added to make sure of it.
        """
        chosen = gather(inputs, [i in group for i in range(len(inputs))])
        flags = {n: [f[i] for i in group] for n, f in presence.items()}
        if self._needs_filler:
            chosen = torch.cat([chosen, torch.ones_like(chosen[:1])])
            flags = {n: [*f, True] for n, f in flags.items()}
        return with_presence(chosen, flags)

    def _predict(self, inputs: Tensor, samples: List[BaseDataElement],
                 combination: Combination,
                 session: Optional[EncodeOnce]) -> List[BaseDataElement]:
        size = len(samples)
        if self._needs_filler:
            samples = [*samples, samples[0].new()]
        if session is not None:
            session.select(combination)
        else:
            presence = self.layout.presence(inputs)
            inputs = inputs.clone()
            for name, modality in self.layout.items():
                if name not in combination:
                    inputs[:, modality.slice] = 0
                    presence[name] = [False] * len(inputs)
            with_presence(inputs, presence)
        # The module that DDP wraps is called directly, as the wrapper would
        # broadcast buffers; a sharded one must gather its parameters.
        model = self.runner.model if self._sharded else self._model
        with autocast(enabled=self.fp16):
            predictions = model(inputs, samples, mode='predict')
        return predictions[:size]

    def _copy_evaluator(self, combination: Combination) -> Evaluator:
        """Copy the evaluator and give its files a folder of their own."""
        evaluator = copy.deepcopy(self.evaluator)
        name = combination_name(combination)
        for metric in evaluator.metrics:
            for key in ('output_dir', 'outfile_prefix', 'out_file_path'):
                path = getattr(metric, key, None)
                if path is None:
                    continue
                is_folder = key == 'output_dir'
                folder, file = (path, '') if is_folder else osp.split(path)
                mkdir_or_exist(osp.join(folder, name))
                setattr(metric, key, osp.join(folder, name, file))
        return evaluator

    def _evaluate(self) -> Dict[str, Any]:
        """Evaluate what was processed and merge the metrics."""
        total = len(self.dataloader.dataset)
        scores: Dict[str, dict] = {}
        counts: Dict[str, int] = {}
        for combination, evaluator in self._evaluators.items():
            name = combination_name(combination)
            count = torch.tensor(self._counts[combination])
            all_reduce(count)
            counts[name] = int(count)
            print_log(f'Modalities {name}, {counts[name]} of {total} samples:',
                      'current')
            if counts[name] < total:
                print_log(
                    f'{total - counts[name]} samples have none of the '
                    f'modalities of "{name}" and are left out of it',
                    'current', logging.WARNING)
            scores[name] = (
                evaluator.evaluate(counts[name]) if counts[name] else {})
        if not any(scores.values()):
            return {}  # the evaluator only writes files
        self._score_nothing(scores, counts, self.higher_is_better)
        metrics = self._report(scores, counts)
        for name, values in scores.items():
            for key, value in values.items():
                metrics.setdefault(f'{name}/{key}', value)
        return metrics

    @staticmethod
    def _score_nothing(scores: Dict[str, dict],
                       counts: Dict[str, int],
                       higher_is_better: Optional[Mapping[str, bool]] = None
                       ) -> None:
        """Give 0 where an evaluator has nothing to say.

        ``CocoMetric`` returns no metric where not one object was detected,
        which may happen to a detector that lacks a modality. A metric of
        which lower is better stays undefined, as 0 would be perfect.
        """
        keys = {
            key
            for values in scores.values() for key, value in values.items()
            if isinstance(value, Real)
        }
        undefined = {
            key
            for key in keys if is_higher_better(key, higher_is_better) is False
        }
        for name, values in scores.items():
            if counts[name] and not values:
                print_log(
                    f'The evaluator gives no metric of "{name}", so all are '
                    '0: nothing was detected' +
                    (f'. {sorted(undefined)}, of which lower is better, are '
                     'undefined' if undefined else ''), 'current',
                    logging.WARNING)
                values.update(dict.fromkeys(keys - undefined, 0.))

    def _report(self, scores: Dict[str, dict],
                counts: Dict[str, int]) -> Dict[str, Optional[float]]:
        """Log and write the report and return it as flat metrics."""
        report = dict(
            config=osp.basename(self.runner.cfg.filename or '') or None,
            checkpoint=self._checkpoint_name(),
            stage=self.stage,
            **build_report(scores, counts, self.layout.names, self.metric,
                           self.drop_probs, self.higher_is_better))
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
        undefined = [key for key, value in metrics.items() if value is None]
        if undefined:
            full = combination_name(self.layout.names)
            print_log(
                f'Undefined, reported as null: {undefined}. PCR needs a '
                f'positive score of "{full}", an average needs every score '
                'in it, an expectation every combination of modalities',
                'current', logging.WARNING)
        print_log('Evaluation with missing modalities:\n'
                  f'{format_report(report)}', 'current')
        if is_main_process():
            # Each run has such a folder of its own. Tests may share it where
            # several start in the same second or one run tests repeatedly.
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

    Each sample is loaded once and encoded once by each branch of a
    :class:`MultiModalBackbone`; the features are shared between the
    combinations. In any other model the normalised channels of the missing
    modalities are set to 0 and the model runs once per combination.

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

    Metrics are used as the evaluator returns them. ``IoUMetric`` rounds to
    0.01 percent and ``CocoMetric`` to 0.001 of 1, so the PCR of a small mAP is
    coarse: of a full mAP of 0.020, one step is 5 percent. Values per class are
    part of the report where the evaluator returns them as metrics, such as
    ``CocoMetric(classwise=True)``; ``IoUMetric`` only logs them.

    Under FSDP every rank predicts its whole batch once for each combination,
    and what does not count is left out afterwards.

    A sample that has none of a combination's modalities is left out of that
    combination; the report says how many samples each was evaluated on.

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
            ``coco/bbox_mAP``, ``pascal_voc/mAP`` or else the first of all.
        drop_probs (Sequence[float]): Probabilities p of the expectation.
            Defaults to (0.05, 0.1, 0.2).
        fp16 (bool): Whether to predict in fp16. Defaults to False.
        higher_is_better (dict[str, bool], optional): Metric to whether a
            higher value is better, for metrics whose name does not say so
            (:func:`mwam_mm.evaluation.is_higher_better`). Defaults to None.

    Raises:
        TypeError: If the model's data preprocessor has no layout, or
            ``higher_is_better`` is no mapping to booleans.
        ValueError: If the parts of the model have different layouts,
            ``combinations`` is empty, names a combination or a
            modality twice or an unknown one, or a probability is not in
            [0, 1); when running, if a sample has no modality at all, or
            ``metric`` or ``higher_is_better`` names a metric that the
            evaluator does not give.

    Examples:
        .. code-block:: python

            val_cfg = dict(type='mwam_mm.MissingModalityValLoop')
            test_cfg = dict(
                type='mwam_mm.MissingModalityTestLoop',
                combinations=['rgb+depth', 'rgb', 'depth'])
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
