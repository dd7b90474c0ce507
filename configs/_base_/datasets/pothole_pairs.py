# Real RGB-D pairs in their publishers' layout; inherited by potholes.py with
# label maps and potholes_det.py with boxes.
data_root = 'data/potholes'
# Statistics of the training split, 0 of the disparity left out.
modalities = dict(
    rgb=dict(
        channels=3,
        mean=[140.7, 139.9, 140.2],
        std=[30.1, 29.0, 27.7],
        bgr_to_rgb=True),
    depth=dict(
        channels=1,
        mean=0.849,
        std=0.084,
        scale=1 / 65535,
        invalid_value=0))
image_size = (256, 152)  # width, height
