"""The core against plain Python over the same batches."""
import math
import os
import pickle
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mwam_mm.mwam import MWAM, allocate, frm

from ..processes import run_ranks

NAMES = ('rgb', 'depth')
# the module, which the package's function of the same name hides
FRM = sys.modules['mwam_mm.mwam.frm']


def batch(seed, size=4):
    generator = torch.Generator().manual_seed(seed)
    return dict(
        rgb=torch.randn(size, 3, 24, 32, generator=generator),
        depth=torch.randn(size, 1, 24, 32, generator=generator).cumsum(3))


def test_paper_preset_is_frm_bank_allocate():
    mwam = MWAM(NAMES)
    bank = None
    for seed in range(5):
        inputs = batch(seed)
        now = torch.stack([frm(inputs[name].double()) for name in NAMES])
        bank = now if bank is None else 0.5 * bank + 0.5 * now
        k = mwam.update(inputs)
        assert k.dtype == torch.float32
        # FRM itself in float32: its denominator can cancel.
        assert torch.allclose(mwam.frm, bank, rtol=2e-2)
        assert torch.allclose(k.double(), allocate(mwam.frm), atol=1e-6)


def test_reference_preset_is_the_authors_procedure():
    mwam = MWAM(NAMES, preset='reference', metric='sum')
    bank = [0., 0.]
    for step in range(4):
        inputs = batch(step)
        # Summed over batch and channels, so 3 channels count 3 times.
        now = [
            frm(inputs[name].double(), metric='sum').item() *
            inputs[name].numel() / 64 * 4 for name in NAMES
        ]
        bank = [.5 * b + .5 * n for b, n in zip(bank, now)]
        mean = sum(bank) / 2
        expected = [
            1.5 - 1 / (1 + math.exp(-10 * (n / (mean + 1e-6) - 1)))
            for n in now
        ] if step else [1., 1.]
        assert mwam.update(inputs).tolist() == pytest.approx(
            expected, abs=1e-5)
        assert mwam.frm.tolist() == pytest.approx(bank, rel=1e-5)


def test_constants_override_the_presets():
    k = MWAM(NAMES, lam=4., gamma=1., alpha=2., beta=1.5)
    inputs = batch(0)
    weights = k.update(inputs)
    assert torch.allclose(
        weights.double(),
        allocate(k.frm, alpha=2., beta=1.5, lam=4., gamma=1.),
        atol=1e-6)


def test_sigma_is_added_to_the_mean():
    k = MWAM(NAMES, metric='sum', sigma=5.)
    weights = k.update(batch(0))
    assert torch.allclose(
        weights.double(), allocate(k.frm, sigma=5.), atol=1e-6)


@pytest.mark.parametrize('preset', ('paper', 'reference'))
def test_no_graph_is_kept(preset):
    mwam = MWAM(NAMES, preset=preset)
    for seed in range(2):
        mwam.update({name: x.requires_grad_()
                     for name, x in batch(seed).items()})
    assert not (mwam.weights.requires_grad or mwam.frm.requires_grad)


def test_absent_samples_do_not_enter_frm():
    inputs = batch(0)
    present = [True, False, True, False]
    expected = MWAM(NAMES)
    expected.update(
        dict(rgb=inputs['rgb'], depth=inputs['depth'][[0, 2]]))
    blank = dict(inputs, depth=inputs['depth'].clone())
    blank['depth'][[1, 3]] = 0
    for given in (None, present, torch.tensor(present)):
        mwam = MWAM(NAMES)
        mwam.update(blank, None if given is None else dict(depth=given))
        assert torch.allclose(mwam.frm, expected.frm, rtol=1e-6)


def test_the_bank_stands_in_for_an_absent_modality():
    mwam = MWAM(NAMES)
    mwam.update(batch(0))
    bank = mwam.frm
    inputs = batch(1)
    inputs['depth'] = torch.zeros_like(inputs['depth'])
    k = mwam.update(inputs)
    assert mwam.frm[1] == bank[1]
    assert mwam.frm[0] == pytest.approx(
        (0.5 * bank[0] + 0.5 * frm(inputs['rgb'])).item(), rel=1e-5)
    assert torch.allclose(k.double(), allocate(mwam.frm), atol=1e-6)


