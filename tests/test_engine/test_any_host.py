"""The hook on models as others write them, on real Runners."""
import copy
from types import MappingProxyType

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from mwam_mm.mwam import MWAM

from .. import tiny
from .ways import mwam_hook


def conv(channels=3, out=4):
    return nn.Sequential(
        nn.Conv2d(channels, out, 3, padding=1), nn.GroupNorm(1, out),
        nn.ReLU())


class Host(BaseModel):
    """What the hosts share: two images to one number per sample."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(4, 1)

    def forward(self, rgb, depth, target, mode='tensor'):
        x = self.encode(rgb, depth)
        prediction = self.head(x.mean((2, 3)))[:, 0]
        return dict(loss=(prediction - target).square().mean())


class Output(dict):
    """A dict that is made of what it must have, as those of others are."""

    def __init__(self, loss, prediction):
        super().__init__(loss=loss, extra=(prediction, ))


class Stages(Host):
    """Streams spread over attributes and lists, fused in each stage."""

    def __init__(self):
        super().__init__()
        self.rgb_stem, self.depth_stem = conv(), conv(1)
        self.rgb_stages = nn.ModuleList([conv(4), conv(4)])
        self.depth_stages = nn.ModuleList([conv(4), conv(4)])

    def encode(self, rgb, depth):
        rgb, depth = self.rgb_stem(rgb), self.depth_stem(depth)
        for a, b in zip(self.rgb_stages, self.depth_stages):
            depth = b(depth)
            rgb = a(rgb) + depth
        return rgb


class Wrapper(nn.Module):
    """Takes a dict, as wrappers of encoders do."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, inputs):
        return self.net(inputs['image'])


class OwnContainers(Host):
    """Takes a mapping that is no dict, and gives a dict of its own class."""

    def __init__(self):
        super().__init__()
        self.rgb, self.depth = Wrapper(conv()), Wrapper(conv(1))

    def encode(self, rgb, depth):
        return (self.rgb(MappingProxyType(dict(image=rgb))) +
                self.depth(MappingProxyType(dict(image=depth))))

    def forward(self, *args, **kwargs):
        loss = super().forward(*args, **kwargs)['loss']
        return Output(loss, loss.detach())

    def train_step(self, data, optim_wrapper):
        losses = self(**self.data_preprocessor(data, True))
        optim_wrapper.update_params(losses['loss'])
        return {}


class Nested(Host):

    def __init__(self):
        super().__init__()
        self.encoder = nn.ModuleDict(
            dict(streams=nn.ModuleList([Wrapper(conv()), Wrapper(conv(1))])))

    def encode(self, rgb, depth):
        a, b = self.encoder['streams']
        return a(dict(image=rgb)) + b(inputs=dict(image=depth))


class SharedStem(Host):
    """One stem for both modalities; a user marked where they enter."""

    def __init__(self):
        super().__init__()
        self.stem, self.rgb, self.depth = conv(), conv(4), conv(4)
        self.rgb_image, self.depth_image = nn.Identity(), nn.Identity()

    def encode(self, rgb, depth):
        rgb = self.stem(self.rgb_image(rgb))
        depth = self.stem(self.depth_image(depth).expand(-1, 3, -1, -1))
        return self.rgb(rgb) + self.depth(depth)


class Frozen(Host):

    def __init__(self):
        super().__init__()
        self.rgb, self.depth = conv().requires_grad_(False), conv(1)

    def encode(self, rgb, depth):
        return self.rgb(rgb) + self.depth(depth)


class Twice(Host):
    """Every branch sees two views of its image."""

    def __init__(self):
        super().__init__()
        self.rgb, self.depth = conv(), conv(1)

    def encode(self, rgb, depth):
        return (self.rgb(rgb) + self.depth(depth) + self.rgb(rgb.flip(3)) +
                self.depth(depth.flip(2) / 2))


class CallsItself(Host):
    """Its own teacher, a forward within a forward."""

    def __init__(self):
        super().__init__()
        self.rgb, self.depth = conv(), conv(1)

    def forward(self, rgb, depth, target=None, mode='tensor'):
        x = self.rgb(rgb) + self.depth(depth)
        prediction = self.head(x.mean((2, 3)))[:, 0]
        if target is None:
            return prediction
        with torch.no_grad():
            taught = self(rgb.flip(3), depth.flip(3))
        return dict(loss=(prediction - target).square().mean(),
                    loss_taught=(prediction - taught).abs().mean())


class Recovers(CallsItself):
    """A forward that fails, in a forward, before one that does not."""

    def train_step(self, data, optim_wrapper):
        with pytest.raises(RuntimeError, match='channels'):
            self(data['rgb'][:, :1], data['depth'], data['target'])
        return super().train_step(data, optim_wrapper)


