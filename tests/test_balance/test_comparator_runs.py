"""Each comparator in real training runs, and their resuming."""
import copy
from math import exp, tanh

import pytest
import torch
from mmengine.runner import Runner

from mwam_mm.balance import Weigher
from mwam_mm.engine.missing_modality_loops import MissingModalityLoop
from mwam_mm.registry import WEIGHERS

from .. import tiny

SGD = dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9))
OGM = dict(type='mwam_mm.OGM', alpha=0.8)
AGM = dict(type='mwam_mm.AGM')
MSLR = dict(type='mwam_mm.MSLR', metric='mIoU')
MSES = dict(type='mwam_mm.MSES', metric='mIoU', patience=1)
ONE = dict(type='mwam_mm.Constant')
METHODS = {
    'OGM': (OGM, 'gradient'),
    'OGM-GE': (OGM, ['gradient', 'noise']),
    'OGM-GE as released': (OGM, dict(type='noise', scale=True)),
    'OGM by loss': (dict(OGM, score='loss'), 'update'),
    'OGM by class': (dict(OGM, class_mean=True), 'update'),
    'AGM': (AGM, 'gradient'),
    'AGM by loss': (dict(AGM, score='loss'), 'update'),
    'OPM': (dict(type='OPM', q_base=1.), dict(type='dropout', draw='each')),
    'MSLR': (MSLR, 'update'),
    'MSES': (MSES, 'update'),
    'LFM': (ONE, 'lfm'),
    'MMPareto': (ONE, 'mmpareto'),
    'MMPareto by K': (OGM, ['gradient', 'mmpareto']),
}


def config(work_dir, weigher, intervention, max_iters=6, **window):
    """Checkpoints after three iterations, validations after two."""
    hook = dict(
        type='mwam_mm.BalanceHook', weigher=weigher,
        intervention=intervention, **window)
    cfg = tiny.config(work_dir, hook=hook, optim_wrapper=SGD)
    cfg.default_hooks.checkpoint.interval = 3
    cfg.train_cfg = dict(
        type='IterBasedTrainLoop', max_iters=max_iters, val_interval=2)
    cfg.val_dataloader = dict(
        batch_size=4,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(type='mwam_mm.TinyPairs', seed=1))
    cfg.val_cfg = dict(type='mwam_mm.MissingModalityValLoop', metric='mIoU')
    cfg.val_evaluator = dict(type='mmseg.IoUMetric')
    return cfg


def balance_hook(runner):
    hook, = (h for h in runner.hooks if type(h).__name__ == 'BalanceHook')
    return hook


def run(cfg):
    """The Runner after training, and K of every iteration."""
    runner = Runner.from_cfg(cfg)
    hook, history = balance_hook(runner), []
    after = hook.after_train_iter

    def spy(*args, **kwargs):
        history.append(hook.context.weights.cpu().clone())
        return after(*args, **kwargs)

    hook.after_train_iter = spy
    runner.train()
    return runner, torch.stack(history)


@pytest.mark.parametrize('name', METHODS)
def test_training_and_resuming(tmp_path, name):
    plain = tiny.model()
    whole, k = run(config(tmp_path / 'whole', *METHODS[name]))
    assert k.shape == (6, 2) and k.isfinite().all()
    if METHODS[name][0] in (ONE, MSES):
        assert set(k.flatten().tolist()) <= {0., 1.}
    else:
        assert (k != 1).any()
    state = whole.model.state_dict()
    assert all(x.isfinite().all() for x in state.values())
    twin = Runner.from_cfg(tiny.config(tmp_path / 'plain')).model
    assert state.keys() == twin.state_dict().keys()
    assert plain['type'] == 'mmseg.EncoderDecoder'

    tiny.kill(config(tmp_path / 'killed', *METHODS[name]), 4)
    cfg = config(tmp_path / 'killed', *METHODS[name])
    cfg.resume = True
    resumed, after = run(cfg)
    assert torch.equal(after, k[3:])
    for key, value in resumed.model.state_dict().items():
        assert torch.equal(value, state[key]), key


def test_resuming_with_another_weigher(tmp_path):
    tiny.kill(config(tmp_path, OGM, 'gradient'), 4)
    cfg = config(tmp_path, AGM, 'gradient')
    cfg.resume = True
    with pytest.raises(
            ValueError, match=r"has \['scores'\], but AGM finds no 'agm'.*"
            'load_from'):
        run(cfg)


def initial(cfg):
    """The model of a run as it starts, and its first batch."""
    cfg.train_dataloader.sampler.shuffle = False
    runner = Runner.from_cfg(cfg)
    runner.model.init_weights()
    model = copy.deepcopy(runner.model)
    data = [tiny.TinyPairs()[i] for i in range(4)]
    batch = model.data_preprocessor(
        dict(inputs=[d['inputs'] for d in data],
             data_samples=[d['data_samples'] for d in data]), True)
    labels = torch.stack(
        [d['data_samples'].gt_sem_seg.data[0] for d in data])
    return runner, model.eval(), batch['inputs'], labels