def test_robust_metric_is_pooled_over_the_batch():
    mwam = MWAM(NAMES, metric='robust')
    inputs = batch(0)
    inputs['depth'][1] = 0
    inputs['depth'][2] = 3.7  # constant: present, but says nothing
    k = mwam.update(inputs)
    expected = torch.stack([
        frm(inputs['rgb'], metric='robust'),
        frm(inputs['depth'][[0, 3]], metric='robust')
    ])
    assert torch.allclose(mwam.frm.float(), expected, rtol=1e-5)
    assert torch.allclose(k.double(), allocate(mwam.frm), atol=1e-6)
    # A batch without information leaves the bank as it is.
    bank = mwam.frm
    mwam.update(dict(batch(1), depth=torch.full((4, 1, 24, 32), 3.7)))
    assert mwam.frm[1] == bank[1] and mwam.frm[0] != bank[0]


@pytest.mark.parametrize('interval', (2, 3))
def test_interval_measures_the_first_of_each_n_batches(interval):
    mwam, expected = MWAM(NAMES, interval=interval), MWAM(NAMES)
    for i in range(8):
        inputs = batch(i)
        if i % interval == 0:
            expected.update(inputs)
        if i == 5:  # resumed between two measurements
            state = mwam.state_dict()
            mwam = MWAM(NAMES, interval=interval)
            mwam.load_state_dict(state)
        assert torch.equal(mwam.update(inputs), expected.weights)
        assert torch.equal(mwam.frm, expected.frm)


@pytest.mark.parametrize('bad', (float('nan'), float('inf')))
def test_a_non_finite_input_leaves_the_entry_untouched(bad):
    mwam = MWAM(NAMES)
    mwam.update(batch(0))
    bank = mwam.frm
    inputs = batch(1)
    inputs['depth'][2, 0, 5, 5] = bad
    k = mwam.update(inputs)
    assert mwam.frm[1] == bank[1] and mwam.frm[0] != bank[0]
    assert torch.isfinite(k).all()


@pytest.mark.parametrize('preset', ('paper', 'reference'))
def test_weight_is_one_until_seen(preset):
    mwam = MWAM(('rgb', 'depth', 'thermal'), preset=preset)
    assert mwam.weights.tolist() == [1., 1., 1.]
    for seed in range(3):
        k = mwam.update(batch(seed))
        assert k[2] == 1. and math.isnan(mwam.frm[2])
    # The others are allocated among themselves.
    if preset == 'paper':
        assert torch.allclose(
            k[:2].double(), allocate(mwam.frm[:2]), atol=1e-6)
    k = mwam.update(
        dict(batch(3), thermal=torch.randn(4, 1, 24, 32)))
    assert (k[2] == 1.) == (preset == 'reference')


def test_state_dict_continues_exactly():
    a = MWAM(NAMES)
    for seed in range(3):
        a.update(batch(seed))
    b = MWAM(NAMES)
    b.load_state_dict(a.state_dict())
    assert torch.equal(a.weights, b.weights)
    for seed in range(3, 6):
        assert torch.equal(a.update(batch(seed)), b.update(batch(seed)))
        assert torch.equal(a.frm, b.frm)


def test_state_goes_by_name():
    a, b = MWAM(NAMES), MWAM(NAMES[::-1])
    a.update(batch(0))
    b.load_state_dict(a.state_dict())
    assert torch.equal(a.frm, b.frm.flip(0))
    assert torch.equal(a.update(batch(1)), b.update(batch(1)).flip(0))


class NoFloat64(TorchDispatchMode):
    """A type of device without float64."""

    def __init__(self, device):
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for x in result if isinstance(result, (list, tuple)) else [result]:
            if isinstance(x, torch.Tensor) and x.device.type == self.device:
                assert x.dtype != torch.float64, func
        return result


@pytest.mark.parametrize('preset,metric', [('paper', 'ratio'),
                                           ('paper', 'robust'),
                                           ('reference', 'sum')])
def test_devices_without_float64(preset, metric, monkeypatch):
    # Meta tensors have no values either, so nothing can wait for one.
    monkeypatch.setattr(FRM, 'WITHOUT_FLOAT64', ('mps', 'meta'))
    saved = MWAM(NAMES, preset=preset, metric=metric)
    saved.update(batch(0))
    assert saved.frm.dtype == torch.float64
    with NoFloat64('meta'):
        mwam = MWAM(NAMES, preset=preset, metric=metric)
        for present in (None, dict(depth=[True, False, True, True]),
                        dict(rgb=torch.ones(4, dtype=torch.bool))):
            k = mwam.update(
                {name: x.to('meta') for name, x in batch(0).items()}, present)
            assert k.device.type == 'meta' and k.dtype == torch.float32
        mwam.load_state_dict(saved.state_dict())
        assert mwam.bank.values.device.type == 'meta'
        mwam.update({name: x.to('meta') for name, x in batch(1).items()})