class Slices(nn.Module):

    def __init__(self, start, stop):
        super().__init__()
        self.channels = slice(start, stop)
        self.body = conv(stop - start)

    def forward(self, images):
        return self.body(images[:, self.channels])


class Clips(Host):
    """Streams of clips, of shape (B, C, T, H, W)."""

    def __init__(self):
        super().__init__()
        self.rgb, self.depth = (
            nn.Conv3d(c, 4, 3, padding=1) for c in (3, 1))

    def encode(self, rgb, depth):
        rgb, depth = clips(rgb, depth)
        return (self.rgb(rgb) + self.depth(depth)).mean(2)


def clips(rgb, depth):
    return tuple(torch.stack([x, x.flip(3) / 2], 2) for x in (rgb, depth))


def frames(rgb, depth):
    """Each frame is measured, and one sample stays one."""
    return [
        torch.cat([clip[:, c] for c in range(clip.size(1))], 1)
        for clip in clips(rgb, depth)
    ]


class Stacked(Host):
    """Branches that are given everything and take their channels."""

    def __init__(self):
        super().__init__()
        self.rgb, self.depth = Slices(0, 3), Slices(3, 4)

    def encode(self, rgb, depth):
        x = torch.cat([rgb, depth], 1)
        return self.rgb(x) + self.depth(x)


class Normalize(nn.Module):

    def forward(self, image):
        return image.float() / 255 - 0.5


class Bytes(Host):
    """Branches that are given integers and normalise them."""

    def __init__(self):
        super().__init__()
        self.rgb, self.depth = (
            nn.Sequential(Normalize(), conv(c)) for c in (3, 1))

    def encode(self, rgb, depth):
        rgb, depth = to_bytes(rgb, depth)
        return self.rgb(rgb) + self.depth(depth)


def to_bytes(*images):
    return [(x * 150).byte() for x in images]


class Small(Host):
    """A branch that is given less than a patch."""

    def __init__(self):
        super().__init__()
        self.rgb, self.depth = conv(), conv(1)

    def encode(self, rgb, depth):
        return self.rgb(rgb[..., :6]) + self.depth(depth).mean(
            (2, 3), keepdim=True)


class Pair(nn.Module):

    def __init__(self, index, channels):
        super().__init__()
        self.index = index
        self.body = conv(channels)

    def forward(self, images):
        return self.body(images[self.index])


class Tuples(Host):
    """Branches that are given a tuple of both images."""

    def __init__(self):
        super().__init__()
        self.rgb, self.depth = Pair(0, 3), Pair(1, 1)

    def encode(self, rgb, depth):
        return self.rgb((rgb, depth)) + self.depth((rgb, depth))


class Guided(Host):
    """A branch that is given its image after another one."""

    def __init__(self):
        super().__init__()
        self.rgb, self.depth = conv(), Guide()

    def encode(self, rgb, depth):
        return self.rgb(rgb) + self.depth(rgb * 2, depth)


class Guide(nn.Module):

    def __init__(self):
        super().__init__()
        self.net = conv(4)

    def forward(self, guide, depth):
        return self.net(torch.cat([guide, depth], 1))


def views(rgb, depth):
    return (torch.cat([rgb, rgb.flip(3)]),
            torch.cat([depth, depth.flip(2) / 2]))


def normalized(*images):
    return map(Normalize(), to_bytes(*images))


def mirrored(*images):
    return [torch.cat([x, x.flip(3)]) for x in images]


# The hook's arguments, and what enters the branches.
HOSTS = {
    Stages: (dict(
        branches=dict(
            rgb=['rgb_stem', 'rgb_stages'],
            depth=['depth_stem', 'depth_stages'])), None),
    Nested: (dict(
        branches=dict(
            rgb='encoder.streams.0', depth='encoder.streams.1')), None),
    OwnContainers: (dict(branches=dict(rgb='rgb', depth='depth')), None),
    SharedStem: (dict(
        branches=dict(rgb='rgb', depth='depth'),
        inputs=dict(rgb='rgb_image', depth='depth_image')), None),
    Frozen: (dict(branches=dict(rgb='rgb', depth='depth')), None),
    Twice: (dict(branches=dict(rgb='rgb', depth='depth')), views),
    CallsItself: (dict(branches=dict(rgb='rgb', depth='depth')), mirrored),
    Recovers: (dict(branches=dict(rgb='rgb', depth='depth')), mirrored),
    Clips: (dict(branches=dict(rgb='rgb', depth='depth')), frames),
    Stacked: (dict(
        branches=dict(rgb='rgb', depth='depth'),
        inputs=dict(rgb='rgb.body', depth='depth.body')), None),
    Tuples: (dict(
        branches=dict(rgb='rgb', depth='depth'),
        inputs=dict(rgb='rgb.body', depth='depth.body')), None),
    Bytes: (dict(
        branches=dict(rgb='rgb', depth='depth'),
        inputs=dict(rgb='rgb.1', depth='depth.1')), normalized),
}


