"""Normalisation per modality, absence, padding."""
import copy

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import Compose
from mmengine.logging import MessageHub
from mmengine.registry import MODELS
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample

from mwam_mm.datasets.transforms import DropModality, RandomDropModality
from mwam_mm.layout import ModalityLayout
from mwam_mm.models import MultiModalSegDataPreprocessor
from mwam_mm.models.data_preprocessors.first_batches import FirstBatches

MODALITIES = dict(
    rgb=dict(
        channels=3, mean=[10., 20., 30.], std=[2., 4., 5.], bgr_to_rgb=True),
    depth=dict(channels=1, mean=3., std=1.5))


def data(dtype=torch.uint8, sizes=((6, 8), (6, 8)), absent=(None, None)):
    generator = torch.Generator().manual_seed(0)
    inputs, samples = [], []
    for size, names in zip(sizes, absent):
        inputs.append(
            torch.randint(0, 255, (4, *size), generator=generator).to(dtype))
        sample = SegDataSample(
            gt_sem_seg=PixelData(
                data=torch.zeros(1, *size, dtype=torch.long)))
        if names is not None:
            sample.set_metainfo(dict(absent_modalities=names))
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def normalised(image):
    """By NumPy, channel after channel, in RGB order."""
    b, g, r, d = image.numpy().astype(np.float64)
    return np.stack([(r - 10) / 2, (g - 20) / 4, (b - 30) / 5, (d - 3) / 1.5])


@pytest.mark.parametrize('dtype', (torch.uint8, torch.float32))
@pytest.mark.parametrize('training', (True, False))
def test_normalises_each_modality(dtype, training):
    preprocessor = MultiModalSegDataPreprocessor(MODALITIES, size=(6, 8))
    batch = data(dtype)
    out = preprocessor(dict(batch), training)['inputs']
    assert out.shape == (2, 4, 6, 8) and out.dtype == torch.float32
    for x, image in zip(out, batch['inputs']):
        np.testing.assert_allclose(x.numpy(), normalised(image), atol=1e-5)


def test_absent_modalities_are_exactly_zero_also_where_padded():
    preprocessor = MultiModalSegDataPreprocessor(MODALITIES, size=(8, 8))
    batch = data(absent=(('depth', ), ('rgb', )))
    expected = [normalised(x) for x in batch['inputs']]
    out = preprocessor(dict(batch), True)['inputs'].numpy()
    assert (out[0, 3] == 0).all() and (out[1, :3] == 0).all()
    np.testing.assert_allclose(out[0, :3, :6], expected[0][:3], atol=1e-5)
    np.testing.assert_allclose(out[1, 3:, :6], expected[1][3:], atol=1e-5)
    assert (out[:, :, 6:] == 0).all()


def test_pads_to_the_largest_and_labels_with_ignore():
    preprocessor = MultiModalSegDataPreprocessor(MODALITIES, size_divisor=4)
    out = preprocessor(data(sizes=((6, 8), (3, 11))), True)
    assert out['inputs'].shape == (2, 4, 8, 12)
    label = out['data_samples'][1].gt_sem_seg.data
    assert (label[:, 3:] == 255).all() and (label[:, :3, :11] == 0).all()


@MODELS.register_module()
class Swap(torch.nn.Module):
    """The samples of a batch in reverse order."""

    def forward(self, inputs, data_samples):
        return inputs.flip(0), data_samples[::-1]


@pytest.mark.parametrize('augment, swapped', [
    ([dict(type='Swap')], True),
    ([dict(type='Swap'), dict(type='Swap')], False),
    (Swap(), True),
])
def test_batches_that_are_mixed(augment, swapped):
    preprocess = MultiModalSegDataPreprocessor(
        MODALITIES, size=(6, 8), batch_augments=augment)
    batch = data(absent=((), ('depth', )))
    out = preprocess(batch, training=True)
    has_depth = [False, True] if swapped else [True, False]
    assert preprocess.layout.presence(
        out['inputs'])['depth'] == has_depth
    assert [bool(x[3].any()) for x in out['inputs']] == has_depth
    assert [s.absent_modalities for s in out['data_samples']] == [
        () if has else ('depth', ) for has in has_depth]
    out = preprocess(batch, training=False)  # nothing is mixed
    assert preprocess.layout.presence(out['inputs'])['depth'] == [True, False]


