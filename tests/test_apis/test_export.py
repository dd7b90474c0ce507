"""One combination for other programs: equal to PyTorch, without the rest."""
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.utils import digit_version

from mwam_mm.apis import (
    SingleCombination,
    export_model,
    init_model,
    onnx_difference,
)
from mwam_mm.registry import MODELS
from mwam_mm.stack import has_detection

from .. import tiny

onnx = pytest.importorskip('onnx')
onnxruntime = pytest.importorskip('onnxruntime')

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
SIZE = (64, 96)
COMBINATIONS = [('rgb', 'depth'), ('rgb', )]


def flagship(name):
    """A flagship with random weights and statistics."""
    torch.manual_seed(0)
    model = init_model(CONFIGS / f'{name}.py', device='cpu')
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
    return model


def raw_images(model):
    """A stacked image as a pipeline gives it."""
    layout = model.data_preprocessor.layout
    parts = [
        torch.randn(m.channels, *SIZE) * m.std[0] + m.mean[0]
        for m in layout.values()
    ]
    return torch.cat(parts)


def predict(model, image, names, sample):
    """What the model itself predicts of a sample that lacks the others."""
    absent = [n for n in model.data_preprocessor.layout if n not in names]
    sample.set_metainfo(
        dict(
            img_path='a.png',
            ori_shape=SIZE,
            img_shape=SIZE,
            scale_factor=(1., 1.),
            absent_modalities=absent))
    with torch.no_grad():
        result, = model.test_step(
            dict(inputs=[image], data_samples=[sample]))
    return result


def run(path, module, image):
    """The outputs of an ONNX file."""
    session = onnxruntime.InferenceSession(
        str(path), providers=['CPUExecutionProvider'])
    assert [x.name for x in session.get_inputs()] == list(module.combination)
    found = session.run(
        None, {
            name: image[None, module.layout[name].slice].numpy()
            for name in module.combination
        })
    return {
        output.name: torch.from_numpy(value)
        for output, value in zip(session.get_outputs(), found)
    }


def export(name, names, tmp_path):
    module = SingleCombination(flagship(name), names)
    path = tmp_path / 'model.onnx'
    export_model(module, module.example(*SIZE), str(path))
    return module, path


def weights_in(path):
    return sum(
        onnx.numpy_helper.to_array(x).size
        for x in onnx.load(str(path)).graph.initializer)


@pytest.mark.parametrize('names', COMBINATIONS)
def test_segmentation_flagship_in_onnxruntime(names, tmp_path):
    from mmseg.structures import SegDataSample
    module, path = export('rgbd_seg_mwam', names, tmp_path)
    image = raw_images(module.model)
    expected = predict(module.model, image, names, SegDataSample())
    found = run(path, module, image)
    assert list(found) == ['logits']
    torch.testing.assert_close(
        found['logits'][0], expected.seg_logits.data, atol=1e-4, rtol=0)
    assert found['logits'].std() > 1e-2
    check_nothing_else(module, path, names)