def test_sums_in_float32_are_nearly_the_same(monkeypatch):
    expected = MWAM(NAMES, metric='sum')
    expected.update(batch(0))
    monkeypatch.setattr(FRM, 'WITHOUT_FLOAT64', ('cpu', ))
    mwam = MWAM(NAMES, metric='sum')
    mwam.load_state_dict(expected.state_dict())
    with NoFloat64('cpu'):
        mwam.update(batch(1))
    assert mwam.frm.dtype == torch.float32
    expected.update(batch(1))
    torch.testing.assert_close(mwam.frm.double(), expected.frm, rtol=1e-5,
                               atol=0)
    # back to where there is float64
    monkeypatch.undo()
    resumed = MWAM(NAMES, metric='sum')
    resumed.load_state_dict(mwam.state_dict())
    assert resumed.frm.dtype == torch.float64
    torch.testing.assert_close(resumed.update(batch(2)),
                               expected.update(batch(2)))


def test_state_is_loaded_to_where_the_inputs_are():
    state = MWAM(NAMES)
    state.update(batch(0))
    mwam = MWAM(NAMES).to('meta')
    mwam.load_state_dict(state.state_dict())
    for x in (mwam.weights, mwam.bank.values, mwam.bank.seen, mwam.abnormal):
        assert x.device.type == 'meta'


def test_moving_keeps_what_was_observed():
    mwam, expected = MWAM(NAMES), MWAM(NAMES)
    for name, x in batch(0).items():
        mwam.observe([(name, x, None)])
        mwam.to('cpu')
    assert torch.equal(mwam.step(), expected.update(batch(0)))


def test_saved_state_does_not_change_with_later_batches():
    mwam = MWAM(NAMES)
    mwam.update(batch(0))
    state, copy = mwam.state_dict(), pickle.loads(pickle.dumps(mwam))
    before = state['bank']['values'].tolist()
    k = mwam.update(batch(1))
    assert state['bank']['values'].tolist() == before == copy.frm.tolist()
    assert torch.equal(copy.update(batch(1)), k)


def test_bad_numbers_are_noted_with_the_robust_metric_too():
    mwam = MWAM(NAMES, metric='robust')
    inputs = batch(0)
    inputs['depth'][0, 0, 0, 0] = math.nan
    mwam.update(inputs)
    assert mwam.abnormal.tolist() == [False, True]
    assert mwam.weights[1] == 1 and mwam.frm[1].isnan()


def test_state_of_other_modalities_is_refused():
    state = MWAM(('rgb', 'thermal')).state_dict()
    with pytest.raises(ValueError, match='thermal.*depth'):
        MWAM(NAMES).load_state_dict(state)


def test_state_of_another_metric_is_refused():
    state = MWAM(NAMES).state_dict()
    for kwargs in (dict(metric='robust'), dict(preset='reference')):
        with pytest.raises(ValueError, match='load_from instead of resume'):
            MWAM(NAMES, **kwargs).load_state_dict(state)
    MWAM(NAMES, lam=3., momentum=0.9).load_state_dict(state)


def test_bands_are_measured_beside_frm():
    mwam, expected = MWAM(NAMES, bands=True), MWAM(NAMES)
    assert mwam.frm_of_bands.shape == (2, 2)
    assert mwam.frm_of_bands.isnan().all()
    banks = None
    for seed in range(4):
        inputs = {name: x.double() for name, x in batch(seed).items()}
        now = torch.tensor([[frm(inputs[name], band=band) for name in NAMES]
                            for band in (1, 2)], dtype=torch.float64)
        banks = now if banks is None else .5 * banks + .5 * now
        if seed == 2:
            state = pickle.loads(pickle.dumps(mwam.state_dict()))
            mwam = MWAM(NAMES[::-1], bands=True)
            mwam.load_state_dict(state)
            mwam.update(inputs)
            state = mwam.state_dict()
            mwam = MWAM(NAMES, bands=True)
            mwam.load_state_dict(state)
        else:
            mwam.update(inputs)
        assert torch.equal(mwam.weights, expected.update(inputs))
        assert torch.equal(mwam.frm, expected.frm)
        torch.testing.assert_close(mwam.frm_of_bands, banks, rtol=1e-9, atol=0)
    assert expected.frm_of_bands.shape == (0, 2)
    # Bands are only for the log, so a state without them will do.
    mwam.load_state_dict(expected.state_dict())
    with pytest.raises(ValueError, match='bands=True.*low 4 and'):
        MWAM(NAMES, block_size=4, bands=True)