@torch.no_grad()
def logits(model, x, channels):
    """From the inputs, with the other channels 0 as they are when absent."""
    kept = torch.zeros_like(x)
    kept[:, channels] = x[:, channels]
    out = model(kept, mode='tensor')
    return torch.nn.functional.interpolate(
        out, x.shape[2:], mode='bilinear', align_corners=False)


RGB, DEPTH = slice(0, 3), slice(3, 4)


def test_ogm_and_agm_from_forwards_of_their_own(tmp_path):
    """Scores from the features equal those of separate forwards."""
    runner, model, x, labels = initial(
        config(tmp_path / 'ogm', OGM, 'gradient', max_iters=1))
    runner.train()
    labels = labels.to(x.device)[:, None]
    p = [logits(model, x, c).softmax(1).gather(1, labels).mean().item()
         for c in (RGB, DEPTH)]
    expected = [1 - tanh(0.8 * a / b) if a > b else 1.
                for a, b in (p, p[::-1])]
    assert balance_hook(runner).context.weights.tolist() == pytest.approx(
        expected, rel=1e-4)

    weigher = dict(type='AGM', alpha=0.)
    runner, model, x, _ = initial(
        config(tmp_path / 'agm', weigher, 'gradient', max_iters=1))
    runner.train()
    o = logits(model, x, slice(0, 4))
    rgb, depth = logits(model, x, RGB), logits(model, x, DEPTH)
    for part, score in zip((0.5 * (o - depth + rgb), 0.5 * (o - rgb + depth)),
                           balance_hook(runner).weigher.scores.tolist()):
        loss = torch.nn.functional.cross_entropy(part, labels[:, 0])
        assert score == pytest.approx(loss.item(), rel=1e-4)


@pytest.mark.parametrize('averaged', [False, True])
def test_mses_stops_a_branch_where_it_was_best(tmp_path, monkeypatch,
                                               averaged):
    """With weight decay and momentum, which stop, too, and also where the
    model has averaged weights while it is validated."""
    scores = iter([(50., 10.), (40., 20.), (60., 30.)])

    def evaluate(self):
        rgb, depth = next(scores)
        return {'rgb/mIoU': rgb, 'depth/mIoU': depth}

    monkeypatch.setattr(MissingModalityLoop, '_evaluate', evaluate)
    cfg = config(tmp_path, MSES, 'update')
    cfg.default_hooks.checkpoint.interval = 1
    cfg.optim_wrapper.optimizer.weight_decay = 0.1
    if averaged:
        cfg.custom_hooks.append(dict(type='EMAHook', momentum=0.3))
    runner, k = run(cfg)
    assert k.tolist() == [[1, 1]] * 4 + [[0, 1]] * 2
    states = {}
    for i in (2, 4, 6):
        saved = torch.load(
            tmp_path / f'iter_{i}.pth', map_location='cpu',
            weights_only=False)
        # EMAHook exchanges the two.
        states[i] = {
            key.replace('module.', '', 1): value for key, value in
            saved['ema_state_dict' if averaged else 'state_dict'].items()
        }
    for key in states[6]:
        if key.startswith('backbone.branches.rgb.'):
            # "update" goes back by a difference, which rounds.
            torch.testing.assert_close(
                states[6][key], states[2][key], rtol=0, atol=1e-8)
    moved = [key for key in states[6]
             if not torch.equal(states[6][key], states[4][key])]
    for part in ('backbone.branches.depth', 'decode_head'):
        assert any(key.startswith(part) for key in moved)


def test_mses_stops_nothing_when_it_is_over(tmp_path, monkeypatch):
    scores = iter([(50., 10.), (40., 20.), (30., 30.)])

    def evaluate(self):
        rgb, depth = next(scores)
        return {'rgb/mIoU': rgb, 'depth/mIoU': depth}

    monkeypatch.setattr(MissingModalityLoop, '_evaluate', evaluate)
    runner, k = run(config(tmp_path, MSES, 'update', end=3))
    assert k.tolist() == [[1, 1]] * 6
    # Only the first validation counts.
    for name, best in (('rgb', 50.), ('depth', 10.)):
        track = balance_hook(runner).weigher.tracks[name]
        assert (track.best, track.stopped) == (best, False)


@WEIGHERS.register_module()
class ByTurn(Weigher):
    """Other weights in each iteration."""

    def __init__(self, modalities, turns):
        super().__init__(modalities)
        self.turns, self.steps = turns, 0

    def observe(self, signal):
        self.k = self.turns[self.steps]
        self.steps += 1

    def step(self):
        return torch.tensor([self.k, self.k])


