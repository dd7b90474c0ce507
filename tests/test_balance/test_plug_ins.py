"""Weighers and interventions of other projects, by config."""
import copy
import pickle

import pytest
import torch
from mmengine.runner import Runner
from mmseg.models import EncoderDecoder

from mwam_mm.balance import Intervention, Weigher
from mwam_mm.registry import INTERVENTIONS, MODELS, WEIGHERS

from .. import tiny
from ..test_engine.ways import BRANCHES

SGD = dict(optimizer=dict(type='SGD', lr=1e3))


@WEIGHERS.register_module()
class Inverse(Weigher):
    """K inverse to the mean magnitude of the images, times ``scale``."""

    def __init__(self, modalities, scale=1.):
        super().__init__(modalities)
        self.scale = scale
        self.calls = []

    def observe(self, signal):
        self.calls.append('observe')
        means = [signal.inputs[m].abs().mean() for m in self.modalities]
        self.k = self.scale / torch.stack(means).detach()

    def step(self):
        self.calls.append('step')
        return self.k

    def scalars(self):
        return dict(size=1 / self.k)

    def state_dict(self):
        return dict(steps=len(self.calls))

    def load_state_dict(self, state_dict):
        self.resumed = state_dict['steps']


@INTERVENTIONS.register_module()
class Recorder(Intervention):
    """Notes the calls; multiplies features by 2 and the losses by K."""

    def __init__(self):
        self.calls = []

    def check(self, context):
        self.calls.append('check')

    def attach(self, context):
        super().attach(context)
        self.calls.append('attach')

    def before_iter(self, data_batch):
        self.calls.append('before_iter')
        assert set(data_batch) == {'inputs', 'data_samples'}

    def at_features(self, signal, outputs):
        self.calls.append('at_features')
        assert signal.features is outputs.features or not signal.features
        return outputs.map(lambda name, x: 2 * x)

    def at_losses(self, signal, losses):
        self.calls.append('at_losses')
        self.k = signal.weights.clone()
        return dict(losses, **{'decode.loss_ce': losses['decode.loss_ce'] *
                               signal.weights.prod()})

    def before_step(self, optimizer):
        self.calls.append('before_step')

    def after_step(self, optimizer):
        self.calls.append('after_step')

    def detach(self):
        super().detach()
        self.calls.append('detach')


@WEIGHERS.register_module()
class Given(Weigher):
    """What step returns is given by a test."""

    def observe(self, signal):
        self.signal = signal


@INTERVENTIONS.register_module()
class Forgetful(Intervention):
    """One of its methods returns nothing."""

    def __init__(self, method):
        setattr(self, method, lambda signal, given: None)


def hook(intervention, **kwargs):
    return dict(
        type='mwam_mm.BalanceHook',
        weigher=dict(type='Inverse'),
        intervention=intervention,
        **kwargs)


def balance_hook(runner):
    found, = (h for h in runner.hooks if type(h).__name__ == 'BalanceHook')
    return found


def job(work_dir, **kwargs):
    kwargs.setdefault('max_iters', 1)
    cfg = tiny.config(work_dir, optim_wrapper=SGD, **kwargs)
    cfg.train_dataloader.sampler.shuffle = False
    return cfg


def first_images():
    x = torch.stack([tiny.TinyPairs()[i]['inputs'] for i in range(4)])
    return (x[:, :3] - 128) / 64, (x[:, 3:] - 3) / 2


@pytest.mark.parametrize('neck', [None, {}])
def test_each_call_in_its_order(tmp_path, neck):
    """Also where the neck has MWAM of its own, whose place is taken."""
    runner = Runner.from_cfg(job(tmp_path, mwam=neck, hook=hook('Recorder')))
    before = copy.deepcopy(runner.model)
    runner.train()
    found = balance_hook(runner)
    recorder = found.interventions['Recorder']
    assert recorder.calls == [
        'check', 'attach', 'before_iter', 'at_features', 'at_losses',
        'before_step', 'after_step', 'detach'
    ]
    assert found.weigher.calls == ['observe', 'step']
    k = 1 / torch.stack([x.abs().mean() for x in first_images()])
    torch.testing.assert_close(recorder.k.cpu(), k)
    assert found.key == 'balance'
    if neck is not None:
        assert runner.model.neck.mwam.frm.isnan().all()
    assert not runner.model.neck.listeners
    assert before.state_dict().keys() == runner.model.state_dict().keys()


@pytest.mark.parametrize('intervention', ['gradient', 'update'])
@pytest.mark.parametrize('branches', [None, BRANCHES])
def test_any_weigher_with_what_scales_branches(tmp_path, intervention,
                                               branches):
    plain = tiny.change(Runner.from_cfg(job(tmp_path / 'plain')))
    runner = Runner.from_cfg(
        job(tmp_path / 'scaled', hook=hook(intervention, branches=branches)))
    scaled = tiny.change(runner)
    k = 1 / torch.stack([x.abs().mean() for x in first_images()])
    moved = 0
    for name, delta in plain.items():
        factor = 1.
        for i, path in enumerate(BRANCHES.values()):
            if name.startswith(f'{path}.'):
                factor, moved = k[i].item(), moved + bool(delta.any())
        torch.testing.assert_close(
            scaled[name], factor * delta, rtol=1e-4, atol=1e-4)
    assert moved > 20