def samples():
    generator = torch.Generator().manual_seed(0)
    return [
        dict(
            rgb=torch.rand(3, 16, 16, generator=generator),
            depth=torch.rand(1, 16, 16, generator=generator).round() + 0.5,
            target=torch.rand((), generator=generator)) for _ in range(2)
    ]


def build(work_dir, host, hook=None):
    return Runner(
        model=host(),
        work_dir=str(work_dir),
        train_dataloader=dict(
            batch_size=2,
            dataset=samples(),
            collate_fn=dict(type='default_collate'),
            sampler=dict(type='DefaultSampler', shuffle=False)),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1.)),
        custom_hooks=[dict(dict(type='mwam_mm.MWAMHook'), **hook)]
        if hook else [],
        default_hooks=dict(checkpoint=None),
        experiment_name=f'{work_dir.name}_{host.__name__}',
        log_level='ERROR')


def change(runner):
    before = copy.deepcopy(dict(runner.model.named_parameters()))
    runner.train()
    return {
        name: p.detach() - before[name].detach()
        for name, p in runner.model.named_parameters()
    }


@pytest.mark.parametrize('host', HOSTS)
def test_one_step_is_scaled_by_k_of_the_images(tmp_path, host):
    arguments, entering = HOSTS[host]
    plain = change(build(tmp_path / 'plain', host))
    runner = build(tmp_path / 'weighted', host, arguments)
    weighted = change(runner)
    images = [
        torch.stack([s[name] for s in samples()]).to(tiny.device_of(runner))
        for name in ('rgb', 'depth')
    ]
    if entering is not None:
        images = entering(*images)
    k = MWAM(('rgb', 'depth')).update(dict(zip(('rgb', 'depth'), images)))
    torch.testing.assert_close(mwam_hook(runner).mwam.weights, k)
    assert (k - 1).abs().min() > 0.05
    scaled = set()
    for name, delta in plain.items():
        factor = 1.
        for i, paths in enumerate(arguments['branches'].values()):
            paths = [paths] if isinstance(paths, str) else paths
            if any(name.startswith(f'{path}.') for path in paths):
                factor = k[i]
                scaled.add((i, bool(delta.any())))
        torch.testing.assert_close(
            weighted[name], factor * delta, rtol=1e-4, atol=1e-6)
    assert scaled == {(0, host is not Frozen), (1, True)}


@pytest.mark.parametrize('host, arguments, message', [
    # a list of modules is not called
    (Stages, dict(branches=dict(rgb='rgb_stages', depth='depth_stages')),
     'container.*MWAMHook.inputs'),
    # both branches are given the stacked tensor
    (Stacked, dict(branches=dict(rgb='rgb', depth='depth')),
     'same tensor.*MWAMHook.inputs'),
    # the stem sees one image, then the other
    (SharedStem, dict(
        branches=dict(rgb='rgb', depth='depth'),
        inputs=dict(rgb='stem', depth='stem')), 'same tensor.*Identity'),
    # a tuple of two images
    (Tuples, dict(branches=dict(rgb='rgb', depth='depth')),
     '"rgb".*2 tensors.*MWAMHook.inputs'),
    # the image and one that guides it
    (Guided, dict(branches=dict(rgb='rgb', depth='depth')),
     '"depth".*2 tensors.*MWAMHook.inputs'),
    # no image at all
    (Twice, dict(
        branches=dict(rgb='rgb', depth='depth'),
        inputs=dict(depth='head')), '"depth".*0 tensors.*MWAMHook.inputs'),
    # shared parameters
    (SharedStem, dict(branches=dict(rgb=['stem', 'rgb'],
                                    depth=['stem', 'depth'])), 'share'),
])
def test_where_the_image_cannot_be_found_the_error_says_what_to_do(
        tmp_path, host, arguments, message):
    runner = build(tmp_path, host, arguments)
    with pytest.raises(ValueError, match=message):
        runner.train()


@pytest.mark.parametrize('host, error, message', [
    (Bytes, TypeError, '"rgb" takes a floating point.*uint8.*inputs'),
    (Small, ValueError, '"rgb" needs at least one patch.*16 x 6')
])
def test_what_cannot_be_measured_names_the_modality(tmp_path, host, error,
                                                    message):
    runner = build(tmp_path, host, HOSTS[Frozen][0])
    with pytest.raises(error, match=message):
        runner.train()


