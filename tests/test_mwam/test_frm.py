"""FRM against an independent float64 full DCT by SciPy and plain loops."""
import sys

import cv2
import numpy as np
import pytest
import torch
from scipy.fft import dctn
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from mwam_mm.mwam import MWAM, frm
from mwam_mm.mwam.frm import frm_map, frm_parts

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


def robust_reference(x, p=8, q=2, sigma=1e-6):
    """Patch after patch, the flat ones skipped."""
    x = np.asarray(x, dtype=np.float64)
    low = high = 0.
    for image in x.reshape(-1, *x.shape[2:]):
        for i in range(0, x.shape[2] - p + 1, p):
            for j in range(0, x.shape[3] - p + 1, p):
                c = np.abs(dctn(image[i:i + p, j:j + p], norm='ortho'))
                ac = c[:q, :q].sum() - c[0, 0]
                rest = c[-q:, -q:].sum() - c[-1, -1]
                if ac + rest > 1e-5 * c[0, 0]:
                    low += ac
                    high += rest + sigma * (q * q - 1)
    return low / high


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
                                       ((1, 2, 30, 40), 5, 3),
                                       ((1, 2, 9, 12), 3, 3)])
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


@pytest.mark.parametrize('flip', ('block', 'map'))
@pytest.mark.parametrize('shape,p,q', [((2, 3, 136, 160), 8, 2),
                                       ((1, 1, 260, 302), 8, 3),
                                       ((40, 2, 32, 40), 16, 2)])
def test_chunks_make_no_difference(shape, p, q, flip):
    generator = torch.manual_seed(0)
    x = torch.randn(shape, dtype=torch.float64, generator=generator)
    stack = torch.randn(
        shape[0], shape[1] + 1, *shape[2:], generator=generator).double()
    stack[:, 1:] = x
    expected = reference(x, p, q, flip=flip)
    for image in (x, x.to(memory_format=torch.channels_last), stack[:, 1:],
                  stack.transpose(0, 1)[1:].transpose(0, 1)):
        value = frm(image, p, q, flip=flip)
        assert value.item() == pytest.approx(expected, rel=1e-9)
        assert frm_map(image, p, q, flip=flip).mean().item() == pytest.approx(
            expected, rel=1e-9)
    robust = frm(x, p, q, metric='robust')
    assert robust.item() == pytest.approx(
        robust_reference(x, p, q), rel=1e-9)


def test_sum_does_not_depend_on_the_rest_of_the_batch():
    x = torch.randn(6, 3, 72, 96)
    for metric in ('ratio', 'robust'):
        together = frm_parts(x, metric=metric)
        assert together.dtype == torch.float64
        alone = torch.cat([frm_parts(s[None], metric=metric) for s in x], 1)
        assert torch.allclose(together, alone, rtol=1e-12, atol=0)


def test_map_is_in_the_order_of_the_image():
    x = torch.zeros(1, 2, 40, 48)
    x[0, 1, 17, 42] = 1.
    values = frm_map(x, metric='low')
    assert values.shape == (1, 2, 5, 2, 6, 2)
    assert values[0, 1, 2, :, 5].all() and values.count_nonzero() == 4


@pytest.fixture(params=(True, False), ids=('compiled', 'plain'))
def loop(request, monkeypatch):
    """With the compiled loop where it is taken, and without."""
    if not request.param:
        monkeypatch.setattr(
            sys.modules['mwam_mm.mwam.frm'], '_compiled_loop',
            lambda *args: None)
    return request.param


@pytest.mark.parametrize('metric', ('ratio', 'robust'))
@pytest.mark.parametrize('dtype', (torch.float32, torch.bfloat16))
@pytest.mark.parametrize('shape', [(8, 3, 240, 320), (64, 3, 112, 112),
                                   (2, 4, 512, 512)])
