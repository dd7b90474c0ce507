"""Signals whose every number is set by hand."""
from contextlib import nullcontext
from types import SimpleNamespace

import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mwam_mm.balance import Signal
from mwam_mm.models.backbones import BranchOutputs
from mwam_mm.models.joined import Group
from mwam_mm.models.subsets import select

IGNORED = 255


class HandHost:
    """Adds up the features of the modalities, as logits of two classes.

    A sample with n modalities gets ``together`` times n - 1 on top, for the
    second class. The loss is the mean of the features' last channel.
    """

    def __init__(self, together=0., segmentor=True):
        self.together = together
        self.calls = []
        self.model = SimpleNamespace()
        if segmentor:
            self.model.decode_head = SimpleNamespace(
                num_classes=2, out_channels=2, ignore_index=IGNORED,
                align_corners=False)

    def scoring(self):
        return nullcontext()

    def logits(self, selection, inputs):
        features, _, present = selection.outputs
        x = sum(f for f in features.values() if f is not None)
        n = torch.tensor([sum(has) for has in zip(*present.values())])
        extra = torch.zeros_like(x)
        extra[:, 1] = self.together * (n - 1).view(-1, 1, 1)
        self.calls.append(tuple(n for n, f in features.items()
                                if f is not None))
        return x + extra

    def losses(self, selection, inputs, data_samples):
        features = selection.outputs.features
        x = sum(f for f in features.values() if f is not None)
        return dict(loss_cls=[x[:, 1].mean()], loss_box=x[:, 0].mean(),
                    acc=torch.tensor(7.))


def signal(features, labels, host=None, present=None):
    """A signal of features of shape (B, 2, H, W) and labels (B, H, W)."""
    names = tuple(features)
    some = next(x for x in features.values() if x is not None)
    present = present or {
        name: [x is not None] * len(some) for name, x in features.items()
    }
    samples = [
        SegDataSample(gt_sem_seg=PixelData(data=label[None]))
        for label in labels
    ]
    outputs = BranchOutputs(
        features, {n: torch.zeros(len(some), 1, 2, 2) for n in names}, present)
    return Signal(
        names,
        torch.ones(len(names)),
        present=present,
        outputs=outputs,
        host=host or HandHost(),
        arguments=dict(inputs=torch.zeros(len(some), len(names), 2, 2),
                       data_samples=samples))


class HandJoined:
    """The subsets that a signal asks for, each by the host on its own."""

    def __init__(self, signal):
        self._signal = signal
        rows = {
            name: [i for i, has in enumerate(zip(*kept.values())) if any(has)]
            for name, kept in signal.subsets.items()
        }
        self.groups = {name: Group(group, group, False)
                       for name, group in rows.items() if group}

    def losses(self, name):
        return self._signal.host.losses(
            select(self._signal.outputs, [name]), None, None)

    def logits(self, name):
        return self._signal.host.logits(
            select(self._signal.outputs, [name]), None)


def odds(*probabilities):
    """Logits of one sample and one row of pixels, for the second class."""
    x = torch.tensor([[list(probabilities)]], dtype=torch.float64)
    x = (x / (1 - x)).log().float()
    return torch.stack([torch.zeros_like(x), x], 1)


def labels(*values):
    return torch.tensor([[list(values)]])
