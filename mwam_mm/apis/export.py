"""A model for one combination of modalities, for other programs to run."""
import inspect
import os.path as osp
import warnings
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Sequence, Tuple, Union

import torch
from mmengine.model import BaseModel
from mmengine.utils import digit_version
from torch import Tensor, nn

from mwam_mm.atomic import replacing
from mwam_mm.engine.combinations import parse_combinations
from mwam_mm.layout import ModalityLayout, with_presence
from mwam_mm.models.backbones import flatten_levels
from mwam_mm.stack import has_detection

__all__ = ['SingleCombination', 'export_model', 'onnx_difference']


class SingleCombination(nn.Module):
    """A model that gets one combination of modalities, an input for each.

    It can be traced: by ``torch.export``, for ONNX, or to count operations.
    The branches of other modalities do not run, so the graph is without them.

    Args:
        model (BaseModel): A segmentor of MMSegmentation, a detector of
            MMDetection or another model whose ``forward`` takes ``inputs``
            and ``mode='tensor'``, with a data preprocessor of this package.
            It is put into evaluation mode.
        combination (str | Sequence[str], optional): The modalities, such as
            ``'rgb+depth'`` or a list of names. Defaults to None, all.

    Raises:
        TypeError: If the data preprocessor has no layout.
        ValueError: If the combination is empty or names an unknown modality.

    Examples:
        >>> from mwam_mm.apis import SingleCombination, init_model
        >>> model = init_model('my_job.py', 'iter_8000.pth')  # doctest: +SKIP
        >>> rgb_only = SingleCombination(model, 'rgb')  # doctest: +SKIP
        >>> image = torch.rand(1, 3, 480, 640) * 255
        >>> rgb_only.outputs(image)['logits'].shape  # doctest: +SKIP
        torch.Size([1, 8, 480, 640])
    """

    def __init__(self,
                 model: BaseModel,
                 combination: Union[None, str, Sequence[str]] = None) -> None:
        super().__init__()
        layout = getattr(model.data_preprocessor, 'layout', None)
        if not isinstance(layout, ModalityLayout):
            raise TypeError(
                'a combination of modalities needs a data preprocessor that '
                'knows the modalities, such as '
                'mwam_mm.MultiModalSegDataPreprocessor, but '
                f'{type(model).__name__} has '
                f'{type(model.data_preprocessor).__name__}')
        self.layout = layout
        self.combination, = parse_combinations(
            [layout.names if combination is None else combination], layout,
            'combination')
        self.model = model
        self.eval()

    def example(self, height: int, width: int) -> Tuple[Tensor, ...]:
        """Random images of the modalities' means and standard deviations.

        Args:
            height (int): Their height in pixels.
            width (int): Their width in pixels.

        Returns:
            tuple[Tensor]: One of shape (1, C_m, height, width) for each
            modality of the combination, the same at every call.
        """
        generator = torch.Generator().manual_seed(0)
        device = next(self.model.parameters()).device
        images = []
        for name in self.combination:
            mean, std = self._statistics(name)
            noise = torch.randn(
                1, len(mean), height, width, generator=generator)
            images.append(noise.to(device) * std + mean)
        return tuple(images)

    def forward(self, *images: Tensor) -> Tuple[Tensor, ...]:
        """The values of :meth:`outputs`."""
        return tuple(self.outputs(*images).values())

    def outputs(self, *images: Tensor) -> Dict[str, Tensor]:
        """Predict.

        Args:
            images (Tensor): The modalities of the combination in the layout's
                order, each of shape (B, C_m, H, W) and float, as
                :class:`LoadModalities` delivers them: not yet normalised,
                with ``scale`` applied, B, G, R where the modality has
                ``bgr_to_rgb``, and the mean where there is no measurement.

        Returns:
            dict[str, Tensor]: Name to value. Of a segmentor ``logits`` of
            shape (B, num_classes, H, W); of a detector what its head gives
            for every place, which its ``predict_by_feat`` makes boxes of:
            named as the arguments of that, with ``_0``, ``_1``, ... for the
            levels, such as ``cls_scores_0``. Of any other model what
            ``mode='tensor'`` gives, ``logits`` if it is one tensor.

        Raises:
            ValueError: If there are not as many images as modalities.
        """
        if len(images) != len(self.combination):
            raise ValueError(
                f'{len(images)} images for the {len(self.combination)} '
                f'modalities {list(self.combination)}')
        inputs = self._stack(dict(zip(self.combination, images)))
        # Numbers, where the tracer has tensors, which it does not let copy.
        size = tuple(map(int, inputs.shape[2:]))
        meta = dict(
            img_shape=size,
            ori_shape=size,
            pad_shape=size,
            batch_input_shape=size,
            scale_factor=(1., 1.))
        if hasattr(self.model, 'encode_decode'):
            metas = [dict(meta) for _ in range(len(inputs))]
            return dict(logits=self.model.encode_decode(inputs, metas))
        if not _is_detector(self.model):
            return _named(self.model, self.model(inputs, mode='tensor'))
        from mmdet.structures import DetDataSample
        samples = [DetDataSample(metainfo=meta) for _ in range(len(inputs))]
        return _named(self.model, self.model(inputs, samples, mode='tensor'))

    def _stack(self, images: Dict[str, Tensor]) -> Tensor:
        """The normalised stacked tensor, which says what is in it."""
        like = next(iter(images.values()))
        parts = []
        for name, modality in self.layout.items():
            if name not in images:
                parts.append(
                    like.new_zeros(len(like), modality.channels,
                                   *like.shape[2:]))
                continue
            mean, std = self._statistics(name)
            part = (images[name] - mean) / std
            parts.append(part.flip(1) if modality.bgr_to_rgb else part)
        return with_presence(
            torch.cat(parts, 1),
            {name: [name in images] * len(like)
             for name in self.layout})

    def _statistics(self, name: str) -> Tuple[Tensor, Tensor]:
        """Mean and standard deviation in the order of the image's channels.

        Both have the shape (C_m, 1, 1).
        """
        normalize = self.model.data_preprocessor.normalize
        modality = self.layout[name]
        mean = normalize.mean[modality.slice]
        std = normalize.std[modality.slice]
        if modality.bgr_to_rgb:
            return mean.flip(0), std.flip(0)
        return mean, std