def test_without_data_samples():
    preprocessor = MultiModalSegDataPreprocessor(MODALITIES)
    out = preprocessor(dict(inputs=data()['inputs']))
    assert out['inputs'].shape == (2, 4, 6, 8)


def test_state_dict_is_empty():
    assert not MultiModalSegDataPreprocessor(MODALITIES).state_dict()


def test_errors():
    preprocessor = MultiModalSegDataPreprocessor(MODALITIES, size=(6, 8))
    with pytest.raises(ValueError, match='all modalities are absent'):
        preprocessor(data(absent=(('rgb', 'depth'), None)), True)
    with pytest.raises(ValueError, match='thermal'):
        preprocessor(data(absent=(('thermal', ), None)), True)
    batch = data()
    batch['inputs'] = [x[:3] for x in batch['inputs']]
    with pytest.raises(ValueError, match='3 channels.*4'):
        preprocessor(batch, True)
    optional = MultiModalSegDataPreprocessor(
        dict(MODALITIES, depth=dict(channels=1, optional=True)), size=(6, 8))
    with pytest.raises(ValueError, match='meta_keys'):
        optional(data(), True)
    optional(data(absent=((), ('depth', ))), True)


def test_dropout_in_a_hole(tmp_path):
    """Dropout that knows the names only, and crops without any depth."""
    rng = np.random.default_rng(0)
    cv2.imwrite(
        str(tmp_path / 'rgb.png'),
        rng.integers(0, 256, (32, 32, 3)).astype(np.uint8))
    depth = np.zeros((32, 32), np.uint16)
    depth[:, :4] = rng.integers(1000, 9000, (32, 4))
    cv2.imwrite(str(tmp_path / 'depth.png'), depth)
    modalities = dict(
        MODALITIES,
        depth=dict(
            channels=1, mean=3.3, std=1.5, scale=.001, invalid_value=0))
    pipeline = Compose([
        dict(type='mwam_mm.LoadModalities', modalities=modalities),
        dict(type='mmseg.RandomCrop', crop_size=(8, 8)),
        dict(type='mmseg.PackSegInputs', meta_keys=()),
        dict(type='mwam_mm.RandomDropModality', modalities=['rgb', 'depth'])
    ])
    preprocessor = MultiModalSegDataPreprocessor(modalities, size=(8, 8))
    np.random.seed(0)
    seen = dict(hole=[], depth=[])
    while len(seen['hole']) < 300:
        packed = pipeline(
            dict(
                img_path=str(tmp_path / 'rgb.png'),
                depth_path=str(tmp_path / 'depth.png')))
        has_depth = bool((packed['inputs'][3] != np.float32(3.3)).any())
        sample = packed['data_samples']
        before = sample.metainfo
        out = preprocessor(
            dict(inputs=[packed['inputs']], data_samples=[sample]), True)
        x, absent = out['inputs'], out['data_samples'][0].absent_modalities
        presence = {
            name: flag
            for name, (flag, ) in preprocessor.layout.presence(x).items()
        }
        assert presence['rgb'] == bool(x[0, :3].any())
        assert presence['depth'] == bool(x[0, 3].any())
        # What it says is absent is, and a blank crop need not be named.
        assert not any(presence[name] for name in absent)
        if has_depth:
            assert presence == {n: n not in absent for n in presence}
            assert absent == before['absent_modalities']
            seen['depth'].append(tuple(presence.values()))
        else:
            assert presence == dict(rgb=True, depth=False)
            seen['hole'].append(before['absent_modalities'])
        # The dataset may hold the sample.
        assert sample.metainfo == before
    assert {tuple(s) for s in seen['hole']} == {(), ('rgb', ), ('depth', )}
    assert set(seen['depth']) == {(True, True), (True, False), (False, True)}


