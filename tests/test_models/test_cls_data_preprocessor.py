"""Normalisation and mixing for classification."""
import numpy as np
import pytest
import torch

from mwam_mm.registry import MODELS
from mwam_mm.stack import check_stack

from ..stacks import needs_classification

pytestmark = needs_classification
MODALITIES = dict(
    rgb=dict(
        channels=3, mean=[10., 20., 30.], std=[2., 4., 5.], bgr_to_rgb=True),
    depth=dict(channels=1, mean=3., std=1.5))


@pytest.fixture(scope='module', autouse=True)
def mmpretrain():
    check_stack('mmpretrain')


def build(**kwargs):
    return MODELS.build(
        dict(
            type='mwam_mm.MultiModalClsDataPreprocessor',
            modalities=MODALITIES,
            **kwargs))


def batch(*absent, size=(6, 8)):
    from mmpretrain.structures import DataSample
    generator = torch.Generator().manual_seed(0)
    samples = []
    for i, names in enumerate(absent):
        sample = DataSample().set_gt_label(i % 3)
        sample.set_metainfo(dict(absent_modalities=names))
        samples.append(sample)
    return dict(
        inputs=[
            torch.randint(4, 255, (4, *size), generator=generator)
            for _ in absent
        ],
        data_samples=samples)


def test_normalises_pads_and_blanks():
    data = batch((), ('depth', ), ('rgb', ))
    images = [x.double() for x in data['inputs']]
    out = build(pad_size_divisor=8)(data, True)
    assert out['inputs'].shape == (3, 4, 8, 8)
    for x, (b, g, r, d), kept in zip(
            out['inputs'], images, ((1, 1), (1, 0), (0, 1))):
        expected = torch.stack(
            [(r - 10) / 2, (g - 20) / 4, (b - 30) / 5, (d - 3) / 1.5])
        expected[:3] *= kept[0]
        expected[3:] *= kept[1]
        assert torch.allclose(x[:, :6].double(), expected, atol=1e-5)
        assert (x[:, 6:] == 0).all()
    assert [int(s.gt_label) for s in out['data_samples']] == [0, 1, 2]


def test_one_hot_labels():
    out = build(to_onehot=True, num_classes=3)(batch((), ()), True)
    assert out['data_samples'][1].gt_score.tolist() == [0, 1, 0]


@pytest.mark.parametrize('augment', ['Mixup', 'CutMix'])
def test_a_mixture_lacks_what_none_of_its_parts_has(augment):
    """Presence and data samples say so, and the labels are mixed alike."""
    preprocessor = build(
        num_classes=3,
        batch_augments=dict(augments=dict(type=augment, alpha=1.)))
    absent = [('depth', ), ('depth', ), (), ('rgb', )] * 2
    plain = build()(batch(*absent), True)['inputs']
    np.random.seed(1)
    torch.manual_seed(1)
    out = preprocessor(batch(*absent), True)
    mixed = out['inputs']
    np.random.seed(1)
    torch.manual_seed(1)
    from mmpretrain.models import RandomBatchAugment
    scores = torch.eye(3)[[i % 3 for i in range(8)]]
    expected, scores = RandomBatchAugment(
        dict(type=augment, alpha=1.))(plain.clone(), scores)
    assert torch.equal(mixed, expected) and not torch.equal(mixed, plain)
    for sample, score in zip(out['data_samples'], scores):
        assert torch.allclose(sample.gt_score, score)

    presence = preprocessor.layout.presence(mixed)
    for name, where in (('rgb', slice(0, 3)), ('depth', slice(3, 4))):
        holds = [bool(x[where].any()) for x in mixed]
        assert presence[name] == holds
        for sample, there in zip(out['data_samples'], holds):
            assert (name in sample.absent_modalities) == (not there)
    # some mixture has what one of its parts lacked
    assert sum(presence['depth']) > 4


def test_no_mixing_in_evaluation():
    preprocessor = build(
        num_classes=3,
        batch_augments=dict(augments=dict(type='Mixup', alpha=1.)))
    data = batch((), ('depth', ), ())
    plain = build()(batch((), ('depth', ), ()), False)['inputs']
    out = preprocessor(data, False)['inputs']
    assert torch.equal(out, plain)
    assert preprocessor.layout.presence(out)['depth'] == [True, False, True]
