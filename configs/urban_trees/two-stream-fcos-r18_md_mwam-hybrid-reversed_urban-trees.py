# The control: the same factors given to the wrong modality. With alpha = 1.5
# and beta = 1, a negative lambda turns K into 2 - K.
_base_ = './two-stream-fcos-r18_md_mwam-hybrid_urban-trees.py'
model = dict(neck=dict(mwam=dict(lam=-6.0)))
