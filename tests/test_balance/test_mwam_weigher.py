"""MWAM as a weigher."""
import torch

from mwam_mm.balance.weighers import MWAMWeigher

NAMES = ['rgb', 'depth']


def test_what_is_logged_of_the_bands():
    inputs = dict(rgb=torch.rand(2, 3, 16, 16), depth=torch.rand(2, 1, 16, 16))
    assert list(MWAMWeigher(NAMES).scalars()) == ['FRM']
    weigher = MWAMWeigher(NAMES, bands=True)
    weigher.mwam.update(inputs)
    scalars = weigher.scalars()
    assert list(scalars) == ['FRM', 'FRM_band1', 'FRM_band2']
    for name, band in (('FRM_band1', 0), ('FRM_band2', 1)):
        assert torch.equal(scalars[name], weigher.mwam.frm_of_bands[band])
        assert scalars[name].shape == (2, ) and scalars[name].isfinite().all()