@pytest.mark.skipif(not has_detection(), reason='needs mmdet')
@pytest.mark.parametrize('names', COMBINATIONS)
def test_detection_flagship_in_onnxruntime(names, tmp_path):
    from mmdet.structures import DetDataSample
    module, path = export('rgbd_det_mwam', names, tmp_path)
    image = raw_images(module.model)
    expected = predict(module.model, image, names, DetDataSample())
    found = run(path, module, image)
    with torch.no_grad():
        eager = module.outputs(*(
            image[None, module.layout[name].slice] for name in names))
    assert list(found) == list(eager) == [
        f'{name}_{level}'
        for name in ('cls_scores', 'bbox_preds', 'score_factors')
        for level in range(len(eager) // 3)
    ]
    for name, value in found.items():
        torch.testing.assert_close(value, eager[name], atol=1e-4, rtol=0)
    # Outside of the graph, the head makes boxes of them.
    head = module.model.bbox_head
    boxes, = head.predict_by_feat(
        *(list(found.values())[i:i + len(found) // 3]
          for i in range(0, len(found), len(found) // 3)),
        batch_img_metas=[dict(img_shape=SIZE, scale_factor=(1., 1.))],
        cfg=module.model.test_cfg)
    wanted = expected.pred_instances
    assert len(boxes) == len(wanted) > 0
    torch.testing.assert_close(
        boxes.scores, wanted.scores, atol=1e-4, rtol=1e-4)
    check_nothing_else(module, path, names)


def check_nothing_else(module, path, names):
    """The file has the weights of what runs, and of nothing else."""
    model = module.model
    absent = set(module.layout) - set(names)
    used = sum(
        p.numel() for name, p in model.named_parameters()
        if not absent & set(name.split('.')))
    # Normalisation layers are folded into the convolutions before them.
    norms = sum(
        p.numel() for m in model.modules()
        if isinstance(m, torch.nn.BatchNorm2d) for p in m.parameters())
    assert used - norms < weights_in(path) < used


def test_mwam_leaves_nothing(tmp_path):
    graphs = []
    for name in ('rgbd_seg', 'rgbd_seg_mwam'):
        _, path = export(name, ('rgb', 'depth'), tmp_path)
        graph = onnx.load(str(path)).graph
        graphs.append(([(node.op_type, list(node.input), list(node.output))
                        for node in graph.node], [
                            (x.name, x.dims) for x in graph.initializer
                        ]))
    assert graphs[0] == graphs[1]


@pytest.fixture
def tiny_model():
    return init_model(
        Config(dict(default_scope='mmseg', model=tiny.model())), device='cpu')


@pytest.mark.skipif(
    digit_version(torch.__version__) < digit_version('2.7.0'),
    reason='torch.export of older PyTorch makes no graph of these models')
def test_torch_export_of_one_modality(tiny_model, tmp_path):
    module = SingleCombination(tiny_model, ['depth'])
    images = module.example(*SIZE)
    export_model(module, images, str(tmp_path / 'depth.pt2'))
    program = torch.export.load(str(tmp_path / 'depth.pt2'))
    other = (images[0] + 1, )
    torch.testing.assert_close(program.module()(*other), module(*other))
    used = {
        spec.target
        for spec in program.graph_signature.input_specs
        if 'backbone' in (spec.target or '')
        and any(n.users for n in program.graph.nodes
                if n.name == spec.arg.name)
    }
    assert used and not any('rgb' in name for name in used)
    # nor do the weights of the other branch travel along, and here they stay
    weights = [n for n in program.state_dict if 'branches' in n]
    assert weights and not any('branches.rgb' in name for name in weights)
    both = SingleCombination(tiny_model)
    assert torch.isfinite(both(*both.example(*SIZE))[0]).all()


class Classifier(BaseModel):
    """A model that is neither a segmentor nor a detector."""

    def __init__(self):
        super().__init__(tiny.model()['data_preprocessor'])
        parts = tiny.streams()
        self.backbone = MODELS.build(parts['backbone'])
        self.neck = MODELS.build(parts['neck'])
        self.fc = torch.nn.Linear(8, 3)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        assert mode == 'tensor'
        return self.fc(self.neck(self.backbone(inputs))[-1].mean((2, 3)))


def test_any_other_model():
    model = Classifier().eval()
    image = raw_images(model)
    module = SingleCombination(model, 'depth')
    x = torch.zeros(1, 4, *SIZE)
    x[:, 3] = (image[3] - 3) / 2
    torch.testing.assert_close(
        module.outputs(image[None, 3:])['logits'], model(x))


def test_the_difference_is_found(tiny_model, tmp_path):
    module = SingleCombination(tiny_model, 'rgb')
    images = module.example(*SIZE)
    path = str(tmp_path / 'rgb.onnx')
    export_model(module, images, path)
    assert onnx_difference(module, images, path)['logits'] < 1e-4
    with torch.no_grad():
        tiny_model.decode_head.conv_seg.bias += 1
    assert onnx_difference(module, images, path)['logits'] > 0.9


def test_errors(tiny_model, tmp_path):
    with pytest.raises(ValueError, match="'thermal'.*'rgb', 'depth'"):
        SingleCombination(tiny_model, 'rgb+thermal')
    module = SingleCombination(tiny_model)
    images = module.example(*SIZE)
    with pytest.raises(ValueError, match=r'1 images for the 2 modalities'):
        module(images[0])
    with pytest.raises(ValueError, match='must end in .onnx or .pt2'):
        export_model(module, images, str(tmp_path / 'model.bin'))
    tiny_model.data_preprocessor = torch.nn.Identity()
    with pytest.raises(TypeError, match='data preprocessor that knows'):
        SingleCombination(tiny_model)


def test_onnx_that_is_not_installed(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'onnxruntime', None)
    module = SingleCombination(tiny_model)
    with pytest.raises(ImportError, match=r"pip install 'mwam_mm\[export\]'"):
        export_model(module, module.example(*SIZE), str(tmp_path / 'a.onnx'))


@MODELS.register_module()
class UnevenGrid(torch.nn.Module):
    """A backbone that pools to a grid which does not divide the features."""

    def __init__(self, in_channels=3):
        super().__init__()
        self.conv = torch.nn.Conv2d(in_channels, 8, 1)

    def forward(self, x):
        return [torch.nn.functional.adaptive_avg_pool2d(self.conv(x), 5)]


def test_what_onnx_lacks(tmp_path):
    cfg = tiny.model()
    cfg['backbone']['branch'] = dict(type='mwam_mm.UnevenGrid')
    cfg['neck']['in_channels'] = [8]
    cfg['decode_head']['in_index'] = 0
    module = SingleCombination(
        init_model(Config(dict(default_scope='mmseg', model=cfg)),
                   device='cpu'))
    path = tmp_path / 'a.onnx'
    with pytest.raises(ValueError, match='EncoderDecoder has no counterpart '
                       'in ONNX: .*adaptive_avg_pool2d.*pt2'):
        export_model(module, module.example(*SIZE), str(path))
    assert not path.exists()


@pytest.mark.skipif(not has_detection(), reason='needs mmdet')
def test_detectors_of_two_stages_are_refused(tmp_path):
    model = init_model(CONFIGS / 'hosts/faster-rcnn_r18_scenes.py',
                       device='cpu')
    module = SingleCombination(model)
    with pytest.raises(ValueError, match='FasterRCNN.*cannot be exported'):
        export_model(module, module.example(*SIZE), str(tmp_path / 'a.onnx'))
