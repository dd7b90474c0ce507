"""Export one combination of the modalities of a trained model.

The graph has an input for each modality of the combination and nothing of the
others. Its inputs are not normalised; its outputs are logits of the image's
size (segmentation) or what the head gives for every place, before boxes are
made and selected (detectors of one stage). An ONNX file is run by onnxruntime
and compared with PyTorch.
"""
import argparse
import os
from math import isnan

from mwam_mm.apis import (
    SingleCombination,
    export_model,
    init_model,
    onnx_difference,
)
from mwam_mm.cli import add_cfg_options, load_safely
from mwam_mm.layout import combination_name

# Largest difference to PyTorch that is due to the order of summation.
TOLERANCE = 1e-4


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='path of the config')
    parser.add_argument('checkpoint', help='path of the checkpoint')
    parser.add_argument(
        '--out',
        required=True,
        help='file to write: .onnx, or .pt2 for torch.export.load')
    parser.add_argument(
        '--combination',
        metavar='NAME+NAME',
        help='the modalities that are there, e.g. rgb or rgb+depth (default: '
        'all)')
    parser.add_argument(
        '--shape',
        type=int,
        nargs=2,
        required=True,
        metavar=('HEIGHT', 'WIDTH'),
        help='size of the image as the network gets it, in pixels')
    add_cfg_options(parser)
    return parser


def main() -> None:
    parser = build_parser()
    args = parser.parse_args()
    load_safely()
    try:
        model = init_model(args.config, args.checkpoint, 'cpu',
                           args.cfg_options)
        module = SingleCombination(model, args.combination)
        images = module.example(*args.shape)
        export_model(module, images, args.out)
    except (FileNotFoundError, ImportError, ValueError) as error:
        parser.error(str(error))
    print(f'Written {combination_name(module.combination)} to {args.out}')
    for name, image in zip(module.combination, images):
        print(f'  input {name} {tuple(image.shape)}')
    for name, value in module.outputs(*images).items():
        print(f'  output {name} {tuple(value.shape)}')
    if args.out.endswith('.onnx'):
        check(module, images, args.out)


def check(module: SingleCombination, images: tuple, path: str) -> None:
    """Compare the file with PyTorch; remove it where they differ."""
    differences = onnx_difference(module, images, path)
    # NaN is neither less nor more than anything.
    name = max(differences,
               key=lambda n: (isnan(differences[n]), differences[n]))
    if not differences[name] <= TOLERANCE:
        os.remove(path)
        raise SystemExit(
            f'onnxruntime differs from PyTorch by {differences[name]:.2g} in '
            f'{name}, which is more than {TOLERANCE:g}: {path} is removed')
    print(f'onnxruntime differs from PyTorch by {differences[name]:.2g} at '
          'most')


if __name__ == '__main__':
    main()