def test_any_weigher_with_losses_and_dropout(tmp_path):
    model = dict(
        tiny.model({}), host='mmseg.EncoderDecoder',
        type='mwam_mm.with_modality_heads')
    runner = Runner.from_cfg(
        job(tmp_path, max_iters=2, model=model,
            hook=hook(['loss', 'dropout'])))
    runner.train()
    history = runner.message_hub.log_scalars
    assert set(balance_hook(runner).interventions) == {'loss', 'dropout'}
    for name in ('rgb', 'depth'):
        assert f'train/{name}.decode.loss_ce' in history
        k = history[f'train/balance/K_{name}'].current()
        size = history[f'train/balance/size_{name}'].current()
        assert k == pytest.approx(1 / size, rel=1e-5)


@MODELS.register_module()
class TwoPaths(EncoderDecoder):
    """A second backbone adds to what the neck gives of the first one."""

    def __init__(self, backbone, **kwargs):
        super().__init__(backbone, **kwargs)
        self.detail = MODELS.build(backbone)
        # Parameters of both count once.
        self.detail.branches.rgb.layer1 = self.backbone.branches.rgb.layer1

    def extract_feat(self, inputs):
        *levels, last = super().extract_feat(inputs)
        features = self.detail(inputs).features.values()
        return [*levels, last + sum(x[-1] for x in features)]


@pytest.mark.parametrize('host, intervention', [
    ('mmseg.EncoderDecoder', 'gradient'), ('mwam_mm.TwoPaths', 'update')])