@pytest.mark.parametrize('intervention', ['gradient', 'update'])
def test_begin_and_end(tmp_path, intervention):
    constant = dict(type='Constant', k=dict(rgb=0.5, depth=0.5))
    windowed, k = run(config(
        tmp_path / 'a', constant, intervention, begin=1, end=3))
    assert k[:, 0].tolist() == [1, 0.5, 0.5, 1, 1, 1]
    turns = dict(type='ByTurn', turns=[1., 0.5, 0.5, 1., 1., 1.])
    expected, _ = run(config(tmp_path / 'b', turns, intervention))
    for key, value in expected.model.state_dict().items():
        assert torch.equal(windowed.model.state_dict()[key], value), key
    history = windowed.message_hub.get_scalar('train/balance/K_rgb').data
    assert history[0].tolist() == [1, 0.5, 0.5, 1, 1, 1]


def test_begin_and_end_in_epochs(tmp_path):
    """Two iterations an epoch. The weigher looks on until the end."""
    turns = dict(type='ByTurn', turns=[0.1, 0.2, 0.3, 0.4])
    cfg = config(tmp_path, turns, ['update', 'lfm'], begin=1, end=2,
                 by_epoch=True)
    cfg.train_dataloader.sampler = dict(type='DefaultSampler', shuffle=False)
    cfg.train_cfg = dict(
        type='EpochBasedTrainLoop', max_epochs=3, val_interval=3)
    cfg.log_processor = dict(by_epoch=True)
    runner, k = run(cfg)
    torch.testing.assert_close(
        k[:, 0], torch.tensor([1, 1, 0.3, 0.4, 1, 1]))
    assert balance_hook(runner).weigher.steps == 4
    # LFM acted within only.
    losses = runner.message_hub.get_scalar('train/lfm.loss_align').data[0]
    assert len(losses) == 2


@pytest.mark.parametrize('window, message', [
    (dict(begin=-1), 'BalanceHook: begin=-1'),
    (dict(begin=3, end=3), 'begin=3 and end=3'),
    (dict(end=1, by_epoch=True), 'by_epoch=True.*IterBasedTrainLoop'),
])
def test_windows_that_cannot_be(tmp_path, window, message):
    with pytest.raises(ValueError, match=message):
        run(config(tmp_path, ONE, 'gradient', **window))


def test_what_would_never_act(tmp_path):
    cfg = config(tmp_path / 'a', MSLR, 'update')
    for key in ('val_dataloader', 'val_cfg', 'val_evaluator'):
        cfg.pop(key)
    with pytest.raises(ValueError, match='MSLR goes by validations'):
        run(cfg)
    run(config(tmp_path / 'b', ONE, 'gradient', begin=6))
    log, = (tmp_path / 'b').rglob('*.log')
    assert 'BalanceHook.begin=6 lies after' in log.read_text()


@pytest.mark.parametrize('intervention', ['gradient', ['dropout', 'update']])
def test_probabilities_are_not_taken_for_factors(tmp_path, intervention):
    runner = Runner.from_cfg(
        config(tmp_path, dict(type='OPM'), intervention, max_iters=1))
    with pytest.raises(ValueError, match="OPM gives the prob.*draw='each'"):
        runner.train()


def test_opm_drops_what_is_ahead(tmp_path):
    """With K = 1 - q of the iteration before, each by itself."""
    constant = dict(type='Constant', k=dict(rgb=0., depth=3.))
    cfg = config(
        tmp_path, constant, dict(type='dropout', draw='each'), max_iters=2)
    runner = Runner.from_cfg(cfg)
    seen = []
    forward = runner.model.loss

    def spy(inputs, data_samples):
        seen.append([s.metainfo.get('absent_modalities', ())
                     for s in data_samples])
        return forward(inputs, data_samples)

    runner.model.loss = spy
    runner.train()
    assert seen == [[()] * 4, [('rgb', )] * 4]
    with pytest.raises(ValueError, match="dropout.draw='x'"):
        run(config(tmp_path, ONE, dict(type='dropout', draw='x')))


def test_exp_is_of_the_loss(tmp_path):
    """The score by loss, from forwards of its own."""
    runner, model, x, labels = initial(config(
        tmp_path, dict(OGM, score='loss'), 'gradient', max_iters=1))
    runner.train()
    score = balance_hook(runner).weigher.scores.values.tolist()
    for channels, value in zip((RGB, DEPTH), score):
        loss = torch.nn.functional.cross_entropy(
            logits(model, x, channels), labels.to(x.device))
        assert value == pytest.approx(exp(-loss.item()), rel=1e-4)
