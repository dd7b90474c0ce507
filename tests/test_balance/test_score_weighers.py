"""OGM, OPM and AGM against numbers worked out by hand."""
from math import exp, log, tanh

import pytest
import torch

from mwam_mm.balance.predictions import loss_of
from mwam_mm.balance.scores import Scores
from mwam_mm.registry import WEIGHERS

from .hand import IGNORED, HandHost, labels, odds, signal

TWO, THREE = ('rgb', 'depth'), ('rgb', 'depth', 'thermal')
# p(y) of the second class at two pixels, and one that is ignored.
RGB, DEPTH, THERMAL = (.8, .4, .9), (.5, .1, .9), (.1, .2, .9)
LABELS = labels(1, 1, IGNORED)
# Means over the pixels that are not ignored.
P_RGB, P_DEPTH, P_THERMAL = 0.6, 0.3, 0.15


def two():
    return signal(dict(rgb=odds(*RGB), depth=odds(*DEPTH)), LABELS)


def three():
    return signal(
        dict(rgb=odds(*RGB), depth=odds(*DEPTH), thermal=odds(*THERMAL)),
        LABELS)


def weigh(weigher, *signals):
    for one in signals:
        weigher.observe(one)
        k = weigher.step()
    return k.tolist()


def build(type, modalities, **kwargs):
    return WEIGHERS.get(type)(modalities, **kwargs)


def test_ogm_of_two():
    # rho = 0.6 / 0.3 = 2 and 0.5
    k = weigh(build('OGM', TWO, alpha=0.8), two())
    assert k == pytest.approx([1 - tanh(0.8 * 2), 1], rel=1e-5)
    weigher = build('OGM', TWO)
    assert weigh(weigher, two()) == pytest.approx([1 - tanh(0.2), 1])
    assert weigher.scalars()['score'].tolist() == pytest.approx(
        [P_RGB, P_DEPTH])


def test_ogm_of_three():
    # rgb: (0.6/0.3 + 0.6/0.15) / 2 = 3, depth: (0.3/0.6 + 0.3/0.15) / 2 =
    # 1.25, thermal: (0.15/0.6 + 0.15/0.3) / 2 = 0.375
    k = weigh(build('OGM', THREE, alpha=0.3), three())
    assert k == pytest.approx([1 - tanh(0.9), 1 - tanh(0.375), 1], rel=1e-5)
    # to the smallest: 4, 2 and 1
    k = weigh(build('OGM', THREE, alpha=0.3, ratio='smallest'), three())
    assert k == pytest.approx([1 - tanh(1.2), 1 - tanh(0.6), 1], rel=1e-5)


def test_opm_of_two_and_three():
    # rho as of OGM; q = q_base (1 + lam tanh(rho - 1)) where it is above 1
    k = weigh(build('OPM', TWO), two())
    assert k == pytest.approx(
        [1 - 0.7 * 0.5 * (1 + 0.5 * tanh(1)), 1], rel=1e-5)
    k = weigh(build('OPM', THREE, q_base=0.4, p_exe=1.), three())
    assert k == pytest.approx([
        1 - 0.4 * (1 + 0.5 * tanh(2)), 1 - 0.4 * (1 + 0.5 * tanh(0.25)), 1
    ], rel=1e-5)
    # At the ends of their ranges.
    assert weigh(build('OPM', TWO, q_base=0., lam=0.), two()) == [1, 1]
    assert weigh(build('OPM', TWO, q_base=1., p_exe=1.), two()) == [0, 1]


def test_scores_by_class():
    """The first class has three pixels, the second one."""
    # p of the first class is 0.9, 0.9, 0.9; of the second 0.2
    x = signal(dict(rgb=odds(.1, .1, .1, .2)), labels(0, 0, 0, 1))
    for class_mean, expected in ((False, (3 * 0.9 + 0.2) / 4),
                                 (True, (0.9 + 0.2) / 2)):
        scores = Scores(['rgb'], class_mean=class_mean)
        scores.observe(x)
        assert scores.step().exp().item() == pytest.approx(expected)
    # A class without a pixel is none of them.
    scores.observe(signal(dict(rgb=odds(.1, .3)), labels(0, 0)))
    assert scores.step().exp().item() == pytest.approx((0.9 + 0.7) / 2)


@pytest.mark.parametrize('align_corners, places', [
    (True, (0, 1 / 3, 2 / 3, 1)), (False, (0, 0.25, 0.75, 1))])
