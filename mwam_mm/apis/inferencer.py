"""Prediction of single samples and of folders, without a dataset."""
import os
import os.path as osp
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import (
    Any,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    Optional,
    Sequence,
    Tuple,
    Union,
)

import mmcv
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.fileio import dump
from mmengine.structures import BaseDataElement
from rich.progress import track
from torch import nn

from mwam_mm.config import (
    first_metainfo,
    type_name,
    walk_dicts,
    walk_transforms,
)
from mwam_mm.consistency import check_layouts
from mwam_mm.convert.prediction import prediction_transforms
from mwam_mm.engine.combination_predictor import CombinationPredictor
from mwam_mm.engine.combinations import Combination, parse_combinations
from mwam_mm.layout import ModalityLayout, combination_name
from mwam_mm.models.data_preprocessors.first_batches import FirstBatches
from mwam_mm.visualization import draw_columns
from mwam_mm.visualization.modality_pictures import ModalityPictures

from .inputs import (
    Sample,
    check_no_input_in,
    check_sample,
    is_folders,
    list_folders,
    names_of_files,
    out_names,
)
from .model import init_model

__all__ = ['MultiModalInferencer']

Result = Union[BaseDataElement, Dict[str, BaseDataElement]]


class MultiModalInferencer:
    """Predict files, arrays or folders, which need not have all modalities.

    Loading and preprocessing are those of the config's test pipeline, without
    the annotations. No dataset is needed: classes and colours are those that
    the checkpoint holds, else those of the config's dataset.

    A modality that is left out is absent, as in the rows of a missing-modality
    test: its branch does not run.

    A warning says so if the first sample is in another unit than the config's
    ``mean`` and ``std``, such as metres where files hold millimetres.

    Args:
        config (str | Path | Config | nn.Module): The config or its file, such
            as the one in a work dir; or a model of :func:`init_model`, of
            ``mmseg.apis.init_model`` or of ``mmdet.apis.init_detector``.
        checkpoint (str, optional): Path of the checkpoint. Defaults to None,
            the weights that the model has.
        device (str, optional): Device of the model. Defaults to None, the GPU
            if there is one.
        cfg_options (dict, optional): Settings that override those of the
            config. Defaults to None.

    Raises:
        TypeError: If the model does not know modalities.
        ValueError: If the checkpoint is of another config, or the config has
            no test pipeline that loads the modalities of the model.

    Examples:
        .. code-block:: python

            inferencer = MultiModalInferencer('my_job.py', 'iter_8000.pth')
            result = inferencer(dict(rgb='a.png', depth='b.png'))
            result = inferencer(dict(rgb='a.png'))  # depth is absent
            results = inferencer(
                rgb='data/rgb', depth='data/depth', out_dir='predictions')
    """

    def __init__(self,
                 config: Union[str, Path, Config, nn.Module],
                 checkpoint: Optional[str] = None,
                 device: Optional[str] = None,
                 cfg_options: Optional[dict] = None) -> None:
        if isinstance(config, nn.Module):
            if (checkpoint, device, cfg_options) != (None, None, None):
                raise ValueError('a model that is built already takes no '
                                 'checkpoint, device or cfg_options')
            self.model = config
        else:
            self.model = init_model(config, checkpoint, device, cfg_options)
        self._predictor = CombinationPredictor(self.model)
        self.layout: ModalityLayout = self._predictor.layout
        steps = prediction_transforms(self.model.cfg)
        names = {type_name(step) for _, step in walk_dicts(steps)}
        if 'LoadClip' in names:
            raise ValueError('the test pipeline loads clips, of several '
                             'folders each, but single files are predicted '
                             'here: tools/test.py --out FILE.pkl saves the '
                             'scores of the clips of a dataset')
        if 'TestTimeAug' in names:
            raise ValueError('the test pipeline has TestTimeAug, but one '
                             'prediction is made for each sample')
        self.pipeline = Compose(steps)
        self._first_image = FirstBatches(self.layout, batches=1)
        self._pictures = ModalityPictures(self.pipeline)
        if str(self._pictures.layout) != str(self.layout):
            raise ValueError(
                'the test pipeline loads other modalities or channels, '
                f'{self._pictures.layout}, than the model has, {self.layout}')
        check_layouts(
            self.model, self.model.cfg,
            [('test_pipeline', type_name(transform),
              getattr(transform, 'layout', None))
             for transform in walk_transforms(self.pipeline)])
        meta = first_metainfo(getattr(self.model, 'dataset_meta', None))
        self._classes, self._palette = meta.get('classes'), meta.get('palette')

    def __call__(self,
                 inputs: Union[None, Mapping, Sequence[Mapping]] = None,
                 batch_size: int = 1,
                 combinations: Union[None, str, Sequence] = None,
                 out_dir: Optional[str] = None,
                 draw: bool = True,
                 show_progress: bool = True,
                 **modalities) -> Union[Result, List[Result]]:
        """Predict.

        Args:
            inputs (dict | Sequence[dict]): Modality to its file or array, for
                one sample or each of several; or modality to its folder,
                whose files are matched by their path without suffix, or by
                ``file_names`` of the config's test dataset. An array
                of shape (H, W) or (H, W, C) holds what the file would,
                colours as B, G, R.
            batch_size (int): Largest number of samples at a time. Only
                images of one size share a batch, so that it does not change
                the results. Defaults to 1.
            combinations (str | Sequence, optional): ``'all'``, or
                combinations such as ``['rgb+depth', 'rgb']``, to predict each
                of them whose modalities a sample has. Defaults to None, what
                the sample has.
            out_dir (str, optional): Folder that gets ``pred``, label maps of
                class indices as PNG, boxes or the label of a whole image
                and the scores of all classes as JSON, with a folder for each
                of several combinations, and ``vis``, the pictures of
                :meth:`draw`. Paths within folders are kept. Defaults to None,
                nothing is written.
            draw (bool): Whether to write the pictures. Defaults to True.
            show_progress (bool): Whether to show the progress if there are
                several samples. Defaults to True.
            **modalities: The modalities of one sample, or folders, in place
                of ``inputs``.

        Returns:
            SegDataSample | DetDataSample | list: The prediction, on the CPU
            and without logits; a list for a list of samples or folders. With
            ``combinations`` each is a dict, from the combination's name to
            its prediction.

        Raises:
            TypeError: If an input is neither a path nor an array.
            ValueError: If a modality is unknown, a sample has none, no sample
                has those of any combination, two samples would write the same
                file, or a file lies where the outputs go.
            FileNotFoundError: If a file does not exist.
        """
        if inputs is not None and modalities:
            raise ValueError(f'give inputs or the modalities '
                             f'{list(modalities)}, not both')
        if batch_size < 1:
            raise ValueError(f'batch_size must be positive: {batch_size}')
        chosen = None if combinations is None else parse_combinations(
            combinations, self.layout, 'combinations')
        samples, names, single = self._list(
            modalities if inputs is None else inputs)
        if chosen is not None and not any(
                set(one) <= set(sample) for one in chosen
                for sample in samples):
            raise ValueError(
                'nothing to predict: no sample has all modalities of any of '
                f'the combinations {list(map(combination_name, chosen))}')
        if out_dir is not None:
            check_no_input_in([
                osp.join(out_dir, part)
                for part in ('pred', *(['vis'] if draw else []))
            ], samples)
            names = out_names(samples) if names is None else names

        results: List[Result] = []
        prepared: Iterable = map(self._prepare, range(len(samples)), samples)
        if show_progress and len(samples) > 1:
            prepared = track(
                prepared, description='Predicting', total=len(samples))
        for batch in _batches(prepared, batch_size):
            for result in self._predict(batch, chosen):
                if out_dir is not None:
                    i = len(results)
                    self._write(out_dir, names[i], samples[i], result, draw)
                results.append(result)
        return results[0] if single else results

    def draw(self,
             sample: Mapping,
             result: Result,
             truth: Optional[BaseDataElement] = None,
             score_thr: float = 0.3) -> np.ndarray:
        """Draw every modality of a sample beside its predictions.

        Args:
            sample (dict): Modality to its file or array.
            result (SegDataSample | DetDataSample | dict): What the call
                returned for it.
            truth (SegDataSample | DetDataSample, optional): Its annotations,
                as a dataset gives them. Defaults to None.
            score_thr (float): Boxes of a lower score are not drawn. Defaults
                to 0.3.

        Returns:
            np.ndarray: RGB picture, uint8. A modality of one channel has a
            colour map, and magenta where it has no measurement; an absent one
            is grey.
        """
        sample = check_sample(sample, self.layout, 'sample')
        with self._as_files(sample) as paths:
            found = self._pictures(paths)
        many = isinstance(result, Mapping)
        return draw_columns(
            {name: found[name] if name in sample else None
             for name in self.layout},
            result if many else {'': result},
            self._classes,
            self._palette,
            truth,
            score_thr)

    def _list(
        self, inputs: Union[Mapping, Sequence[Mapping]]
    ) -> Tuple[List[Sample], Optional[List[str]], bool]:
        """The samples, their names if folders give them, whether it is one."""
        if isinstance(inputs, Mapping):
            sample = check_sample(inputs, self.layout, 'the input')
            if not is_folders(sample):
                return [sample], None, True
            listed = list_folders(
                sample, self.layout,
                names_of_files(self.model.cfg, self.layout))
            return list(listed.values()), list(listed), False
        if not isinstance(inputs, (list, tuple)) or not inputs:
            raise TypeError('inputs must be a dict from modality to file, '
                            f'array or folder, or a list of such dicts of '
                            f'files or arrays, but is {inputs!r}')
        samples = []
        for i, one in enumerate(inputs):
            samples.append(check_sample(one, self.layout, f'inputs[{i}]'))
            if is_folders(samples[-1]):
                raise ValueError(f'inputs[{i}] names folders: predict folders '
                                 'by one call each')
        return samples, None, False

    @contextmanager
    def _as_files(self, sample: Sample) -> Iterator[Dict[str, Any]]:
        """Paths as a dataset gives them; arrays become temporary files.

        So LoadModalities checks and converts arrays as it does any file.
        """
        with tempfile.TemporaryDirectory() as folder:
            paths = {}
            for name, modality in self.layout.items():
                path = osp.join(folder, f'{name}.npy')
                value = sample.get(name)
                if isinstance(value, np.ndarray):
                    np.save(path, value)
                elif value is not None:
                    path = value
                # Where modalities share a file, one that is left out has it,
                # too. The file of any other does not exist.
                if value is not None or modality.path_key not in paths:
                    paths[modality.path_key] = path
            yield paths

    def _with_arrays(self, message: str, paths: Mapping,
                     sample: Sample) -> str:
        """A message that names arrays in place of their temporary files."""
        for key, path in paths.items():
            given = [
                sample[name] for name, modality in self.layout.items()
                if modality.path_key == key and name in sample
            ]
            if not given:
                message = message.replace(repr(path), '(not given)')
            elif isinstance(given[0], np.ndarray):
                message = message.replace(repr(path), _named(given[0]))
        return message

    def _prepare(self, index: int, sample: Sample) -> Dict[str, Any]:
        """Load and preprocess a sample."""
        with self._as_files(sample) as paths:
            results = dict(paths, img_id=index, instances=[], seg_fields=[])
            results.setdefault('img_path', next(iter(paths.values())))
            try:
                packed = self.pipeline(results)
            except (FileNotFoundError, ValueError) as error:
                error.args = tuple(
                    self._with_arrays(arg, paths, sample)
                    if isinstance(arg, str) else arg for arg in error.args)
                raise
        data_sample = packed['data_samples']
        absent = data_sample.metainfo.get('absent_modalities', ())
        absent = tuple(name for name in self.layout
                       if name in absent or name not in sample)
        data_sample.set_metainfo(dict(absent_modalities=absent))
        # The path of an array, or of what is left out, does not exist.
        files = [v for v in sample.values() if isinstance(v, str)]
        if results['img_path'] not in files:
            data_sample.set_metainfo(
                dict(img_path=files[0] if files else _named(
                    next(iter(sample.values())))))
        if index == 0:
            normalize = self.model.data_preprocessor.normalize
            self._first_image.look(
                [normalize(packed['inputs'].to(normalize.mean.device),
                           absent)])
        return packed

    @torch.no_grad()
    def _predict(self, batch: List[Dict[str, Any]],
                 combinations: Optional[List[Combination]]) -> List[Result]:
        data = pseudo_collate(batch)
        if combinations is None:
            return [_slim(p) for p in self.model.test_step(data)]
        absent = [
            set(one['data_samples'].metainfo['absent_modalities'])
            for one in batch
        ]
        results: List[Dict[str, BaseDataElement]] = [{} for _ in batch]
        inputs, samples = self._predictor.preprocess(data)
        for combination, predictions in self._predictor.predict(
                inputs, samples, [True] * len(batch), combinations):
            for i, prediction in predictions.items():
                if not absent[i] & set(combination):
                    results[i][combination_name(combination)] = _slim(
                        prediction)
        return results

    def _write(self, out_dir: str, name: str, sample: Sample, result: Result,
               draw: bool) -> None:
        ones = result if isinstance(result, Mapping) else {'': result}
        for combination, one in ones.items():
            path = osp.join(out_dir, 'pred', combination, name)
            if 'pred_sem_seg' in one:
                labels = one.pred_sem_seg.data[0].numpy()
                count = len(self._classes or ()) or labels.max() + 1
                mmcv.imwrite(
                    labels.astype(np.uint8 if count <= 256 else np.uint16),
                    f'{path}.png')
            else:
                os.makedirs(osp.dirname(path), exist_ok=True)
                dump(_as_json(one, self._classes), f'{path}.json')
        if draw:
            picture = self.draw(sample, result)
            mmcv.imwrite(picture[..., ::-1],
                         osp.join(out_dir, 'vis', f'{name}.png'))