def blank_depth(**metainfo):
    """A batch of one sample whose depth holds no measurement."""
    batch = data(torch.float32, sizes=((6, 8), ))
    batch['inputs'][0][3] = 3
    batch['data_samples'][0].set_metainfo(metainfo)
    return batch


def test_only_what_was_drawn_is_taken_back():
    modalities = dict(MODALITIES, thermal=dict(channels=1))
    preprocessor = MultiModalSegDataPreprocessor(modalities, size=(6, 8))
    batch = blank_depth(
        absent_modalities=('thermal', 'rgb'), dropped_modalities=('rgb', ))
    batch['inputs'][0] = torch.cat([batch['inputs'][0], torch.zeros(1, 6, 8)])
    out = preprocessor(batch, True)
    assert preprocessor.layout.presence(out['inputs']) == dict(
        rgb=[True], depth=[False], thermal=[False])
    sample, = out['data_samples']
    assert sample.absent_modalities == ('depth', 'thermal')
    assert sample.dropped_modalities == ()
    assert 'gt_sem_seg' in sample
    # a file that is missing, not a draw
    out = preprocessor(
        dict(batch, data_samples=blank_depth(
            absent_modalities=('thermal', 'rgb'))['data_samples']), True)
    assert not out['inputs'].any()
    # in evaluation nothing is random
    with pytest.raises(ValueError, match='none of the modalities'):
        preprocessor(batch)


def test_dropping_on_purpose_is_not_taken_back():
    preprocessor = MultiModalSegDataPreprocessor(MODALITIES, size=(6, 8))
    drop = RandomDropModality(['rgb', 'depth'], dict(depth=1))
    for then, rgb in (([], True), ([DropModality(['rgb'])], False)):
        batch = blank_depth(absent_modalities=())
        for transform in [drop, *then]:
            transform(batch)
        out = preprocessor(batch, True)
        assert preprocessor.layout.presence(out['inputs']) == dict(
            rgb=[rgb], depth=[False])


@pytest.fixture
def det():
    """A batch of two sizes for detection, and its preprocessor."""
    pytest.importorskip('mmcv.ops')
    structures = pytest.importorskip('mmdet.structures')
    from mmdet.structures.mask import BitmapMasks

    from mwam_mm.models import MultiModalDetDataPreprocessor
    batch = data(sizes=((6, 8), (3, 11)), absent=(('depth', ), ()))
    for i, image in enumerate(batch['inputs']):
        size = tuple(image.shape[1:])
        sample = structures.DetDataSample(
            metainfo=dict(
                batch['data_samples'][i].metainfo,
                img_shape=size,
                ori_shape=size,
                scale_factor=(1., 1.)))
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor([[1., 2., 3., 3.]]),
            labels=torch.tensor([0]),
            masks=BitmapMasks(np.ones((1, *size), np.uint8), *size))
        sample.gt_sem_seg = PixelData(
            sem_seg=torch.zeros(1, *size, dtype=torch.long))
        batch['data_samples'][i] = sample
    return batch, MultiModalDetDataPreprocessor


def test_detection_pads_every_modality_masks_and_labels(det):
    batch, cls = det
    expected = [normalised(x) for x in batch['inputs']]
    preprocessor = cls(
        MODALITIES, pad_size_divisor=4, pad_mask=True, pad_seg=True)
    assert not preprocessor.state_dict()
    out = preprocessor(dict(batch), True)
    x, samples = out['inputs'].numpy(), out['data_samples']
    assert x.shape == (2, 4, 8, 12)
    np.testing.assert_allclose(x[0, :3, :6, :8], expected[0][:3], atol=1e-5)
    np.testing.assert_allclose(x[1, :, :3, :11], expected[1], atol=1e-5)
    assert (x[0, 3] == 0).all()  # absent
    assert (x[0, :, 6:] == 0).all() and (x[1, :, :, 11:] == 0).all()
    for sample, shape in zip(samples, ((8, 8), (4, 12))):
        assert sample.batch_input_shape == (8, 12)
        assert sample.pad_shape == shape
        assert sample.gt_instances.masks.masks.shape == (1, 8, 12)
    assert samples[1].gt_instances.masks.masks.sum() == 3 * 11
    assert (samples[1].gt_sem_seg.sem_seg[:, 3:] == 255).all()