def test_scores_at_the_pixels_of_the_labels(align_corners, places):
    """Two pixels become four as the head resizes; one is ignored."""
    host = HandHost()
    host.model.decode_head.align_corners = align_corners
    host.model.decode_head.ignore_index = 7
    scores = Scores(['rgb'])
    scores.observe(
        signal(dict(rgb=odds(.9, .2)), labels(1, 1, 1, 7), host))
    a, b = log(.9 / .1), log(.2 / .8)
    expected = [1 / (1 + exp(-a - t * (b - a))) for t in places[:3]]
    assert scores.step().exp().item() == pytest.approx(sum(expected) / 3)


def test_what_is_not_finite_does_not_count(monkeypatch):
    """One pixel of two; one rank of two, the other with a loss of 3."""
    scores = Scores(['rgb'])
    scores.observe(signal(dict(rgb=odds(.8, float('nan'))), labels(1, 1)))
    assert scores.step().exp().item() == pytest.approx(0.8)
    scores = Scores(['rgb'], score='loss')
    scores.observe(
        signal(dict(rgb=odds(float('nan'))), labels(1),
               HandHost(segmentor=False)))
    of_other_rank = iter([3., 1.])
    monkeypatch.setattr('mwam_mm.balance.scores.all_reduce',
                        lambda x: x.add_(next(of_other_rank)))
    assert scores.step().item() == pytest.approx(-3)


def test_scores_of_losses():
    """On a model without a map of logits; also of chosen losses."""
    # the last channel is the logit of odds(), the first one 0
    host = HandHost(segmentor=False)
    x = signal(dict(rgb=odds(.75), depth=odds(.5)), labels(1), host)
    k = weigh(build('OGM', TWO, alpha=0.1), x)
    # losses log 3 and 0: exp(-loss) is 1/3 and 1
    assert k == pytest.approx([1, 1 - tanh(0.1 * 3)], rel=1e-5)
    k = weigh(build('OGM', TWO, alpha=0.1, losses='loss_box'), x)
    assert k == [1, 1]
    # What has no "loss" in its name, as acc, is none.
    k = weigh(build('OGM', TWO, alpha=0.1, losses='c'), x)
    assert k == pytest.approx([1, 1 - tanh(0.1 * 3)], rel=1e-5)
    with pytest.raises(ValueError, match="'loss_iou'.*loss_cls"):
        weigh(build('OGM', TWO, losses='loss_iou'), x)
    for type in ('OGM', 'AGM'):
        with pytest.raises(ValueError, match='score="loss"'):
            weigh(build(type, TWO, score='probability'), x)


@pytest.mark.parametrize('type', ['OGM', 'AGM'])
def test_the_kind_of_score(type):
    """'auto' takes probabilities where there are any."""
    expected = weigh(build(type, THREE), three(), three())
    assert weigh(build(type, THREE, score='probability'), three(),
                 three()) == expected
    assert weigh(build(type, THREE, score='loss'), three(),
                 three()) == weigh(build(type, THREE), *(
                     signal(x.outputs.features, LABELS,
                            HandHost(segmentor=False))
                     for x in (three(), three())))
    # A loss that is not there counts for nothing.
    without = signal(
        dict(rgb=odds(*RGB), depth=None), LABELS, HandHost(segmentor=False))
    assert weigh(build(type, TWO), without) == [1, 1]


def test_losses_have_no_classes():
    scores = Scores(['rgb'], class_mean=True)
    with pytest.raises(ValueError, match='class_mean=True needs'):
        scores.observe(signal(
            dict(rgb=odds(.8)), labels(1), HandHost(segmentor=False)))


def test_agm_moves_with_what_it_knows():
    weigher = build('AGM', TWO)
    weigh(weigher, two())
    before = weigher.scalars()['score'].tolist()
    weigher.to(torch.device('cpu'))
    assert weigher.scalars()['score'].tolist() == before


@pytest.mark.parametrize('type', ['OGM', 'OPM', 'AGM'])
def test_a_modality_that_is_away(type):
    """It keeps its score; one that never came has none, and K is 1."""
    without = signal(dict(rgb=odds(*RGB), depth=None), LABELS)
    assert weigh(build(type, TWO), without) == [1, 1]
    weigher = build(type, TWO)
    before = weigh(weigher, two())
    after = weigh(weigher, without)
    if type != 'AGM':  # whose reference moves
        assert after == pytest.approx(before)
    assert weigher.scalars()['score'][1].isfinite()
    # Only the samples that have it count.
    mixed = signal(
        dict(rgb=torch.cat([odds(*RGB)] * 2),
             depth=torch.cat([odds(*DEPTH), torch.zeros(1, 2, 1, 3)])),
        LABELS.repeat(2, 1, 1),
        present=dict(rgb=[True, True], depth=[True, False]))
    score = build(type, TWO)
    weigh(score, mixed)
    whole = build(type, TWO)
    weigh(whole, two())
    torch.testing.assert_close(score.scalars()['score'],
                               whole.scalars()['score'])
    assert loss_of(mixed, 'depth')[0] == [0]
    assert loss_of(mixed, 'depth', 'rgb')[0] == [0, 1]