def _is_detector(model: BaseModel) -> bool:
    if not has_detection():
        return False
    from mmdet.models import BaseDetector
    return isinstance(model, BaseDetector)


def _named(model: BaseModel, outputs: Any) -> Dict[str, Tensor]:
    """Raw outputs, a detector's by the names of its head's arguments."""
    head = getattr(model, 'bbox_head', None)
    method = getattr(head, 'predict_by_feat', None)
    names = list(inspect.signature(method).parameters) if method else []
    if isinstance(outputs, Tensor):
        return dict(logits=outputs)
    named = {}
    for i, output in enumerate(outputs):
        name = names[i] if i < len(names) else f'output_{i}'
        if isinstance(output, Tensor):
            named[name] = output
        elif output is not None:
            named.update((f'{name}_{j}', x)
                         for j, x in enumerate(flatten_levels(output)))
    return named


def export_model(module: SingleCombination, images: Tuple[Tensor, ...],
                 path: str) -> None:
    """Write a model of one combination for other programs.

    The graph is for images of this size and number.

    Args:
        module (SingleCombination): The model.
        images (tuple[Tensor]): Its inputs, such as
            :meth:`SingleCombination.example` gives.
        path (str): The file to write, with its folder: ``.onnx`` for ONNX,
            with the modalities as names of the inputs, or ``.pt2`` for
            ``torch.export.load``.

    Raises:
        ImportError: If ONNX is wanted and not installed.
        ValueError: If the name ends in neither, the model's graph depends on
            the image, a part of it has no counterpart in ONNX, or PyTorch is
            too old.

    Examples:
        >>> from mwam_mm.apis import (SingleCombination, export_model,
        ...                           init_model)
        >>> model = init_model('my_job.py', 'iter_8000.pth')  # doctest: +SKIP
        >>> rgb_only = SingleCombination(model, 'rgb')  # doctest: +SKIP
        >>> export_model(rgb_only, rgb_only.example(480, 640),
        ...              'rgb.onnx')  # doctest: +SKIP
    """
    suffix = osp.splitext(path)[1]
    if suffix not in ('.onnx', '.pt2'):
        raise ValueError(f'{path!r} must end in .onnx or .pt2')
    if hasattr(module.model, 'roi_head'):
        raise ValueError(
            f'{type(module.model).__name__} looks at the regions that it '
            'proposes, so its graph depends on the image and cannot be '
            'exported. Detectors of one stage can')
    if suffix == '.onnx':
        with replacing(path) as partial:
            _write_onnx(module, images, partial)
        return
    if digit_version(torch.__version__) < digit_version('2.7.0'):
        raise ValueError(
            f'{path!r}: torch.export needs PyTorch 2.7 or later, but '
            f'{torch.__version__} is installed. ONNX works')
    with torch.no_grad():
        program = torch.export.export(module, images, strict=False)
        # A program keeps the parameters of the whole module, also where its
        # graph does without them.
        with _without(module, _idle(program)):
            program = torch.export.export(module, images, strict=False)
    with replacing(path) as partial:
        torch.export.save(program, partial)