def test_constant_weights_are_the_controls(tmp_path, host, intervention):
    """K = 1 changes no bit; other constants are what they say."""
    changes = []
    for name, weigher in dict(
            plain=None,
            one=dict(type='mwam_mm.Constant'),
            half=dict(type='Constant', k=dict(rgb=0.5, depth=2.))).items():
        kwargs = {} if weigher is None else dict(
            hook=dict(type='mwam_mm.BalanceHook', weigher=weigher,
                      intervention=intervention))
        kwargs['model'] = dict(tiny.model(), type=host)
        changes.append(
            tiny.change(Runner.from_cfg(job(tmp_path / name, **kwargs))))
    for name, delta in changes[0].items():
        assert torch.equal(changes[1][name], delta), name
        factor = 0.5 if 'branches.rgb' in name else \
            2. if 'branches.depth' in name else 1.
        torch.testing.assert_close(
            changes[2][name], factor * delta, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('k, message', [
    (dict(rgb=1.), r"\['rgb'\].*\['rgb', 'depth'\]"),
    (dict(rgb=1., depth=-1.), 'not negative.*depth'),
    (dict(rgb=1., depth=float('nan')), 'finite.*depth'),
])
def test_constants_that_are_none(k, message):
    with pytest.raises(ValueError, match=message):
        WEIGHERS.get('Constant')(['rgb', 'depth'], k)


def test_the_state_travels_in_the_checkpoint(tmp_path):
    Runner.from_cfg(job(tmp_path, max_iters=2, hook=hook('gradient'))).train()
    checkpoint = torch.load(tmp_path / 'iter_2.pth', weights_only=False)
    assert checkpoint['balance'] == dict(steps=4)
    runner = Runner.from_cfg(
        job(tmp_path, max_iters=4, resume=True, hook=hook('gradient')))
    runner.train()
    assert balance_hook(runner).weigher.resumed == 4


@INTERVENTIONS.register_module()
class Greedy(Recorder):

    def state_dict(self):
        return dict(steps=0)


def test_a_key_of_the_state_belongs_to_one(tmp_path):
    runner = Runner.from_cfg(job(tmp_path, max_iters=2, hook=hook('Greedy')))
    with pytest.raises(ValueError, match=r"Greedy.*\['steps'\].*rename"):
        runner.train()


def test_copies_of_a_model_in_training_report_to_nobody(tmp_path):
    """Deep-copied and pickled, with heads for each modality."""
    model = dict(
        tiny.model({}), host='mmseg.EncoderDecoder',
        type='mwam_mm.with_modality_heads')
    runner = Runner.from_cfg(
        job(tmp_path, model=model, hook=hook(['loss', 'gradient'])))
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.call_hook('before_train')
    model = runner.model
    assert type(model).__mro__[0].__module__.startswith('mmseg.')
    x = torch.randn(2, 4, 32, 32, device=next(model.parameters()).device)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert type(twin) is type(model)
        twin.train()(x, mode='tensor')
        assert torch.equal(twin.eval()(x), model.eval()(x))
    assert balance_hook(runner).weigher.calls == []
    model.train()(x, mode='tensor')
    assert balance_hook(runner).weigher.calls == ['observe', 'step']
    runner.call_hook('after_train')


@pytest.mark.parametrize('kwargs, message', [
    (dict(hook=hook('magic')), 'BalanceHook.intervention.*magic'),
    (dict(hook=hook([])), 'empty'),
    (dict(hook=hook([dict(share=0.5)])), 'share.* without type.*detach'),
    (dict(hook=hook('loss', branches=BRANCHES)), 'drop branches'),
    (dict(hook=hook('gradient', branches=BRANCHES), mwam={}), 'already'),
    (dict(hook=hook('loss'), mwam={}), 'with_modality_heads'),
])
def test_what_cannot_work_is_refused(tmp_path, kwargs, message):
    with pytest.raises(ValueError, match=message):
        Runner.from_cfg(job(tmp_path, **kwargs)).train()


GIVEN = dict(type='mwam_mm.BalanceHook', weigher=dict(type='Given'))


@pytest.mark.parametrize('weights, error, message', [
    (torch.tensor(.5), ValueError, r"\['rgb', 'depth'\].*shape \(\)"),
    (torch.tensor([.5]), ValueError, r'shape \(2,\), but gave shape \(1,\)'),
    (torch.ones(3), ValueError, r'shape \(3,\)'),
    ([.5, 1.], TypeError, 'list.*torch.tensor'),
    (torch.tensor([1., float('nan')]), ValueError, "finite.*'depth': nan"),
    (torch.tensor([-1., 1.]), ValueError, "not negative.*'rgb': -1"),
])
def test_weights_that_are_none(tmp_path, monkeypatch, weights, error,
                               message):
    """Not even a number for all, which would be taken for each."""
    monkeypatch.setattr(Given, 'step', lambda self: weights)
    with pytest.raises(error, match=f'Given.step.*{message}'):
        tiny.train(tmp_path, max_iters=1, hook=GIVEN)


def test_no_gradient_through_the_weights(tmp_path, monkeypatch):
    """The loss must not be lowered by lowering its weight."""
    model = dict(
        tiny.model({}), host='mmseg.EncoderDecoder',
        type='mwam_mm.with_modality_heads')

    def trained(name, finish):

        def step(self):
            features = self.signal.features.values()
            return finish(torch.stack([f[0].abs().mean() for f in features]))

        monkeypatch.setattr(Given, 'step', step)
        runner = Runner.from_cfg(job(
            tmp_path / name, model=model, hook=dict(
                GIVEN, intervention='loss')))
        return runner.train().state_dict()

    kept = trained('kept', lambda k: k)
    for name, value in trained('detached', torch.Tensor.detach).items():
        assert torch.equal(kept[name], value), name


def test_a_weigher_by_its_name(tmp_path):
    runner = tiny.train(tmp_path, max_iters=1, hook=dict(
        type='mwam_mm.BalanceHook', weigher='mwam_mm.Constant'))
    assert balance_hook(runner).weigher.weights.tolist() == [1, 1]


@pytest.mark.parametrize('other', [
    hook('gradient'), dict(type='mwam_mm.MWAMHook'),
    dict(type='mwam_mm.MWAMHook', branches=BRANCHES)])
def test_two_hooks_would_weight_twice(tmp_path, other):
    with pytest.raises(ValueError, match='custom_hooks.*twice'):
        tiny.train(tmp_path, mwam={}, custom_hooks=[hook('gradient'), other])


@pytest.mark.parametrize('method', ['at_features', 'at_losses'])
def test_an_intervention_returns_what_it_got(tmp_path, method):
    with pytest.raises(TypeError, match=f'Forgetful.{method} returned None'):
        tiny.train(tmp_path, hook=hook(
            [dict(type='Forgetful', method=method), 'gradient']))


@pytest.mark.parametrize('branches', [None, BRANCHES])
def test_training_again_after_an_interruption(tmp_path, branches):
    """As a notebook does: K acts once, and heads go on as they were."""
    model = tiny.model({} if branches is None else None)
    intervention = ['Recorder']
    if branches is None:
        model.update(
            host=model['type'], type='mwam_mm.with_modality_heads')
        intervention.append('loss')
    runner = Runner.from_cfg(job(
        tmp_path, max_iters=3, model=model,
        hook=hook(intervention, branches=branches)))
    step = runner.model.train_step
    saved = []

    def interrupted(*args, **kwargs):
        if len(found.weigher.calls) == 2:
            # Once before the interruption, once after it.
            saved.append(copy.deepcopy([
                parameter for name, parameter in
                runner.model.named_parameters() if 'heads' in name
            ]))
            if len(saved) == 1:
                raise KeyboardInterrupt
        return step(*args, **kwargs)

    found = balance_hook(runner)
    runner.model.train_step = interrupted
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    runner.train()
    before, after = saved
    assert len(before) == (0 if branches else 10)
    assert all(map(torch.equal, before, after))
    assert found.weigher.calls == ['observe', 'step'] * 3
    assert found.interventions['Recorder'].calls.count('at_losses') == 3
    assert not runner.model.neck.listeners
    assert not runner.model._forward_hooks
