# Modalities of datasets whose statistics are not known.
# RGB with the statistics of ImageNet, for weights from there.
imagenet_rgb = dict(
    channels=3,
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True)
# 8-bit files of thermal or infrared, with only their range.
# tools/analysis_tools/check_dataset.py prints the statistics of your copy, to
# put into a file that inherits from the job.
grey = dict(channels=1, mean=127.5, std=127.5, file_channels=[0])
