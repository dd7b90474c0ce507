"""Write the boxes of a public dataset as COCO json with paired paths.

The datasets themselves read the published trees. The json files are for
mwam_mm.MultiModalCocoDataset, and for tools that know COCO: every image has
`file_name` and one path per further modality, all relative to the data_root.
Boxes that the datasets leave out are left out, and counted in the log.
"""
import argparse
import os.path as osp

from mwam_mm.stack import check_stack

check_stack('mmdet')
from mwam_mm.atomic import write_json  # noqa: E402
from mwam_mm.datasets import (  # noqa: E402
    DroneVehicleDataset,
    FLIRAlignedDataset,
    KAISTDataset,
    LLVIPDataset,
    M3FDDataset,
    PotholeDetDataset,
    UrbanTreesDataset,
    VEDAIDataset,
)

DATASETS = dict(
    drone_vehicle=DroneVehicleDataset,
    flir_aligned=FLIRAlignedDataset,
    kaist=KAISTDataset,
    llvip=LLVIPDataset,
    m3fd=M3FDDataset,
    potholes=PotholeDetDataset,
    urban_trees=UrbanTreesDataset,
    vedai=VEDAIDataset)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('dataset', choices=sorted(DATASETS))
    parser.add_argument('data_root', help='folder of the dataset')
    parser.add_argument(
        '-o',
        '--out',
        help='folder of the json files, one a split; by default annotations '
        'in data_root')
    args = parser.parse_args()
    out = args.out or osp.join(args.data_root, 'annotations')
    cls = DATASETS[args.dataset]
    try:
        # All before the first is written, which would be in the way of the
        # next try if the second has a mistake.
        contents = {
            osp.join(out, f'{split}.json'):
            cls(args.data_root, split, lazy_init=True).read_checked()
            for split in cls.SPLITS
        }
        for path, content in contents.items():
            write_json(path, content)
            print(f'{path}: {len(content["images"])} images, '
                  f'{len(content["annotations"])} boxes')
    except (OSError, ValueError) as error:
        parser.exit(1, f'{error}\n')


if __name__ == '__main__':
    main()
