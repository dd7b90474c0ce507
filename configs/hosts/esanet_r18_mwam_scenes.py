# The streams are not separate calls, so MWAM goes by their parameters; the
# fusions inside the encoder and the decoder keep their gradients.
_base_ = './esanet_r18_scenes.py'
custom_hooks = [
    dict(
        type='mwam_mm.MWAMHook',
        branches=dict(
            rgb='backbone.branches.rgb', depth='backbone.branches.depth'),
        inputs=dict(
            rgb='backbone.branches.rgb.conv1',
            depth='backbone.branches.depth.conv1'))
]