@pytest.mark.parametrize('type', ['OGM', 'AGM'])
def test_weighers_that_need_scores_of_single_modalities(tmp_path, type):
    """Without them K would be 1 for ever."""
    runner = build(
        tmp_path, Twice, dict(
            type='mwam_mm.BalanceHook',
            weigher=dict(type=type),
            branches=dict(rgb='rgb', depth='depth')))
    with pytest.raises(ValueError, match=f'{type} .* leave out branches'):
        runner.train()


class Points(Host):
    """A list of modules that are given points, of shape (B, N, C)."""

    def __init__(self):
        super().__init__()
        self.rgb = conv()
        self.depth = nn.ModuleList([nn.Linear(1, 4), nn.Linear(4, 4)])

    def encode(self, rgb, depth):
        points = depth.flatten(2).transpose(1, 2)
        for layer in self.depth:
            points = layer(points).relu()
        return self.rgb(rgb) + points.amax(1)[..., None, None]


def test_weights_that_need_no_image(tmp_path):
    k = dict(rgb=0.5, depth=1.5)
    hook = dict(type='mwam_mm.BalanceHook', weigher=dict(
        type='mwam_mm.Constant', k=k), **HOSTS[Frozen][0])
    plain = change(build(tmp_path / 'plain', Points))
    weighted = change(build(tmp_path / 'weighted', Points, hook))
    assert plain['depth.0.weight'].any()
    for name, delta in plain.items():
        torch.testing.assert_close(
            weighted[name], k.get(name.split('.')[0], 1.) * delta)
    for depth, message in (('depth', 'container'), ('depth.0', '0 tensors')):
        with pytest.raises(ValueError, match=message):
            build(tmp_path / depth, Points, dict(
                hook, weigher='mwam_mm.MWAM',
                branches=dict(rgb='rgb', depth=depth))).train()


@pytest.mark.parametrize('intervention', ['gradient', 'update'])
def test_a_frozen_branch_is_said(tmp_path, monkeypatch, intervention):
    runner = build(tmp_path, Frozen,
                   dict(HOSTS[Frozen][0], intervention=intervention))
    messages = []
    monkeypatch.setattr(runner.logger, 'warning', messages.append)
    runner.train()
    assert len(messages) == 1 and '"rgb" is frozen' in messages[0]


def test_one_modality_is_weighed_against_none(tmp_path, monkeypatch):
    runner = build(tmp_path, Twice, dict(branches=dict(rgb='rgb')))
    messages = []
    monkeypatch.setattr(runner.logger, 'warning', messages.append)
    runner.train()
    assert len(messages) == 1 and 'only modality is "rgb"' in messages[0]


@pytest.mark.parametrize('intervention', ['gradient', 'update'])
def test_what_is_unfrozen_in_training_is_scaled(tmp_path, intervention):

    class Unfreeze(Hook):

        def before_train_iter(self, runner, *args, **kwargs):
            runner.model.rgb.requires_grad_()

    changes = []
    for arguments in (None, dict(
            HOSTS[Frozen][0], intervention=intervention)):
        runner = build(tmp_path / str(len(changes)), Frozen, arguments)
        runner.register_hook(Unfreeze())
        changes.append(change(runner))
    k = dict(zip(('rgb', 'depth'), mwam_hook(runner).mwam.weights))
    plain, weighted = changes
    assert plain['rgb.0.weight'].any()
    for name, delta in plain.items():
        torch.testing.assert_close(
            weighted[name],
            k.get(name.split('.')[0], 1.) * delta,
            rtol=1e-4,
            atol=1e-6)


class Careless(Host):
    """Its first layer changes the image in place."""

    def __init__(self):
        super().__init__()
        self.rgb = nn.Sequential(nn.ReLU(inplace=True), conv())
        self.depth = conv(1)

    def encode(self, rgb, depth):
        return self.rgb(rgb) + self.depth(depth)


def test_an_image_that_is_changed_in_place_is_an_error(tmp_path):
    runner = build(tmp_path, Careless, HOSTS[Frozen][0])
    with pytest.raises(ValueError, match='"rgb" was changed in place'):
        runner.train()


class Silent(Careless):
    """Its losses are not in what it returns."""

    def __init__(self):
        super().__init__()
        self.rgb = conv()

    def forward(self, *args, **kwargs):
        self.losses = super().forward(*args, **kwargs)

    def train_step(self, data, optim_wrapper):
        self(**self.data_preprocessor(data, True))
        optim_wrapper.update_params(self.losses['loss'])
        return {}