@pytest.mark.parametrize('options', [dict(), dict(preset='reference'),
                                     dict(bands=True)])
def test_kernels_only_for_what_they_compute(options, monkeypatch):
    kernels = SimpleNamespace(FusedUpdate=lambda *args, **kwargs: 'kernels')
    monkeypatch.setattr(sys.modules['mwam_mm.mwam.mwam'], 'kernels_for',
                        lambda device: kernels)
    mwam = MWAM(NAMES, **options)
    monkeypatch.setattr(MWAM, '_reset', lambda self: None)
    mwam.to('cpu')
    assert mwam._fused == (None if options else 'kernels')


def test_an_empty_batch_is_of_no_modality():
    mwam = MWAM(NAMES)
    k = mwam.update(dict(batch(0), depth=torch.zeros(0, 1, 24, 32)))
    assert k[NAMES.index('depth')] == 1 and k[NAMES.index('rgb')] != 1


def test_wrong_arguments():
    for kwargs in (dict(preset='other'), dict(metric='other'),
                   dict(flip='other'), dict(momentum=1.), dict(beta=2.),
                   dict(patch_size=1), dict(patch_size=8.), dict(interval=0),
                   dict(interval=1.5), dict(sigma=0.), dict(sigma=-1.),
                   dict(lam=math.nan), dict(gamma=math.inf),
                   dict(metric='robust', preset='reference')):
        with pytest.raises(ValueError):
            MWAM(NAMES, **kwargs)
    with pytest.raises(ValueError, match='distinct'):
        MWAM(('rgb', 'rgb'))
    with pytest.raises(ValueError, match='thermal'):
        MWAM(NAMES).observe([('thermal', torch.zeros(1, 1, 8, 8), None)])
    for present in ([True], torch.ones(3, dtype=torch.bool)):
        with pytest.raises(ValueError, match='"rgb".*of [13] samples.*of 2'):
            MWAM(NAMES).observe([('rgb', torch.zeros(2, 3, 8, 8), present)])


def _rank(rank, out):
    mwam = MWAM(NAMES)
    for seed in range(3):
        inputs = batch(seed)
        # Uneven, and the second rank has no depth at all in step 1.
        part = slice(0, 3) if rank == 0 else slice(3, 4)
        if seed == 1:
            inputs['depth'][3] = 0
        mwam.update({name: x[part] for name, x in inputs.items()})
    torch.save((mwam.weights, mwam.frm), f'{out}.{rank}')


def test_weights_do_not_depend_on_the_split_over_ranks(tmp_path):
    run_ranks(_rank, tmp_path / 'out')
    single = MWAM(NAMES)
    for seed in range(3):
        inputs = batch(seed)
        if seed == 1:
            inputs['depth'][3] = 0
        single.update(inputs)
    for rank in range(2):
        weights, values = torch.load(tmp_path / f'out.{rank}')
        assert torch.allclose(values, single.frm, rtol=1e-12)
        assert torch.equal(weights, single.weights)


def test_importable_without_openmmlab():
    code = '\n'.join([
        'import sys',
        "for name in ('mmengine', 'mmcv', 'mmseg', 'mmdet'):",
        '    sys.modules[name] = None',
        'import torch',
        'from mwam_mm.mwam import MWAM',
        "print(MWAM(['a']).update(dict(a=torch.randn(1, 1, 8, 8))).shape)",
    ])
    result = subprocess.run([sys.executable, '-c', code],
                            capture_output=True,
                            text=True,
                            env=dict(os.environ))
    assert result.returncode == 0, result.stderr
    assert 'torch.Size([1])' in result.stdout


def test_kernels_that_fail_are_done_without(monkeypatch):
    core = sys.modules['mwam_mm.mwam.mwam']

    def try_out(device):
        raise OSError('no compiler')

    broken = SimpleNamespace(try_out=try_out)
    monkeypatch.setattr(
        'mwam_mm.mwam.mwam_triton', broken, raising=False)
    monkeypatch.setattr(core, 'loop_for', lambda device: broken)
    monkeypatch.setattr(
        torch.cuda, 'get_device_capability', lambda device: (9, 0))
    device = torch.device('cuda', 99)
    with pytest.warns(UserWarning, match='takes longer: no compiler'):
        assert core.kernels_for(device) is None
    assert core.kernels_for(torch.device('cpu')) is None


def test_the_state_of_another_weigher():
    with pytest.raises(ValueError, match=r"no \['bank'.*another weigher"):
        MWAM(['rgb', 'depth']).load_state_dict(dict(modality_heads={}))