def test_three_of_which_one_never_came():
    """The others are compared with each other."""
    first, second = (
        signal(dict(rgb=odds(*p), depth=odds(*DEPTH), thermal=None), LABELS)
        for p in (RGB, (.9, .9, .9)))
    for ratio in ('mean', 'smallest'):
        # rho = 0.6 / 0.3 of rgb
        k = weigh(build('OGM', THREE, alpha=0.8, ratio=ratio), first)
        assert k == pytest.approx([1 - tanh(1.6), 1, 1], rel=1e-5)
    assert weigh(build('AGM', THREE), first, second) == [1, 1, 1]


def entropy(*probabilities):
    """Of the second class, the mean over pixels."""
    return -sum(map(log, probabilities)) / len(probabilities)


def shifted(p, by):
    """The probability after the logit has grown."""
    logit = log(p / (1 - p)) + by
    return 1 / (1 + exp(-logit))


def test_agm_of_two():
    """The logits of both are the sum of those of each, and 1 more.

    phi_rgb = 1/2 (o(both) - o(depth) + o(rgb)) = o(rgb) + 1/2.
    """
    first = signal(dict(rgb=odds(.8, .4), depth=odds(.5, .1)), labels(1, 1),
                   HandHost(together=1.))
    second = signal(dict(rgb=odds(.9, .5), depth=odds(.5, .3)), labels(1, 1),
                    HandHost(together=1.))
    weigher = build('AGM', TWO, alpha=1.5)
    # The first batch is its own reference.
    assert weigh(weigher, first) == pytest.approx([1, 1])
    s1 = [entropy(shifted(.8, .5), shifted(.4, .5)),
          entropy(shifted(.5, .5), shifted(.1, .5))]
    s2 = [entropy(shifted(.9, .5), shifted(.5, .5)),
          entropy(shifted(.5, .5), shifted(.3, .5))]
    mean = [(a + b) / 2 for a, b in zip(s1, s2)]
    # M / (M - 1) (mean - s) is the difference to the other one.
    expected = [
        exp(-1.5 * (exp(s2[1] - s2[0]) - exp(mean[1] - mean[0]))),
        exp(-1.5 * (exp(s2[0] - s2[1]) - exp(mean[0] - mean[1])))
    ]
    assert weigh(weigher, second) == pytest.approx(expected, rel=1e-4)
    assert expected[0] != pytest.approx(1, abs=0.1)
    # The subsets ran once each.
    assert sorted(second.host.calls[-3:]) == [('depth', ), ('rgb', ),
                                              ('rgb', 'depth')]


def test_agm_of_three():
    """The logits of n are the sum of theirs, and n - 1 more.

    Each modality's share of the 2 in the complete set is 2/3: of nothing 0,
    in two orders out of six 0, in the other four 1.
    """
    p = dict(rgb=(.8, .4), depth=(.5, .1), thermal=(.1, .2))
    q = dict(rgb=(.9, .5), depth=(.5, .3), thermal=(.1, .6))
    weigher = build('AGM', THREE, alpha=1.)
    k = weigh(weigher, *(
        signal({n: odds(*v) for n, v in x.items()}, labels(1, 1),
               HandHost(together=1.)) for x in (p, q)))
    s1, s2 = ([entropy(*(shifted(v, 2 / 3) for v in x[n])) for n in THREE]
              for x in (p, q))
    mean = [(a + b) / 2 for a, b in zip(s1, s2)]

    def ratios(s):
        return [exp(1.5 * (sum(s) / 3 - x)) for x in s]

    expected = [exp(-(r - t)) for r, t in zip(ratios(s2), ratios(mean))]
    assert k == pytest.approx(expected, rel=1e-4)