def _idle(program: 'torch.export.ExportedProgram') -> List[str]:
    """The parameters and buffers that the graph of a program does not use."""
    used = {
        node.name
        for node in program.graph.nodes if node.op == 'placeholder'
        and node.users
    }
    return [
        spec.target for spec in program.graph_signature.input_specs
        if spec.target is not None and spec.arg.name not in used
    ]


@contextmanager
def _without(module: nn.Module, names: Sequence[str]) -> Iterator[None]:
    """A module without some of its parameters and buffers, for a while."""
    kept = []
    for name in names:
        path, _, key = name.rpartition('.')
        owner = module.get_submodule(path)
        kept.append((owner, key, getattr(owner, key)))
        setattr(owner, key, None)  # stays registered
    try:
        yield
    finally:
        for owner, key, value in kept:
            setattr(owner, key, value)


def _write_onnx(module: SingleCombination, images: Tuple[Tensor, ...],
                path: str) -> None:
    _check_onnx()
    with torch.no_grad(), warnings.catch_warnings():
        # The graph is meant for one size and combination, and the tracer
        # warns of everything that follows from them.
        warnings.simplefilter('ignore', torch.jit.TracerWarning)
        names = list(module.outputs(*images))
        # The exporter by TorchScript is in every supported PyTorch; newer
        # ones would take another, which needs more packages and ten times as
        # long.
        parameters = inspect.signature(torch.onnx.export).parameters
        try:
            torch.onnx.export(
                module,
                images,
                path,
                input_names=list(module.combination),
                output_names=names,
                opset_version=17,
                **({'dynamo': False} if 'dynamo' in parameters else {}))
        except torch.onnx.errors.OnnxExporterError as error:
            reason = str(error).split('. ')[0]
            raise ValueError(
                f'a part of the {type(module.model).__name__} has no '
                f'counterpart in ONNX: {reason}. It may have for another size '
                'of the image, or export to .pt2') from error


def onnx_difference(module: SingleCombination, images: Tuple[Tensor, ...],
                    path: str) -> Dict[str, float]:
    """Compare what onnxruntime makes of a file with the model itself.

    Args:
        module (SingleCombination): The model.
        images (tuple[Tensor]): Its inputs.
        path (str): The ONNX file.

    Returns:
        dict[str, float]: Output to its largest absolute difference.

    Raises:
        ImportError: If onnxruntime is not installed.
    """
    _check_onnx()
    import onnxruntime
    session = onnxruntime.InferenceSession(
        path, providers=['CPUExecutionProvider'])
    with torch.no_grad():
        expected = module.outputs(*images)
    found = session.run(
        list(expected), {
            name: image.cpu().numpy()
            for name, image in zip(module.combination, images)
        })
    return {
        name: float((torch.from_numpy(value) - x.cpu()).abs().max())
        for (name, x), value in zip(expected.items(), found)
    }


def _check_onnx() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f'ONNX needs {error.name}, which is not installed: pip install '
            "'mwam_mm[export]'") from error
