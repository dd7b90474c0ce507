"""FRM against an independent float64 full DCT by SciPy and plain loops."""
import cv2
import numpy as np
import pytest
import torch
from scipy.fft import dctn

from mwam_mm.mwam import frm

METRICS = ('ratio', 'low', 'sum', 'weighted_sum')


def reference(x, p=8, q=2, sigma=1e-6, metric='ratio', flip='block'):
    """Full DCT of every patch, patch after patch."""
    x = np.asarray(x, dtype=np.float64)
    b, c, h, w = x.shape
    total, count = 0., 0
    for image in x.reshape(b * c, h, w):
        low = np.zeros((h // p * q, w // p * q))
        high = np.zeros_like(low)
        for i in range(h // p):
            for j in range(w // p):
                patch = image[i * p:(i + 1) * p, j * p:(j + 1) * p]
                coefficients = dctn(patch, norm='ortho')
                cell = np.s_[i * q:(i + 1) * q, j * q:(j + 1) * q]
                low[cell] = coefficients[:q, :q]
                band = coefficients[-q:, -q:]
                high[cell] = band[::-1, ::-1] if flip == 'block' else band
        if flip == 'map':
            high = high[::-1, ::-1]
        values = {
            'ratio': lambda: np.abs(low / (high + sigma)),
            'low': lambda: np.abs(low),
            'sum': lambda: np.abs(low) + np.abs(high),
            'weighted_sum': lambda: .9 * np.abs(low) + .1 * np.abs(high),
        }[metric]()
        total += values.sum()
        count += values.size
    return total / count


@pytest.fixture(scope='module')
def real_images(data_root):
    rgb = cv2.imread(str(data_root / 'potholes/dataset1/rgb/01.png'))
    depth = cv2.imread(
        str(data_root / 'potholes/dataset1/disp_tg/01.png'),
        cv2.IMREAD_UNCHANGED)[..., None]
    stack = []
    for image in (rgb, depth):
        image = image[100:200, 200:333].astype(np.float64)
        image = (image - image.mean()) / image.std()
        stack.append(torch.from_numpy(image).permute(2, 0, 1)[None])
    return stack


@pytest.mark.parametrize('flip', ('block', 'map'))
@pytest.mark.parametrize('metric', METRICS)
@pytest.mark.parametrize('shape,p,q', [((2, 3, 32, 48), 8, 2),
                                       ((1, 1, 37, 29), 8, 4),
                                       ((2, 2, 16, 16), 4, 1),
                                       ((1, 2, 30, 40), 5, 3)])
def test_equals_full_dct_on_random_input(shape, p, q, metric, flip):
    x = torch.randn(
        shape, dtype=torch.float64, generator=torch.manual_seed(0))
    expected = reference(x, p, q, metric=metric, flip=flip)
    value = frm(x, p, q, metric=metric, flip=flip)
    assert value.ndim == 0 and value.dtype == torch.float64
    assert value.item() == pytest.approx(expected, rel=1e-9)
    rel = 2e-2 if metric == 'ratio' else 1e-4
    value = frm(x.float(), p, q, metric=metric, flip=flip)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(
        reference(x.float(), p, q, metric=metric, flip=flip), rel=rel)


@pytest.mark.parametrize('flip', ('block', 'map'))
@pytest.mark.parametrize('metric', METRICS)
def test_equals_full_dct_on_real_pairs(real_images, metric, flip):
    for x in real_images:
        expected = reference(x, metric=metric, flip=flip)
        value = frm(x, metric=metric, flip=flip).item()
        assert value == pytest.approx(expected, rel=1e-9)
        value = frm(x.float(), metric=metric, flip=flip).item()
        rel = 2e-2 if metric == 'ratio' else 1e-4
        assert value == pytest.approx(
            reference(x.float(), metric=metric, flip=flip), rel=rel)


def test_sigma_bounds_the_ratio_of_a_flat_patch():
    x = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    # DC is 8, the other low coefficients and the high band are 0.
    assert frm(x, sigma=0.5).item() == pytest.approx(8 / 0.5 / 4)


def test_incomplete_border_is_left_out():
    x = torch.randn(1, 2, 16, 24)
    padded = torch.full((1, 2, 23, 30), 1e6)
    padded[..., :16, :24] = x
    assert torch.equal(frm(padded), frm(x))


@pytest.mark.parametrize('dtype', (torch.float16, torch.bfloat16))
def test_half_precision_is_computed_in_float32(dtype):
    x = torch.randn(2, 3, 16, 16).to(dtype)
    value = frm(x, metric='sum')
    assert value.dtype == torch.float32
    assert torch.equal(value, frm(x.float(), metric='sum'))


def test_autocast_changes_nothing():
    x = torch.randn(2, 3, 16, 16)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = frm(x, metric='sum')
    assert value.dtype == torch.float32
    assert torch.equal(value, frm(x, metric='sum'))


def test_non_contiguous_input():
    stack = torch.randn(2, 4, 16, 16)
    assert torch.equal(frm(stack[:, 3:]), frm(stack[:, 3:].contiguous()))
    nhwc = stack.to(memory_format=torch.channels_last)
    assert torch.allclose(frm(nhwc, metric='low'), frm(stack, metric='low'))


@pytest.mark.parametrize('kwargs,message', [
    (dict(metric='mean'), 'metric'),
    (dict(flip='none'), 'flip'),
    (dict(block_size=9), 'block_size'),
    (dict(block_size=0), 'block_size'),
    (dict(patch_size=17), 'one patch'),
])
def test_wrong_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        frm(torch.zeros(1, 1, 16, 16), **kwargs)


def test_wrong_inputs():
    with pytest.raises(ValueError, match='shape'):
        frm(torch.zeros(3, 16, 16))
    with pytest.raises(TypeError, match='floating'):
        frm(torch.zeros(1, 3, 16, 16, dtype=torch.uint8))
    with pytest.raises(ValueError, match='one patch'):
        frm(torch.zeros(1, 1, 16, 7))
