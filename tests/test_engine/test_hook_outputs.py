"""What hooks get of a batch of several combinations."""
import torch
from mmengine.structures import BaseDataElement

from mwam_mm.engine.hook_outputs import HookOutputs


def prediction(value):
    return BaseDataElement(
        metainfo=dict(img_path='a.png'),
        pred_sem_seg=torch.tensor(value),
        seg_logits=torch.zeros(3),
        gt_sem_seg=torch.zeros(2))


def test_first_prediction_with_those_of_all():
    outputs, samples = HookOutputs(), [BaseDataElement() for _ in range(3)]
    full, rgb, other = map(prediction, range(3))
    outputs.add(('rgb', 'depth'), {0: full})
    outputs.add(('rgb', ), {0: rgb, 2: other})
    found = outputs.get(samples)
    assert found[0] is full and found[1] is samples[1] and found[2] is other
    assert list(full.combinations) == ['rgb+depth', 'rgb']
    assert list(other.combinations) == ['rgb']
    slim = full.combinations['rgb']
    assert slim.pred_sem_seg == 1 and slim.img_path == 'a.png'
    # neither logits nor annotations are kept once more
    assert list(slim.keys()) == ['pred_sem_seg']
    assert 'seg_logits' in rgb
