# The embedded scene set, rendered by the first use.
data_root = 'data/scenes'
# Statistics of the training split; depth in metres, holes left out.
scene_modalities = dict(
    rgb=dict(
        channels=3,
        mean=[122.7, 118.5, 116.2],
        std=[47.1, 46.0, 46.5],
        bgr_to_rgb=True),
    depth=dict(
        channels=1, mean=3.78, std=1.23, scale=0.001, invalid_value=0),
    thermal=dict(channels=1, mean=86.2, std=19.9))
