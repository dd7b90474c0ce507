"""Presence is settled on the CPU and carried beside the tensor."""
import copy
import os.path as osp
import sys
from contextlib import contextmanager

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope

import mwam_mm
from mwam_mm.engine.combination_predictor import CombinationPredictor
from mwam_mm.layout import ModalityLayout, with_presence
from mwam_mm.models import MultiModalSegDataPreprocessor
from mwam_mm.registry import MODELS

from .. import tiny

# A black image of the one is its mean, a hole of the other is declared.
MODALITIES = dict(
    rgb=dict(channels=3, std=255.),
    depth=dict(channels=1, mean=3., std=2., invalid_value=0))
PACKAGE = osp.dirname(mwam_mm.__file__) + osp.sep
WAITS = ('__bool__', '__float__', '__index__', '__int__', 'cpu', 'item',
         'nonzero', 'numpy', 'tolist')


@contextmanager
def no_waiting():
    """Refuse what waits for a GPU where the package itself calls it."""

    def refusing(method):

        def call(*args, **kwargs):
            caller = sys._getframe(1).f_code.co_filename
            assert not caller.startswith(PACKAGE), method.__name__
            return method(*args, **kwargs)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in WAITS:
            patch.setattr(torch.Tensor, name,
                          refusing(getattr(torch.Tensor, name)))
        yield


def batch(*absent, size=4):
    """Pairs of the tiny data; ``absent`` by sample, None for not said."""
    pairs = tiny.TinyPairs()
    items = [copy.deepcopy(pairs[i]) for i in range(size)]
    for item, names in zip(items, absent):
        if names is not None:
            item['data_samples'].set_metainfo(dict(absent_modalities=names))
    return {key: [item[key] for item in items] for key in items[0]}


def host(backbone='MultiModalBackbone', test_cfg=None):
    cfg = ConfigDict(tiny.model())
    cfg['data_preprocessor']['modalities'] = MODALITIES
    if backbone == 'ESANetBackbone':
        del cfg['neck']
        cfg['backbone']['type'] = 'mwam_mm.ESANetBackbone'
    else:
        cfg['neck']['modalities'] = MODALITIES
    if test_cfg is not None:
        cfg['test_cfg'] = test_cfg
    cfg['backbone']['modalities'] = MODALITIES
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmseg'):
        return MODELS.build(cfg)


def preprocess(data, training=True, device='cpu', modalities=MODALITIES):
    preprocessor = MultiModalSegDataPreprocessor(modalities, size=(32, 32))
    return preprocessor.to(device)(copy.deepcopy(data), training)['inputs']


def test_a_black_image_is_there_and_a_hole_is_not():
    data = batch((), None, ('depth', ), None)
    for i in (0, 1):
        data['inputs'][i][:3] = 0
    data['inputs'][3][3] = 3
    layout = ModalityLayout(MODALITIES)
    x = preprocess(data)
    assert not x[:2, :3].any() and not x[3, 3].any()
    expected = dict(
        rgb=[True] * 4, depth=[True, True, False, False])
    assert layout.presence(x) == expected
    # One pixel of the depth map is a measurement.
    data['inputs'][3][3, 5, 7] = 4
    assert layout.presence(preprocess(data))['depth'][3]
    # A tensor that comes without data samples is judged by its zeros.
    del data['data_samples']
    x = preprocess(data, training=False)
    for x in (x, x.clone()):
        assert layout.presence(x) == dict(
            rgb=[False, False, True, True], depth=[True] * 4)


def test_a_black_image_is_a_sample_in_evaluation():
    data = batch(('depth', ), size=1)
    data['inputs'][0][:3] = 0
    x = preprocess(data, training=False)
    assert not x.any()
    assert ModalityLayout(MODALITIES).presence(x) == dict(
        rgb=[True], depth=[False])
    data = batch(('rgb', ), size=1)
    data['inputs'][0][3] = 3
    with pytest.raises(ValueError, match='0.png has none of the modalities'):
        preprocess(data, training=False)


def test_presence_is_settled_before_the_copy_to_the_device():
    """Nothing can be asked of the device "meta", which holds no values."""
    x = preprocess(batch(('depth', ), (), None, ('rgb', )), device='meta')
    assert x.is_meta
    assert ModalityLayout(MODALITIES).presence(x) == dict(
        rgb=[True, True, True, False], depth=[False, True, True, True])


