"""Rows of a batch, each with modalities of its own."""
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mwam_mm.models.subsets import own_labels, restrict, select, take_rows

from .test_host import batch, build


@pytest.mark.parametrize('rows', [
    [], [0], [0, 1], [1, 2], [3], [0, 1, 2, 3], [3, 2], [0, 2], [1, 1]])
def test_rows_of_a_batch(rows):
    x = torch.rand(4, 2, 3)
    assert torch.equal(take_rows(x, rows), x[rows])


def test_each_row_with_modalities_of_its_own():
    model = build()
    x, _ = batch(model, [(1, 'depth')]).values()
    outputs = model.backbone(x)
    rows, present = [0, 0, 1, 3], dict(
        rgb=[True, False, True, False], depth=[False, True, False, True])
    restricted = restrict(outputs, rows, present)
    assert restricted.present == present
    for name, flags in present.items():
        for level, of_batch in zip(restricted.features[name],
                                   outputs.features[name]):
            for row, flag, found in zip(rows, flags, level):
                assert torch.equal(found, of_batch[row] * flag)
        assert torch.equal(
            restricted.inputs[name], outputs.inputs[name][rows])


def test_labels_of_ones_own():
    """A head may take fields out of them, and change nested ones."""
    data = torch.zeros(1, 2, 2)
    sample = SegDataSample(gt_sem_seg=PixelData(data=data))
    own, other = own_labels([sample, 'not of MMEngine'])
    assert other == 'not of MMEngine'
    assert own.gt_sem_seg.data is data
    own.gt_sem_seg.data = data + 1
    assert sample.gt_sem_seg.data is data
    del own.gt_sem_seg
    assert 'gt_sem_seg' in sample and 'gt_sem_seg' not in own
    own.more = PixelData()
    assert 'more' not in sample.keys()


def test_a_subset_that_no_sample_has():
    model = build()
    x, _ = batch(model, [(i, 'depth') for i in range(4)]).values()
    assert select(model.backbone(x), ['depth']).rows == []


@pytest.mark.parametrize('names', [(), ('rgb', 'radar')])
def test_wrong_subsets(names):
    model = build()
    x, _ = batch(model).values()
    with pytest.raises(ValueError, match=r"must name some of.*\['rgb'"):
        select(model.backbone(x), names)