def test_detection_mixes_batches(det):
    batch, cls = det
    preprocessor = cls(MODALITIES, batch_augments=[dict(type=Swap)])
    out = preprocessor(batch, True)
    assert preprocessor.layout.presence(
        out['inputs'])['depth'] == [True, False]
    assert [s.absent_modalities for s in out['data_samples']] == [
        (), ('depth', )]


def test_detection_resizes_batches(det):
    batch, cls = det
    preprocessor = cls(
        MODALITIES,
        pad_size_divisor=4,
        batch_augments=[
            dict(
                type='mmdet.BatchSyncRandomResize',
                random_size_range=(16, 16),
                size_divisor=8,
                interval=1)
        ])
    MessageHub.get_current_instance().update_info('iter', 0)
    first = preprocessor(copy.deepcopy(batch), True)
    resized = preprocessor(copy.deepcopy(batch), True)
    # 8 x 12 keeps its aspect ratio.
    assert resized['inputs'].shape == (2, 4, 16, 24)
    assert (resized['inputs'][0, 3] == 0).all()  # still absent
    torch.testing.assert_close(
        resized['inputs'],
        torch.nn.functional.interpolate(
            first['inputs'], (16, 24), mode='bilinear'))
    torch.testing.assert_close(
        resized['data_samples'][0].gt_instances.bboxes,
        torch.tensor([[2., 4., 6., 6.]]))


class TestFirstBatches:
    """Training warns of statistics that are of other data."""

    @pytest.fixture
    def warnings(self, monkeypatch):
        said = []
        monkeypatch.setattr(
            'mwam_mm.models.data_preprocessors.first_batches.print_log',
            lambda message, *args: said.append(message))
        return said

    def train(self, modalities, batches=7, absent=(None, None),
              training=True):
        preprocessor = MultiModalSegDataPreprocessor(modalities, size=(6, 8))
        for _ in range(batches):
            preprocessor(data(torch.float32, absent=absent), training)

    @pytest.mark.parametrize('statistics', [
        dict(mean=0.5, std=0.25),  # of images from 0 to 1
        dict(),  # none
        dict(mean=127, std=1000),
    ])
    def test_of_other_data(self, warnings, statistics):
        modalities = dict(
            rgb=dict(channels=3, mean=127., std=73.),
            depth=dict(channels=1, **statistics))
        self.train(modalities)
        message, = warnings
        assert message.startswith("modality 'depth': mean=")
        assert 'check_dataset.py' in message
        mean, std = statistics.get('mean', 0), statistics.get('std', 1)
        values = torch.stack([x[3] for x in data()['inputs']]).double()
        assert (f'mean and std {(values.mean() - mean) / std:.3g} and '
                f'{values.std(unbiased=False) / std:.3g}') in message

    @pytest.mark.parametrize('mean, std', [(127, 73), (90, 40), (160, 150)])
    def test_of_such_data(self, warnings, mean, std):
        self.train(
            dict(
                rgb=dict(channels=3, mean=mean, std=std),
                depth=dict(channels=1, mean=mean, std=std)))
        assert not warnings

    def test_absent_is_no_data(self, warnings):
        modalities = dict(
            rgb=dict(channels=3, mean=127., std=73.), depth=dict(channels=1))
        self.train(modalities, absent=(('depth', ), ('depth', )))
        self.train(modalities, batches=4)
        self.train(modalities, training=False)
        assert not warnings

    @pytest.mark.parametrize('seed', range(3))
    def test_values_that_differ_little(self, warnings, seed):
        """As metres are that take a further scale of 0.001."""
        generator = torch.Generator().manual_seed(seed)
        image = -1.5 + 1e-4 * torch.rand(1, 48, 64, generator=generator)
        first = FirstBatches(ModalityLayout(dict(depth=dict(channels=1))))
        for _ in range(5):
            first.look([image])
        message, = warnings
        expected = f'{image.mean():.3g} and {image.double().std():.3g}'
        assert f'had mean and std {expected}' in message
