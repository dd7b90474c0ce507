"""K on the host."""
import operator

import pytest
import torch

from mwam_mm.balance.interventions.host_weights import HostWeights


@pytest.mark.parametrize(
    'device', ['cpu', pytest.param('cuda', marks=pytest.mark.cuda)])
def test_a_compiled_function_leaves_the_copy_to_python(device):
    """A graph would hold an event of its own, and nobody would wait for it.
    """
    kept = HostWeights('ab', torch.ones(2, device=device))
    graphs = []

    def backend(graph, inputs):
        graphs.append([node.target for node in graph.graph.nodes
                       if node.op not in ('placeholder', 'output')])
        return graph.forward

    @torch.compile(backend=backend)
    def double(x):
        y = x * 2
        kept.keep(y)
        return y + 1

    for i in range(3):
        assert double(torch.full((2, ), float(i), device=device)).tolist() == [
            2 * i + 1] * 2
        assert kept.weights.device.type == 'cpu'
        assert kept.weights.tolist() == [2 * i] * 2
    assert graphs == [[operator.mul], [operator.add]]
