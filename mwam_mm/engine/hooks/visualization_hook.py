"""Drawing of predictions on the images that the pipeline loaded."""
import inspect
import os
import os.path as osp
from typing import Any, Optional, Sequence, Tuple

import cv2
import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from mmengine.visualization import LocalVisBackend, Visualizer
from torch import Tensor

from mwam_mm.layout import ModalityLayout
from mwam_mm.outputs import OutputNames
from mwam_mm.registry import HOOKS
from mwam_mm.visualization import modality_picture
from mwam_mm.wrappers import unwrapped

__all__ = ['MultiModalVisualizationHook', 'draw_what_is_loaded']

_STOCK = ('SegVisualizationHook', 'DetVisualizationHook')
# Files with any other suffix get a further one, as OpenCV writes no picture
# under such a name.
_PICTURES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff')


@HOOKS.register_module()
class MultiModalVisualizationHook(Hook):
    """Draw predictions on the images that the pipeline loaded.

    ``SegVisualizationHook`` and ``DetVisualizationHook`` read ``img_path``
    themselves: they know neither arrays nor TIFFs of many channels, nor what
    the pipeline has cut off. This hook draws on the first modality that a
    sample has, brought back to the size that its predictions have. Pictures
    keep the path of their image relative to the dataset's folder.

    It takes the place of these two hooks in the tools and in the loops over
    combinations of modalities (:func:`draw_what_is_loaded`), so a config need
    not name it.

    Args:
        draw (bool): Whether to draw. Defaults to True.
        interval (int): Iterations of validation from one picture to the next;
            a test draws every sample. Defaults to 50.
        score_thr (float): Predicted boxes of a lower score are not drawn.
            Defaults to 0.3.
        show (bool): Whether to show the pictures in a window rather than to
            give them to the visualizer's backends. Defaults to False.
        wait_time (float): Seconds to show each. Defaults to 0, until a key is
            pressed.
        test_out_dir (str, optional): Folder in the run's folder to which a
            test writes the pictures. Defaults to None, the visualizer's
            backends.

    Examples:
        .. code-block:: python

            default_hooks = dict(
                visualization=dict(
                    type='mwam_mm.MultiModalVisualizationHook', interval=10))
    """

    def __init__(self,
                 draw: bool = True,
                 interval: int = 50,
                 score_thr: float = 0.3,
                 show: bool = False,
                 wait_time: float = 0.,
                 test_out_dir: Optional[str] = None) -> None:
        self.draw = draw
        self.interval = interval
        self.score_thr = score_thr
        self.show = show
        self.wait_time = wait_time
        self.test_out_dir = test_out_dir
        self._visualizer: Visualizer = Visualizer.get_current_instance()
        if draw and show:
            self._visualizer._vis_backends = {}
        self._test_index = 0

    def before_val(self, runner: Runner) -> None:
        """Learn where the images lie."""
        self._names = OutputNames(runner.val_dataloader.dataset)

    def before_test(self, runner: Runner) -> None:
        """Learn where the images lie."""
        self._names = OutputNames(runner.test_dataloader.dataset)

    def after_val_iter(self,
                       runner: Runner,
                       batch_idx: int,
                       data_batch: Optional[dict] = None,
                       outputs: Optional[Sequence[BaseDataElement]] = None
                       ) -> None:
        """Draw the first sample of every ``interval``-th batch.

        Args:
            runner (Runner): The runner.
            batch_idx (int): Index of the batch.
            data_batch (dict): The batch as the dataloader collates it.
            outputs (Sequence[BaseDataElement]): The predictions.
        """
        step = runner.iter + batch_idx
        if self.draw and step % self.interval == 0:
            self._draw(runner, data_batch, 0, outputs[0], 'val', step)

    def after_test_iter(self,
                        runner: Runner,
                        batch_idx: int,
                        data_batch: Optional[dict] = None,
                        outputs: Optional[Sequence[BaseDataElement]] = None
                        ) -> None:
        """Draw every sample.

        Args:
            runner (Runner): The runner.
            batch_idx (int): Index of the batch.
            data_batch (dict): The batch as the dataloader collates it.
            outputs (Sequence[BaseDataElement]): The predictions.
        """
        if not self.draw:
            return
        for i, output in enumerate(outputs):
            self._test_index += 1
            file = None
            if self.test_out_dir is not None:
                file = osp.join(runner.work_dir, runner.timestamp,
                                self.test_out_dir)
            self._draw(runner, data_batch, i, output, 'test',
                       self._test_index, file)

    def _draw(self,
              runner: Runner,
              data_batch: dict,
              index: int,
              output: BaseDataElement,
              stage: str,
              step: int,
              out_dir: Optional[str] = None) -> None:
        path = output.img_path
        name = self._names(path)
        if osp.splitext(name)[1].lower() not in _PICTURES:
            name += '.png'
        out_file = None
        if out_dir is not None:
            out_file = osp.join(out_dir, name)
            self._names.claim(out_file, path)
        folder, file = osp.split(name)
        name = osp.join(folder, f'{stage}_{file}')
        for backend in self._visualizer._vis_backends.values():
            if isinstance(backend, LocalVisBackend):
                # Where there is no folder, the backend writes nothing and says
                # nothing.
                os.makedirs(
                    osp.join(backend.experiment._img_save_dir, folder),
                    exist_ok=True)
        add = self._visualizer.add_datasample
        options: dict = {}
        if 'pred_score_thr' in inspect.signature(add).parameters:
            options['pred_score_thr'] = self.score_thr
        add(name,
            loaded_picture(_layout(runner), data_batch, index, output),
            data_sample=output,
            show=self.show,
            wait_time=self.wait_time,
            out_file=out_file,
            step=step,
            **options)