def test_agm_of_losses():
    """Without logits it goes by the losses of each alone; K has its cap."""
    def losses(*values):
        return signal(
            {n: torch.tensor([0., v]).view(1, 2, 1, 1)
             for n, v in zip(TWO, values)}, labels(1),
            HandHost(segmentor=False))

    weigher = build('AGM', TWO, alpha=1., cap=0.5)
    k = weigh(weigher, losses(2., 2.), losses(2., 1.))
    # means 2 and 1.5: r = exp(-1), exp(1); tau = exp(-0.5), exp(0.5)
    assert k == pytest.approx(
        [exp(exp(-0.5) - exp(-1)), exp(exp(0.5) - exp(1))], rel=1e-5)
    # means 1.5 and 1.5: tau = 1, r = exp(-3), exp(3)
    k = weigh(build('AGM', TWO, alpha=1., cap=0.5), losses(0., 3.),
              losses(3., 0.))
    assert k == pytest.approx([exp(0.5), exp(1 - exp(3))], rel=1e-4)
    # Of chosen losses, which are 0 here.
    weigher = build('AGM', TWO, losses='loss_box')
    assert weigh(weigher, losses(2., 2.), losses(2., 1.)) == [1, 1]
    # Also of losses whose exponential no float32 holds.
    weigher = build('AGM', TWO)
    assert weigh(weigher, losses(0., 999.)) == [1, 1]
    k = weigh(weigher, losses(999., 0.))
    assert k == pytest.approx([exp(1), 0], rel=1e-4)
    # means 3 and 6: tau = exp(3), so that the exponent would be 20
    k = weigh(build('AGM', TWO), losses(0., 9.), losses(0., 9.),
              losses(9., 0.))
    assert k == pytest.approx([exp(10), 0], rel=1e-4)


def test_a_probability_that_float32_rounds_to_0():
    """It counts as 1e-8. The logits of both are the sum of those of each."""
    x = signal(dict(rgb=-200 * odds(.8), depth=odds(.5)), labels(1))
    agm, ogm = build('AGM', TWO), build('OGM', TWO, alpha=1e-8)
    weigh(agm, x)
    assert agm.scalars()['score'].tolist() == pytest.approx(
        [log(1e8), log(2)], rel=1e-5)
    # rho = 0.5 / 1e-8
    assert weigh(ogm, x) == pytest.approx([1, 1 - tanh(0.5)], rel=1e-5)


@pytest.mark.parametrize('segmentor', [True, False])
def test_a_score_that_is_not_finite_says_nothing(segmentor):
    def batch(rgb):
        return signal(dict(rgb=rgb, depth=odds(.5)), labels(1),
                      HandHost(segmentor=segmentor))

    for type in ('OGM', 'AGM'):
        weigher = build(type, TWO)
        assert weigher.scalars()['score'].isnan().all()
        weigh(weigher, batch(odds(.8)))
        before = weigher.scalars()['score'].tolist()
        weigh(weigher, batch(torch.full((1, 2, 1, 1), float('nan'))))
        assert weigher.scalars()['score'].tolist() == before


@pytest.mark.parametrize('type', ['OGM', 'OPM', 'AGM'])
def test_a_forward_without_labels_says_nothing(type):
    for call in (dict(mode='tensor', data_samples=None),
                 dict(mode='predict')):
        other = two()
        other.arguments.update(call)
        assert weigh(build(type, TWO), other) == [1, 1]
        weigher = build(type, TWO)
        assert weigh(weigher, two()) == weigh(weigher, other)


@pytest.mark.parametrize('type', ['OGM', 'OPM', 'AGM'])
def test_the_state_goes_on(type):
    one, twin = build(type, TWO), build(type, TWO)
    weigh(one, two())
    twin.load_state_dict(one.state_dict())
    without = signal(dict(rgb=odds(.7, .6, .5), depth=None), LABELS)
    assert weigh(one, without) == weigh(twin, without)


@pytest.mark.parametrize('type, kwargs, message', [
    ('OGM', dict(alpha=0), 'OGM.alpha.*positive'),
    ('OGM', dict(ratio='least'), "OGM.ratio='least'"),
    ('OGM', dict(score='accuracy'), "'accuracy'"),
    ('OGM', dict(score='loss', class_mean=True), 'class_mean'),
    ('OPM', dict(q_base=1.5), r'OPM.q_base.*\[0, 1\]'),
    ('OPM', dict(lam=-1), 'OPM.lam'),
    ('AGM', dict(alpha=-1), 'AGM.alpha'),
    ('AGM', dict(cap=float('inf')), 'AGM.cap.*finite'),
    ('AGM', dict(score='x'), "AGM.score='x'"),
])
def test_arguments_that_cannot_be(type, kwargs, message):
    with pytest.raises(ValueError, match=message):
        build(type, TWO, **kwargs)


def test_agm_of_one_modality():
    with pytest.raises(ValueError, match='AGM compares'):
        build('AGM', ['rgb'])
