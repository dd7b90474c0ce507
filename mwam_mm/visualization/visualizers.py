"""Visualizers that show what a model is given, and what it makes of it."""
from typing import Any, Dict, Optional

import mmcv
import numpy as np
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.dist import master_only

from mwam_mm.config import first_metainfo
from mwam_mm.convert.prediction import prediction_transforms
from mwam_mm.registry import VISUALIZERS
from mwam_mm.stack import has_detection, has_segmentation

from .modality_pictures import ModalityPictures
from .panels import draw_columns

__all__ = []


class MultiModalVisualizer:
    """What the visualizers of both kinds share.

    It is mixed in before the stock visualizer.
    """

    _config: Optional[Config] = None
    _pictures: Optional[ModalityPictures] = None

    @master_only
    def add_config(self, config: Config, **kwargs) -> None:
        """Record the config, and learn from it how files are read.

        Args:
            config (Config): The config, which the runner hands over.
        """
        super().add_config(config, **kwargs)
        self._config, self._pictures = config, None

    @master_only
    def add_datasample(self,
                       name: str,
                       image: np.ndarray,
                       data_sample: Any = None,
                       draw_gt: bool = True,
                       draw_pred: bool = True,
                       show: bool = False,
                       wait_time: float = 0,
                       out_file: Optional[str] = None,
                       pred_score_thr: float = 0.3,
                       step: int = 0) -> None:
        """Draw a sample and hand the picture to all backends.

        Args:
            name (str): The picture's name.
            image (np.ndarray): Ignored, as the modalities are read from the
                files that the sample names.
            data_sample (SegDataSample | DetDataSample): The sample, with its
                prediction, its truth or both.
            draw_gt (bool): Whether to draw the truth. Defaults to True.
            draw_pred (bool): Whether to draw the prediction, of each
                combination that was predicted. Defaults to True.
            show (bool): Whether to show the picture in a window. Defaults to
                False.
            wait_time (float): Seconds for which it is shown. Defaults to 0,
                until a key is pressed.
            out_file (str, optional): File that gets the picture in place of
                the backends. Defaults to None.
            pred_score_thr (float): Boxes of a lower score are not drawn.
                Defaults to 0.3.
            step (int): The step that the backends record. Defaults to 0.

        Raises:
            ValueError: If the config's test pipeline has no
                ``LoadModalities``, or the sample does not name its files.
        """
        sample = data_sample.cpu()
        meta = first_metainfo(self.dataset_meta)
        predictions: Dict[str, Any] = {}
        if draw_pred and 'combinations' in sample:
            predictions = {
                name: one.cpu()
                for name, one in sample.combinations.items()
            }
        elif draw_pred and _holds(sample, 'pred'):
            predictions = {'': sample}
        drawn = draw_columns(
            self._read(sample),
            predictions,
            meta.get('classes'),
            meta.get('palette'),
            sample if draw_gt and _holds(sample, 'gt') else None,
            pred_score_thr)
        self.set_image(drawn)
        if show:
            self.show(drawn, win_name=name, wait_time=wait_time)
        if out_file is not None:
            mmcv.imwrite(drawn[..., ::-1], out_file)
        else:
            self.add_image(name, drawn, step)

    def _read(self, sample: Any) -> Dict[str, Optional[np.ndarray]]:
        """Picture of each modality, None for one that is absent."""
        if self._pictures is None:
            if self._config is None:
                raise ValueError(
                    f'{type(self).__name__} does not know how files are '
                    'read: call add_config with the config, as a Runner does')
            self._pictures = ModalityPictures(
                Compose(prediction_transforms(self._config)))
        layout, meta = self._pictures.layout, sample.metainfo
        unknown = [
            m.path_key for m in layout.values() if m.path_key not in meta
        ]
        if unknown:
            raise ValueError(
                f'sample {meta.get("img_path", "(no img_path)")} does not say '
                f'where its files are: add {unknown} to the meta_keys of '
                'PackSegInputs or PackDetInputs, or use a dataset of mwam_mm, '
                'which does')
        absent = meta.get('absent_modalities', ())
        pictures = self._pictures(meta)
        return {
            name: None if name in absent else pictures.get(name)
            for name in layout
        }


def _holds(sample: Any, kind: str) -> bool:
    return f'{kind}_sem_seg' in sample or f'{kind}_instances' in sample


if has_segmentation():
    from mmseg.visualization import SegLocalVisualizer

    @VISUALIZERS.register_module()
    class MultiModalSegVisualizer(MultiModalVisualizer, SegLocalVisualizer):
        """Draw every modality of a sample beside truth and prediction.

        One channel gets a colour map between two percentiles, and magenta
        where there is no measurement; an absent modality is grey. After
        :class:`MissingModalityValLoop` or :class:`MissingModalityTestLoop`
        there is a column for the prediction from each combination of
        modalities.

        It works through ``SegVisualizationHook``, ``tools/test.py --show-dir``
        and all backends. The files are read anew, as the config's test
        pipeline does.

        Args:
            *args: Arguments of ``SegLocalVisualizer``.
            **kwargs: Further ones.

        Examples:
            .. code-block:: python

                visualizer = dict(type='mwam_mm.MultiModalSegVisualizer')
                default_hooks = dict(
                    visualization=dict(
                        type='SegVisualizationHook', draw=True))
        """

    __all__ += ['MultiModalSegVisualizer']

if has_detection():
    from mmdet.visualization import DetLocalVisualizer

    @VISUALIZERS.register_module()
    class MultiModalDetVisualizer(MultiModalVisualizer, DetLocalVisualizer):
        """Draw every modality of a sample beside truth and prediction.

        See :class:`MultiModalSegVisualizer`; it works through
        ``DetVisualizationHook``.

        Args:
            *args: Arguments of ``DetLocalVisualizer``.
            **kwargs: Further ones.

        Examples:
            .. code-block:: python

                visualizer = dict(type='mwam_mm.MultiModalDetVisualizer')
                default_hooks = dict(
                    visualization=dict(
                        type='DetVisualizationHook', draw=True))
        """

    __all__ += ['MultiModalDetVisualizer']