def loaded_picture(layout: ModalityLayout, data_batch: dict, index: int,
                   output: BaseDataElement) -> np.ndarray:
    """Picture of a sample of a batch, in the size of its prediction.

    Args:
        layout (ModalityLayout): The modalities.
        data_batch (dict): ``inputs`` and ``data_samples`` as the dataloader
            collates them, of test-time augmentation too.
        index (int): Which sample of the batch.
        output (BaseDataElement): Its prediction.

    Returns:
        np.ndarray: RGB picture of shape (*ori_shape, 3), uint8, of the first
        modality that the sample has.
    """
    inputs, samples = data_batch['inputs'], data_batch['data_samples']
    if isinstance(inputs[0], (list, tuple)):  # the first augmented view
        inputs, samples = inputs[0], samples[0]
    image: Tensor = inputs[index]
    meta = samples[index].metainfo
    absent = output.metainfo.get('absent_modalities', ())
    modality = next(m for m in layout.values() if m.name not in absent)
    picture = image[modality.slice].permute(1, 2, 0).numpy()
    if modality.channels == 3:
        picture = picture[..., ::-1]
    height, width = _content(meta)
    picture = _flip_back(picture[:height, :width], meta)
    if (picture.dtype != np.uint8 and picture.shape[2] == 3
            and picture.min() >= 0 and 1 < picture.max() <= 255):
        # Another modality made the stack float.
        picture = np.rint(picture).astype(np.uint8)
    picture = modality_picture(picture)
    height, width = meta.get('ori_shape', picture.shape)[:2]
    if picture.shape[:2] != (height, width):
        picture = cv2.resize(picture, (width, height))
    return picture


def _content(meta: dict) -> Tuple[Optional[int], Optional[int]]:
    """Height and width of the image without what pads it."""
    if meta.get('ori_shape') is None or meta.get('scale_factor') is None:
        return tuple(meta.get('img_shape', (None, None))[:2])
    scale = meta['scale_factor']
    return tuple(
        int(round(size * factor))
        for size, factor in zip(meta['ori_shape'], (scale[1], scale[0])))


def _flip_back(picture: np.ndarray, meta: dict) -> np.ndarray:
    if not meta.get('flip'):
        return picture
    axes = dict(horizontal=1, vertical=0, diagonal=(0, 1))
    return np.flip(picture, axes[meta['flip_direction']])


def _layout(runner: Runner) -> Any:
    """The layout of a runner's model; None where it is not multimodal."""
    model = unwrapped(runner.model)
    for part in (model, getattr(model, 'module', None)):  # of a TTA model
        layout = getattr(
            getattr(part, 'data_preprocessor', None), 'layout', None)
        if isinstance(layout, ModalityLayout):
            return layout
    return None


def draw_what_is_loaded(runner: Runner) -> None:
    """Let no stock hook of a multimodal job read images itself.

    Args:
        runner (Runner): The runner. Its ``SegVisualizationHook`` or
            ``DetVisualizationHook`` becomes a
            :class:`MultiModalVisualizationHook` with the same options, unless
            the model is not multimodal.
    """
    if _layout(runner) is None:
        return
    for i, hook in enumerate(runner.hooks):
        if type(hook).__name__ not in _STOCK:
            continue
        options = {
            key: getattr(hook, key)
            for key in ('draw', 'interval', 'score_thr', 'show', 'wait_time',
                        'test_out_dir') if hasattr(hook, key)
        }
        own = MultiModalVisualizationHook(**options)
        own.priority = hook.priority
        runner.hooks[i] = own