def test_peak_memory(shape, dtype, metric, loop):
    x = torch.randn(shape).to(dtype)
    frm(x, metric=metric)
    with profile(
            activities=[ProfilerActivity.CPU], profile_memory=True) as prof:
        frm(x, metric=metric)
    events = [
        e for e in prof.profiler.kineto_results.events()
        if e.name() == '[memory]'
    ]
    assert events
    events.sort(key=lambda e: e.start_ns()
                if hasattr(e, 'start_ns') else e.start_us())
    peak = max(np.cumsum([e.nbytes() for e in events]))
    assert peak <= (0.01 if loop else 0.3) * x.nbytes


class Ops(TorchDispatchMode):
    """Records the operators that run."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


# What waits for a CUDA device: values and shapes that the host must know,
# and indexing, whose list travels there.
SYNCHRONISING = {
    '_local_scalar_dense', 'item', 'nonzero', 'masked_select', 'index',
    'unique_dim', '_unique2', 'equal', 'is_nonzero'
}


@pytest.mark.parametrize('present', (None, [True, False, True],
                                     torch.tensor([True, False, True])))
@pytest.mark.parametrize('metric', ('ratio', 'robust'))
def test_nothing_waits_for_the_device(metric, present):
    mwam = MWAM(['rgb', 'depth'], metric=metric)
    inputs = dict(
        rgb=torch.randn(3, 3, 16, 16), depth=torch.randn(3, 1, 16, 16))
    mwam.update(inputs)  # the basis is made once
    with Ops() as ops:
        mwam.update(inputs, dict(rgb=present, depth=present))
    assert 'bmm' in ops.names
    assert not ops.names & SYNCHRONISING
    with Ops() as ops:
        torch.ones(3)[[0, 2]].sum().item()
    assert ops.names & SYNCHRONISING == {'index', '_local_scalar_dense'}


@pytest.mark.skipif(
    not torch.cuda.is_available(), reason='needs a CUDA device')
@pytest.mark.parametrize('metric', METRICS + ('robust', ))
def test_cuda_equals_cpu_without_waiting(metric):
    x = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    mwam = MWAM(['a'], metric=metric)
    on_device = x.cuda()
    mwam.update(dict(a=on_device))
    torch.cuda.set_sync_debug_mode('error')
    try:
        k = mwam.update(dict(a=on_device))
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert k.is_cuda
    assert mwam.frm.item() == pytest.approx(
        frm(x, metric=metric).item(), rel=1e-9)


def test_robust_of_real_pairs(real_images):
    for x in real_images:
        expected = robust_reference(x)
        assert frm(
            x, metric='robust').item() == pytest.approx(
                expected, rel=1e-9)
        assert frm(
            x.float(), metric='robust').item() == pytest.approx(
                expected, rel=1e-4)


def test_robust_of_white_noise_is_one():
    x = torch.randn(4, 3, 256, 256, generator=torch.manual_seed(0))
    assert frm(x, metric='robust').item() == pytest.approx(1, rel=2e-2)


@pytest.mark.parametrize('dtype', (torch.float32, torch.float64))
def test_robust_ignores_flat_patches(dtype):
    x = torch.randn(2, 1, 32, 32, generator=torch.manual_seed(0)).to(dtype)
    x = x.cumsum(3) / 8
    holes = x.clone()
    holes[..., 8:24, 16:] = -2.3
    rest = torch.cat(
        [x[..., :8, :], x[..., 24:, :], x[..., 8:16, :], x[..., 16:24, :]], 2)
    rest[..., 16:, 16:] = 0
    # Wherever the flat patches are and whatever they hold.
    assert frm(
        holes, metric='robust').item() == pytest.approx(
            frm(rest, metric='robust').item(), rel=1e-5)
    paper = frm(x).item()
    assert frm(holes).item() > 1e3 * paper
    assert frm(
        holes, metric='robust').item() == pytest.approx(
            frm(x, metric='robust').item(), rel=0.2)


def test_robust_does_not_depend_on_sigma_or_scale(real_images):
    for x in real_images:
        value = frm(x, metric='robust').item()
        for sigma in (1e-9, 1e-4):
            assert frm(
                x, metric='robust', sigma=sigma).item() == pytest.approx(
                    value, rel=1e-2)
        assert frm(
            100 * x + 3, metric='robust').item() == pytest.approx(
                value, rel=1e-2)


def test_robust_of_a_constant_is_undefined():
    assert frm(torch.full((1, 1, 16, 16), 3.7), metric='robust').isnan()
    x = torch.randn(1, 1, 16, 16)
    for bad in (float('nan'), float('inf')):
        x[0, 0, 3, 3] = bad
        assert not frm(x, metric='robust').isfinite()
        # of a width where no product holds two patches
        assert not frm(
            x[..., :8].repeat(1, 1, 1, 3), metric='robust').isfinite()
    with pytest.raises(ValueError, match='single position'):
        frm_map(x, metric='robust')


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
    (dict(block_size=1, metric='robust'), 'block_size'),
    (dict(patch_size=17), 'one patch'),
    (dict(sigma=float('inf')), 'sigma'),
])
def test_wrong_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        frm(torch.zeros(1, 1, 16, 16), **kwargs)


@pytest.mark.parametrize('function', (frm, frm_map))
def test_wrong_inputs(function):
    with pytest.raises(ValueError, match='shape'):
        function(torch.zeros(3, 16, 16))
    with pytest.raises(TypeError, match='floating'):
        function(torch.zeros(1, 3, 16, 16, dtype=torch.uint8))
    with pytest.raises(ValueError, match='one patch'):
        function(torch.zeros(1, 1, 16, 7))
    with pytest.raises(ValueError, match='block_size'):
        function(torch.zeros(1, 1, 16, 16), block_size=9)


def band_reference(x, band, metric, p=8, q=2, sigma=1e-6):
    """Band and high band of every patch, from the full DCT."""
    above = below = 0.
    for image in np.asarray(x, dtype=np.float64).reshape(-1, *x.shape[2:]):
        for i in range(0, x.shape[2] - p + 1, p):
            for j in range(0, x.shape[3] - p + 1, p):
                c = dctn(image[i:i + p, j:j + p], norm='ortho')
                mid = c[band * q:, band * q:][:q, :q]
                high = c[-q:, -q:][::-1, ::-1]
                if metric == 'ratio':
                    above += np.abs(mid / (high + sigma)).sum()
                    below += q * q
                    continue
                mid, high = np.abs(mid).ravel()[1:], np.abs(high).ravel()[1:]
                if mid.sum() + high.sum() > 1e-5 * abs(c[0, 0]):
                    above += mid.sum()
                    below += (high + sigma).sum()
    return above / below


@pytest.mark.parametrize('metric', ('ratio', 'robust'))
@pytest.mark.parametrize('band', (0, 1, 2))
def test_bands_between_the_low_and_the_high_one(metric, band):
    x = torch.randn(2, 3, 24, 33, generator=torch.manual_seed(0)).double()
    x = x.cumsum(3)
    x[0, 0, :8, :8] = 3.7  # flat
    x[0, 1, :8, :8] = 100 + .01 * x[1, 1, :8, :8]  # nearly
    assert frm(x, metric=metric, band=band).item() == pytest.approx(
        band_reference(x, band, metric), rel=1e-6)


def test_only_flat_patches_have_no_band():
    x = torch.full((1, 1, 16, 16), 0.1)
    assert frm_parts(x, metric='robust', band=1).tolist() == [[0.], [0.]]


@pytest.mark.parametrize('band,p,q', [(3, 8, 2), (-1, 8, 2), (1, 8, 4)])
def test_bands_that_do_not_lie_below_the_high_one(band, p, q):
    with pytest.raises(ValueError, match=f'band must lie.*got {band}'):
        frm(torch.ones(1, 1, 16, 16), p, q, band=band)
