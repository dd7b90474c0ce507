"""MSLR and MSES against numbers worked out by hand."""

import pytest
import torch
from torch import nn

from mwam_mm.registry import WEIGHERS

TWO, THREE = ('rgb', 'depth'), ('rgb', 'depth', 'thermal')


def build(type, modalities, **kwargs):
    return WEIGHERS.get(type)(modalities, metric='mIoU', **kwargs)


def validate(weigher, *values):
    """One validation; the complete row is not to matter."""
    weigher.observe_metrics({
        '+'.join(weigher.modalities) + '/mIoU': 99.,
        **{f'{n}/mIoU': v for n, v in zip(weigher.modalities, values)}})
    return weigher.step().tolist()


def test_mslr_of_two():
    weigher = build('MSLR', TWO, k=dict(rgb=0.9, depth=1.1), length=3)
    assert weigher.step().tolist() == pytest.approx([0.9, 1.1])
    assert validate(weigher, 40., 10.) == pytest.approx([0.9, 1.1])
    # means 50 and 15
    assert validate(weigher, 60., 20.) == pytest.approx(
        [0.9 * 60 / 50, 1.1 * 20 / 15])
    validate(weigher, 50., 30.)
    # the last three: 60, 50, 40 and 20, 30, 10
    assert validate(weigher, 40., 10.) == pytest.approx(
        [0.9 * 40 / 50, 1.1 * 10 / 20])


def test_mslr_of_three():
    weigher = build('MSLR', THREE)
    validate(weigher, 40., 0., 10.)
    # An undefined value says nothing, and 0 on average leaves k.
    for undefined in (None, float('nan')):
        other = build('MSLR', THREE)
        other.load_state_dict(weigher.state_dict())
        assert validate(other, 60., 0., undefined) == pytest.approx(
            [1.2, 1, 1])
    validate(weigher, 60., 0., None)
    twin = build('MSLR', THREE)
    twin.load_state_dict(weigher.state_dict())
    assert validate(twin, 50., 6., 30.) == validate(weigher, 50., 6., 30.)
    # means 50, 2, 20
    assert weigher.step().tolist() == pytest.approx([1, 3, 1.5])


def test_mslr_of_shares():
    weigher = build('MSLR', ['rgb'])
    assert [validate(weigher, x)[0] for x in (.4, .6)] == pytest.approx(
        [1, .6 / .5])


def test_mslr_compares_five_validations():
    weigher = build('MSLR', ['rgb'])
    ks = [validate(weigher, x) for x in (90., 10., 20., 30., 40., 50.)]
    assert ks[-1] == pytest.approx([50 / 30])


class Lists(nn.ModuleDict):
    """Branches that are lists, which are not called themselves."""

    def forward(self, x):
        for conv, norm in self.values():
            norm(conv(x))


class Branches:
    """As a probe, of modules with a parameter and BatchNorm."""

    def __init__(self, names):
        self.model = Lists({
            n: nn.ModuleList([nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)])
            for n in names
        })
        self.modules = {n: [m] for n, m in self.model.items()}
        self.branches = {n: list(m.parameters())
                         for n, m in self.model.items()}

    def train(self, step):
        """Change everything; returns the states by modality."""
        self.model.train()
        with torch.no_grad():
            for p in self.model.parameters():
                p += 1
        self.model(torch.full((2, 1, 3, 3), float(step)))
        return {
            name: {k: v.clone() for k, v in module.state_dict().items()}
            for name, module in self.model.items()
        }


def same(a, b):
    return all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize('names', [TWO, THREE])
