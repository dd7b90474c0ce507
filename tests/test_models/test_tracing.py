"""Models can be traced: what the tracer sees does not depend on the values."""
import copy

import pytest
import torch
from mmengine.analysis import get_model_complexity_info
from mmengine.registry import init_default_scope
from mmengine.utils import digit_version

from mwam_mm.layout import is_traced, with_presence
from mwam_mm.registry import MODELS

from .. import tiny


@pytest.fixture(params=['neck', 'esanet'])
def model(request):
    """One that fuses in the neck and one that does in the encoder."""
    cfg = copy.deepcopy(tiny.model(mwam=dict()))
    if request.param == 'esanet':
        cfg['backbone']['type'] = 'mwam_mm.ESANetBackbone'
        cfg['neck'] = None
    init_default_scope('mmseg')
    torch.manual_seed(0)
    return MODELS.build(cfg).eval()


def images(*absent):
    """Two images; a blank one of the modalities named."""
    x = torch.randn(2, 4, 32, 32)
    for channels in absent:
        x[:, channels] = 0
    return x


def test_jit_trace_of_a_pair_predicts_others(model):
    # The example lacks depth, which the graph must not take for granted.
    traced = torch.jit.trace(model, images(slice(3, 4)), check_trace=False)
    x = images()
    torch.testing.assert_close(traced(x), model(x))
    assert (traced(x) - traced(x * x.new_tensor([1, 1, 1, 0]).view(
        1, 4, 1, 1))).abs().max() > 1e-3


@pytest.mark.skipif(
    digit_version(torch.__version__) < digit_version('2.7.0'),
    reason='torch.export of older PyTorch makes no graph of these models')
def test_torch_export(model):
    program = torch.export.export(
        model, (images(slice(3, 4)), ), strict=False)
    x = images()
    torch.testing.assert_close(program.module()(x), model(x))


def test_flops_of_mmengine(model):
    whole = get_model_complexity_info(model, (4, 32, 32))
    assert whole['params'] == sum(p.numel() for p in model.parameters())
    assert whole['flops'] > 0


def test_a_traced_graph_has_what_the_tensor_carries(model):

    class RGBOnly(torch.nn.Module):

        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, x):
            present = dict(rgb=[True, True], depth=[False, False])
            return self.model(with_presence(x * 1, present))

    x = images(slice(3, 4))
    traced = torch.jit.trace(RGBOnly(), x, check_trace=False)
    # Whatever depth there is: its branch is not in the graph.
    torch.testing.assert_close(traced(images(slice(0, 3)) + x), model(x))


def test_outside_of_a_tracer_the_values_count(model):
    assert not is_traced()
    x = images(slice(3, 4))
    assert model.backbone.layout.presence(x)['depth'] == [False, False]