def _batches(prepared: Iterable[Dict[str, Any]],
             size: int) -> Iterator[List[Dict[str, Any]]]:
    """Batches of samples in their order, of one image size each."""
    batch: List[Dict[str, Any]] = []
    for one in prepared:
        if batch and (len(batch) == size or
                      one['inputs'].shape != batch[0]['inputs'].shape):
            yield batch
            batch = []
        batch.append(one)
    if batch:
        yield batch


def _named(array: np.ndarray) -> str:
    """What an array is called in place of a path."""
    return f'(array of shape {array.shape})'


def _slim(prediction: BaseDataElement) -> BaseDataElement:
    """A prediction on the CPU, without the logits, which are large."""
    for key in ('seg_logits', 'i_seg_logits'):
        if key in prediction:
            delattr(prediction, key)
    return prediction.cpu()


def _as_json(prediction: BaseDataElement,
             classes: Optional[Sequence[str]]) -> Dict[str, list]:
    """A label, or boxes and perhaps masks, as JSON can hold them."""
    if 'pred_label' in prediction:
        labels = prediction.pred_label.tolist()
        result = dict(labels=labels, scores=prediction.pred_score.tolist())
        if classes is not None:
            result['names'] = [classes[label] for label in labels]
        return result
    instances = prediction.pred_instances
    labels = instances.labels.tolist()
    result = dict(
        bboxes=instances.bboxes.tolist(),
        scores=instances.scores.tolist(),
        labels=labels)
    if classes is not None:
        result['names'] = [classes[label] for label in labels]
    if 'masks' in instances:
        from mmdet.structures.mask import encode_mask_results
        result['masks'] = [
            dict(rle, counts=rle['counts'].decode())
            for rle in encode_mask_results(instances.masks.numpy())
        ]
    return result