@pytest.mark.parametrize('backbone', ['MultiModalBackbone', 'ESANetBackbone'])
@pytest.mark.parametrize('absent', [
    ((), (), (), ()),
    (('depth', ), (), ('rgb', ), None),
    (('rgb', ), ) * 4,
    (('depth', ), ) * 4,
])
def test_a_forward_waits_for_nothing(backbone, absent):
    model, data = host(backbone), batch(*absent)
    for training, mode in ((True, 'loss'), (False, 'predict'),
                           (False, 'tensor')):
        model.train(training)
        ready = model.data_preprocessor(copy.deepcopy(data), training)
        with no_waiting():
            outputs = model(**ready, mode=mode)
            if training:
                sum(v for k, v in outputs.items() if 'loss' in k).backward()
    # A tensor that carries nothing has to be looked at.
    with pytest.raises(AssertionError, match='tolist'), no_waiting():
        model(ready['inputs'].clone(), mode='tensor')


def test_sharing_features_waits_for_nothing():
    """What a branch gets is known to be the same by where it lies."""
    model = host().eval()
    runs = []
    for name, branch in model.backbone.branches.items():
        branch.register_forward_hook(
            lambda *_, name=name: runs.append(name))
    predictor = CombinationPredictor(model)
    ready = predictor.preprocess(batch((), (), ('rgb', ), ()))
    with torch.no_grad(), no_waiting():
        predicted = list(
            predictor.predict(*ready, [True] * 4, [('rgb', 'depth'),
                                                   ('rgb', ), ('depth', )]))
    # Three samples have both, one has depth alone.
    assert sorted(runs) == ['depth', 'depth', 'rgb']
    assert len(predicted) == 5


@pytest.mark.parametrize('backbone', ['MultiModalBackbone', 'ESANetBackbone'])
def test_features_need_no_values(backbone):
    """The whole encoder runs where not one value can be read."""
    model = host(backbone).to('meta').train()
    ready = model.data_preprocessor(
        batch(('depth', ), (), ('rgb', ), ()), True)
    assert all(f.is_meta for f in model.extract_feat(ready['inputs']))


def test_what_is_carried_says_the_same_as_the_zeros():
    model = host().eval()
    ready = model.data_preprocessor(
        batch(('depth', ), (), ('rgb', ), ()), False)['inputs']
    with torch.no_grad():
        assert torch.equal(
            model(ready, mode='tensor'), model(ready.clone(), mode='tensor'))


def test_windows_of_slide_inference(monkeypatch):
    """They know what their image has; only a hole is looked for."""
    slide = dict(mode='slide', crop_size=(16, 16), stride=(16, 16))
    model, data = host(test_cfg=slide).eval(), batch(('depth', ), ())
    data['inputs'][0][:3, :16, :16] = 0  # a black window
    data['inputs'][1][3, :16, :16] = 3  # a hole
    seen = []
    model.backbone.register_forward_hook(
        lambda module, args, output: seen.append(output.present))
    with torch.no_grad():
        model(**model.data_preprocessor(data, False), mode='predict')
    here = dict(rgb=[True] * 4, depth=[False, True, True, True])
    hole = dict(here, depth=[False, False, True, True])
    assert seen == [hole, here, here, here]
    # Where no file can have holes, nothing is looked for.
    whole = dict(MODALITIES, depth=dict(channels=1))
    x = preprocess(batch(), modalities=whole)
    with no_waiting():
        ModalityLayout(whole).presence(x[:, :, :16, 16:])


def test_only_the_same_samples_inherit_presence():
    layout = ModalityLayout(
        {name: dict(channels=1) for name in ('a', 'b', 'c')})
    said = dict(a=[True, True, False], b=[True, False, True], c=[True] * 3)
    x = with_presence(torch.ones(3, 3, 8, 8), said)
    everything = {name: [True] * 3 for name in layout}
    for channels_last in (False, True):
        if channels_last:
            x = with_presence(
                x.contiguous(memory_format=torch.channels_last), said)
        for view in (x, x[:, :, 2:6, 3:], x[..., :4]):
            assert layout.presence(view) == said
        for other in (x[:1].expand(3, 3, 8, 8), x.transpose(0, 1), x.flip(0),
                      x[[2, 1, 0]], x.clone(), x + 0, x.double()):
            assert layout.presence(other) == everything
    assert layout.presence(x[1:]) == {n: [True] * 2 for n in layout}
    with torch.inference_mode():
        y = with_presence(torch.ones(3, 3, 8, 8), said)
        assert layout.presence(y) == said
    # What is found is the caller's own.
    layout.presence(x)['a'][0] = False
    assert layout.presence(x) == said
    # Values that change in place are looked at anew.
    x[:, 2] = 0
    assert layout.presence(x) == dict(everything, c=[False] * 3)