def test_losses_that_forward_does_not_return(tmp_path):
    """Nothing would be scaled."""
    with pytest.raises(ValueError, match='Silent.forward.*NoneType.*update'):
        build(tmp_path, Silent, HOSTS[Frozen][0]).train()
    runner = build(tmp_path, Silent,
                   dict(HOSTS[Frozen][0], intervention='update'))
    assert change(runner)['rgb.0.weight'].any()


class Broken(torch.autograd.Function):

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise RuntimeError('out of memory')


class Breaks(Careless):
    """The second of three accumulated batches fails in backward."""

    def __init__(self):
        super().__init__()
        self.rgb = conv()

    def train_step(self, data, optim_wrapper):
        data = self.data_preprocessor(data, True)
        losses = [self(**data)['loss']]
        # The depth's gradients are there by then.
        handle = self.rgb[0].register_forward_hook(
            lambda module, args, out: Broken.apply(out))
        losses.append(self(**data)['loss'])
        handle.remove()
        for loss in (losses[0], losses[1], *self.last(losses, data)):
            try:
                loss.backward(retain_graph=True)
            except RuntimeError as error:
                assert 'memory' in str(error)
        optim_wrapper.step()
        return {}

    def last(self, losses, data):
        return [losses[0]]


class BreaksLast(Breaks):

    def last(self, losses, data):
        return []


@pytest.mark.parametrize('host', [Breaks, BreaksLast])
def test_a_backward_that_an_error_breaks_off(tmp_path, host):
    """What it leaves is scaled by the next one or before the step."""
    plain = change(build(tmp_path / 'plain', host))
    runner = build(tmp_path / 'weighted', host, HOSTS[Frozen][0])
    weighted = change(runner)
    k = dict(zip(('rgb', 'depth'), mwam_hook(runner).mwam.weights))
    for name, delta in plain.items():
        torch.testing.assert_close(
            weighted[name], k.get(name.split('.')[0], 1.) * delta,
            rtol=1e-4, atol=1e-6)


class Unseen(Careless):
    """Its train_step calls a method of the model, not the model."""

    def __init__(self):
        super().__init__()
        self.rgb = conv()

    def train_step(self, data, optim_wrapper):
        data = self.data_preprocessor(data, True)
        optim_wrapper.update_params(self.forward(**data)['loss'])
        return {}


class Unused(Careless):
    """A module of the branch that is not called."""

    def __init__(self):
        super().__init__()
        self.rgb = conv()
        self.rgb.add_module('idle', nn.Conv2d(3, 4, 1))
        self.rgb.forward = nn.Sequential(*self.rgb[:3]).forward


HOOKS = dict(
    mwam=dict(),
    balance=dict(type='mwam_mm.BalanceHook', weigher='mwam_mm.MWAM'),
    constant=dict(type='mwam_mm.BalanceHook', weigher='mwam_mm.Constant'))


def warnings_of(runner, monkeypatch):
    messages = []
    monkeypatch.setattr(runner.logger, 'warning', messages.append)
    runner.train()
    return messages


@pytest.mark.parametrize('hook', HOOKS)
def test_a_model_that_is_never_called_is_said(tmp_path, monkeypatch, hook):
    """Nothing is scaled."""
    messages = warnings_of(
        build(tmp_path, Unseen, dict(HOOKS[hook], **HOSTS[Frozen][0])),
        monkeypatch)
    assert ['no forward of the model' in m for m in messages] == [True]


@pytest.mark.parametrize('hook', ['mwam', 'balance'])
def test_an_image_that_never_enters_is_said(tmp_path, monkeypatch, hook):
    messages = warnings_of(
        build(tmp_path, Unused, dict(
            HOOKS[hook], inputs=dict(rgb='rgb.idle'), **HOSTS[Frozen][0])),
        monkeypatch)
    message, = messages
    assert "no usable input of ['rgb']" in message and 'inputs' in message


@pytest.mark.parametrize('hook, said', [
    ('mwam', True), ('balance', True),
    ('constant', False),  # which looks at no image
])
def test_features_in_place_of_the_image_are_said(tmp_path, monkeypatch, hook,
                                                 said):
    runner = build(tmp_path, Stages, dict(
        HOOKS[hook], branches=dict(
            rgb=['rgb_stem', 'rgb_stages'],
            depth=['depth_stages.0', 'depth_stages.1', 'depth_stem'])))
    messages = warnings_of(runner, monkeypatch)
    assert ["features in place of the images of ['depth']" in m
            for m in messages] == [True] * said