def test_mses(names):
    """Patience 2. rgb is best at the second validation and worse at the
    third and fourth; the others always improve."""
    probe = Branches(names)
    weigher = build('MSES', names, patience=2)
    weigher.attach(probe)
    others = len(names) - 1
    for i, rgb in enumerate((30., 50., 50., 40.)):
        states = probe.train(i)
        if i == 1:
            best = states['rgb']
        k = validate(weigher, rgb, *[10. * i] * others)
        assert k == [0. if i == 3 else 1., *[1.] * others]
    rgb, depth = probe.modules['rgb'][0], probe.modules['depth'][0]
    assert same(rgb.state_dict(), best)
    assert same(depth.state_dict(), states['depth'])
    # From now on its statistics stay, in spite of training mode.
    probe.model.train()
    probe.model(torch.randn(2, 1, 3, 3))
    assert same(rgb.state_dict(), best) and not rgb[1].training
    assert not same(depth.state_dict(), states['depth'])
    # A better value comes too late.
    assert validate(weigher, 90., *[90.] * others)[0] == 0
    # And so it is after resuming.
    twin = build('MSES', names, patience=2)
    twin.attach(probe)
    twin.load_state_dict(weigher.state_dict())
    assert twin.step().tolist() == weigher.step().tolist()
    weigher.detach()
    rgb.train()
    probe.model(torch.randn(2, 1, 3, 3))
    assert same(rgb.state_dict(), best)
    twin.detach()
    rgb.train()
    probe.model(torch.randn(2, 1, 3, 3))
    assert rgb[1].training


def test_mses_compares_smoothed_values():
    """0.6 of the value before: 50, 0.6 50 + 0.4 60 = 54, 0.6 60 + 0.4 46 =
    54.4 improves, and 0.6 46 + 0.4 58 = 50.8 does not."""
    weigher = build('MSES', ['rgb'], patience=1, smoothing=0.6)
    weigher.attach(Branches(['rgb']))
    assert [validate(weigher, x)[0] for x in (50., 60., 46., 58.)] == [
        1, 1, 1, 0
    ]


def test_mses_waits_for_validations_in_a_row():
    """One that is better starts anew, and one without a value is none."""
    weigher = build('MSES', ['rgb'], patience=2)
    weigher.attach(Branches(['rgb']))
    values = (50., 40., 60., 60., None, float('nan'), 70., 60., 60.)
    assert [validate(weigher, x)[0] for x in values] == [1] * 8 + [0]


@pytest.mark.parametrize('kwargs', [
    dict(metric='MAE'),
    dict(metric='roughness', higher_is_better=False),
    dict(metric='IoU', higher_is_better=False),  # counts before the name
])
def test_mses_where_lower_is_better(kwargs):
    weigher = WEIGHERS.get('MSES')(['rgb'], patience=1, **kwargs)
    weigher.attach(Branches(['rgb']))
    ks = []
    for value in (3., 2., 2.5):
        weigher.observe_metrics({f'rgb/{kwargs["metric"]}': value})
        ks.append(weigher.step().item())
    assert ks == [1, 1, 0]


@pytest.mark.parametrize('type, kwargs', [('MSLR', {}),
                                          ('MSES', dict(patience=1))])
def test_a_validation_of_the_complete_set_only(type, kwargs):
    weigher = build(type, TWO, **kwargs)
    with pytest.raises(ValueError, match=r"rgb/mIoU.*MissingModalityValLoop"):
        weigher.observe_metrics({'mIoU': 50.})


@pytest.mark.parametrize('type, kwargs, message', [
    ('MSLR', dict(k=dict(rgb=1.)), r"\['rgb'\].*\['rgb', 'depth'\]"),
    ('MSLR', dict(k=dict(rgb=1., depth=0.)), 'positive.*depth'),
    ('MSLR', dict(k=dict(rgb=1., depth=float('inf'))), 'finite.*depth'),
    ('MSLR', dict(length=0), 'MSLR.length'),
    ('MSES', dict(patience=0), 'MSES.patience'),
    ('MSES', dict(patience=1, smoothing=1.), 'MSES.smoothing'),
])
def test_arguments_that_cannot_be(type, kwargs, message):
    with pytest.raises(ValueError, match=message):
        build(type, TWO, **kwargs)


def test_a_metric_of_which_nobody_knows_what_is_better():
    with pytest.raises(ValueError, match='higher_is_better'):
        WEIGHERS.get('MSES')(TWO, metric='roughness', patience=1)


def test_mslr_by_a_metric_that_falls():
    with pytest.raises(ValueError, match="MSLR.metric='acer' falls"):
        WEIGHERS.get('MSLR')(TWO, metric='acer')
