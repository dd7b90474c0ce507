"""Prediction of a batch for several combinations of modalities."""
from contextlib import nullcontext
from typing import (
    Any,
    Dict,
    Iterator,
    List,
    Mapping,
    Optional,
    Sequence,
    Tuple,
)

import torch
from mmengine.runner.amp import autocast
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from mwam_mm.consistency import check_layouts
from mwam_mm.evaluation import Fault
from mwam_mm.layout import ModalityLayout, Presence, with_presence
from mwam_mm.models.backbones import MultiModalBackbone
from mwam_mm.models.backbones.encode_once import EncodeOnce
from mwam_mm.models.subsets import take_rows
from mwam_mm.wrappers import count_sharded_units, unwrapped

from .combinations import Combination

__all__ = ['CombinationPredictor']

_LOOPS = 'the loops over combinations of modalities'


class CombinationPredictor:
    """Predict a batch for several combinations of modalities.

    The channels of the missing modalities are set to 0. A
    :class:`MultiModalBackbone` encodes each sample once and shares the
    features between the combinations.

    A module that DDP wraps is called directly, as the wrapper would broadcast
    buffers. A model that FSDP shards gathers its parameters from all ranks in
    each forward, so there every rank calls the wrapper once for each batch and
    combination, whatever its samples have.

    Args:
        model (nn.Module): The model, in a wrapper or not.
        fp16 (bool): Whether to predict in fp16. Defaults to False.

    Raises:
        TypeError: If the model's data preprocessor has no layout.
        ValueError: If the parts of the model have different layouts.
    """

    def __init__(self, model: nn.Module, fp16: bool = False) -> None:
        module = unwrapped(model)
        preprocessor = getattr(module, 'data_preprocessor', None)
        layout = getattr(preprocessor, 'layout', None)
        if not isinstance(layout, ModalityLayout):
            raise TypeError(
                f'{_LOOPS} need a data '
                'preprocessor that knows the modalities, such as '
                'mwam_mm.MultiModalSegDataPreprocessor, but '
                f'{type(module).__name__} has {type(preprocessor).__name__}')
        check_layouts(module)
        self.layout = layout
        self.data_preprocessor = preprocessor
        self._fp16 = fp16
        units = count_sharded_units(model)
        self._sharded = units > 0
        self._needs_filler = units > 1
        self._model = model if self._sharded else module
        backbones = [
            m for m in module.modules() if isinstance(m, MultiModalBackbone)
        ]
        self._backbone = backbones[0] if len(backbones) == 1 else None

    def preprocess(
            self, batch: Mapping) -> Tuple[Tensor, List[BaseDataElement]]:
        """Normalise and stack a batch.

        Args:
            batch (dict): ``inputs`` and ``data_samples`` as a dataloader
                collates them.

        Returns:
            tuple[Tensor, list[BaseDataElement]]: The stacked tensor of shape
            (B, C, H, W) and the B data samples.

        Raises:
            TypeError: If the model's data preprocessor gives something else.
        """
        data = self.data_preprocessor(batch, False)
        inputs, samples = data['inputs'], data.get('data_samples')
        given = f'{type(self.data_preprocessor).__name__} gives'
        if not isinstance(inputs, Tensor):
            raise TypeError(
                f'{_LOOPS} set the channels of what is missing to 0 in one '
                f'stacked tensor of shape (B, C, H, W), but {given} inputs as '
                f'a {type(inputs).__name__}: let it give the stacked tensor, '
                'and the model take that apart, as '
                "inputs[:, self.data_preprocessor.layout['rgb'].slice]")
        if samples is None or not all(
                isinstance(sample, BaseDataElement) for sample in samples):
            raise TypeError(
                f'{_LOOPS} need a data sample of MMEngine for each image, but '
                f'{given} data_samples={samples!r:.60}: let the dataset give '
                'them, as PackSegInputs, PackDetInputs and PackInputs do')
        return inputs, samples

    def present(self, inputs: Tensor,
                counts: Sequence[bool]) -> Dict[int, Combination]:
        """What the samples that count have.

        Args:
            inputs (Tensor): Normalised stacked tensor of shape (B, C, H, W).
            counts (Sequence[bool]): Whether each of the B samples counts.

        Returns:
            dict[int, tuple[str]]: Index in the batch to the modalities.
        """
        presence = self.layout.presence(inputs)
        return {
            i: tuple(n for n, flag in zip(presence, flags) if flag)
            for i, flags in enumerate(zip(*presence.values())) if counts[i]
        }

    def predict(
        self,
        inputs: Tensor,
        samples: Sequence[BaseDataElement],
        counts: Sequence[bool],
        combinations: Sequence[Combination],
        faults: Sequence[Fault] = (),
        places: Sequence[int] = ()
    ) -> Iterator[Tuple[Combination, Dict[int, BaseDataElement]]]:
        """Predict the samples that count.

        Args:
            inputs (Tensor): Normalised stacked tensor of shape (B, C, H, W).
            samples (Sequence[BaseDataElement]): The B data samples.
            counts (Sequence[bool]): Whether each of the B samples counts.
            combinations (Sequence[tuple[str]]): The combinations.
            faults (Sequence[Fault]): Faults to predict with, of all
                modalities together. Defaults to ().
            places (Sequence[int]): Place of each of the B samples in the
                dataset, which the faults ask for. Defaults to ().

        Yields:
            tuple[tuple[str], dict[int, BaseDataElement]]: Combination, or the
            name of a fault as a tuple, and index in the batch to prediction.
            A combination may come several times, with other samples, and
            lacks those that have none of its modalities.
        """
        presence = self.layout.presence(inputs)
        present = self.present(inputs, counts)
        for group in self._groups(present, len(samples)):
            chosen = self._choose(inputs, presence, group)
            of_group = {i: samples[i] for i in group}
            sharing = (
                nullcontext()
                if self._backbone is None else self._backbone.encode_once())
            with sharing as session:
                for combination in combinations:
                    counted = [
                        i for i in group
                        if set(combination) & set(present.get(i, ()))
                    ]
                    if not counted and not self._sharded:
                        continue
                    predictions = self._predict(chosen, of_group, combination,
                                                session)
                    if counted:
                        yield combination, {i: predictions[i] for i in counted}
                for fault in faults:
                    faulty = fault(chosen, list(of_group.values()),
                                   [places[i] for i in group], self.layout)
                    predictions = self._predict(faulty, of_group,
                                                self.layout.names, session,
                                                (fault.modality, ))
                    counted = [i for i in group if counts[i]]
                    if counted:
                        yield (fault.name, ), {
                            i: predictions[i] for i in counted}

    def _groups(self, present: Dict[int, Combination],
                size: int) -> List[List[int]]:
        """The samples of a batch that are predicted together.

        Samples with the same modalities form a group, since they share their
        combinations and each branch then runs once for them. The number of
        forwards of a sharded model must not depend on what a rank's samples
        have, so there the whole batch is one group.
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
        chosen = take_rows(inputs, group)
        flags = {n: [f[i] for i in group] for n, f in presence.items()}
        if self._needs_filler:
            chosen = torch.cat([chosen, torch.ones_like(chosen[:1])])
            flags = {n: [*f, True] for n, f in flags.items()}
        return with_presence(chosen, flags)

    def _predict(self,
                 inputs: Tensor,
                 samples: Mapping[int, BaseDataElement],
                 combination: Combination,
                 session: Optional[EncodeOnce],
                 changed: Sequence[str] = ()) -> Dict[int, BaseDataElement]:
        given = [sample.new() for sample in samples.values()]
        if self._needs_filler:
            given.append(given[0].new())
        presence = self.layout.presence(inputs)
        for name in self.layout:
            if name not in combination:
                presence[name] = [False] * len(inputs)
        # The backbone leaves them out anyway, but other parts of the model may
        # look at the image.
        inputs = self.layout.masked(inputs, presence)
        if session is not None:
            session.select(combination, inputs, changed)
        with autocast(enabled=self._fp16):
            predictions = self._model(inputs, given, mode='predict')
        if (not isinstance(predictions, (list, tuple))
                or len(predictions) != len(given) or not all(
                    isinstance(p, BaseDataElement) for p in predictions)):
            raise TypeError(
                f"{type(unwrapped(self._model)).__name__}.forward with mode="
                "'predict' must return a list of data samples, one for each "
                f'of the {len(given)} that it is given, as those of '
                f'MMSegmentation and MMDetection do, but gave '
                f'{_described(predictions)}')
        return dict(zip(samples, predictions))


def _described(predictions: Any) -> str:
    name = type(predictions).__name__
    if not isinstance(predictions, (list, tuple)):
        return f'a {name}'
    kinds = sorted({type(p).__name__ for p in predictions})
    return f'a {name} of {len(predictions)} {" and ".join(kinds)}'
