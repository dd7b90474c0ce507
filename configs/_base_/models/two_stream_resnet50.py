# ResNet-50 per modality, gated fusion at every level and SegFormer's all-MLP
# head: for datasets of full size, on GPUs.
_base_ = './two_stream_resnet18.py'
channels = [256, 512, 1024, 2048]
model = dict(
    backbone=dict(branch=dict(depth=50, base_channels=64, stem_channels=64)),
    neck=dict(in_channels=channels),
    decode_head=dict(in_channels=channels, channels=256))
