"""Count the parameters and FLOPs of each branch and each combination.

A combination of modalities costs its branches and everything after them. As
everywhere in OpenMMLab, one FLOP is one multiplication with its addition.
"""
import argparse
from typing import Dict, List, NamedTuple, Tuple

from mmengine.analysis import FlopAnalyzer, parameter_count
from mmengine.model import BaseModel
from rich import box
from rich.console import Console
from rich.table import Table
from torch import nn

from mwam_mm.apis import SingleCombination, init_model
from mwam_mm.cli import add_cfg_options
from mwam_mm.layout import combination_name
from mwam_mm.models.backbones.multi_branch import MultiBranch


class Cost(NamedTuple):
    """What a part of a model costs.

    Args:
        parameters (int): Number of parameters.
        flops (int): FLOPs of one image.
    """
    parameters: int
    flops: int


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='path of the config')
    parser.add_argument(
        '--shape',
        type=int,
        nargs=2,
        default=[512, 512],
        metavar=('HEIGHT', 'WIDTH'),
        help='size of the image as the network gets it, in pixels (default: '
        '512 512)')
    add_cfg_options(parser)
    return parser


def measure(model: BaseModel, height: int,
            width: int) -> Tuple[Dict[str, Cost], Dict[str, Cost]]:
    """Cost of each branch and of each combination.

    Args:
        model (BaseModel): The model.
        height (int): Height of the image in pixels.
        width (int): Its width.

    Returns:
        tuple[dict[str, Cost], dict[str, Cost]]: Modality to cost of its
        branch, empty where the model has no branches; combination to cost of
        all that runs for it.

    Raises:
        TypeError: If the model's data preprocessor has no layout.
    """
    branches: Dict[str, Cost] = {}
    combinations: Dict[str, Cost] = {}
    idle = idle_parameters(model)
    total = sum(p.numel() for p in model.parameters())
    for names in SingleCombination(model).layout.combinations():
        module = SingleCombination(model, names)
        flops = analyze(module, module.example(height, width))
        combinations[combination_name(names)] = Cost(
            total - sum(n for name, n in idle.items() if name not in names),
            flops.total())
        if not branches:  # this is the complete combination
            branches = {
                name: Cost(
                    parameter_count(branch)[''],
                    flops.by_module()[flops.canonical_module_name(path)])
                for path, name, branch in find_branches(module)
            }
    return branches, combinations


def analyze(module: nn.Module, inputs: tuple) -> FlopAnalyzer:
    analyzer = FlopAnalyzer(module, inputs)
    return analyzer.unsupported_ops_warnings(False).uncalled_modules_warnings(
        False).tracer_warnings('none')


def find_branches(model: nn.Module) -> List[Tuple[str, str, nn.Module]]:
    """Path, modality and module of each branch."""
    return [(f'{path}.branches.{name}', name, branch)
            for path, module in model.named_modules()
            if isinstance(module, MultiBranch)
            for name, branch in module.branches.items()]


def idle_parameters(model: nn.Module) -> Dict[str, int]:
    """Modality to the number of parameters that idle without it."""
    return {
        name: sum(p.numel() for part in module._parts(name)
                  for p in part.parameters())
        for module in model.modules() if isinstance(module, MultiBranch)
        for name in module.branches
    }


def table(title: str, costs: Dict[str, Cost]) -> Table:
    rows = Table(box=box.ASCII)
    rows.add_column(title)
    for column in ('parameters (M)', 'FLOPs (G)'):
        rows.add_column(column, justify='right')
    for name, cost in costs.items():
        rows.add_row(name, f'{cost.parameters / 1e6:.3f}',
                     f'{cost.flops / 1e9:.3f}')
    return rows


def main() -> None:
    parser = build_parser()
    args = parser.parse_args()
    model = init_model(args.config, device='cpu', cfg_options=args.cfg_options)
    branches, combinations = measure(model, *args.shape)
    console = Console()
    if branches:
        console.print(table('branch', branches))
    console.print(table('combination', combinations))
    console.print(f'Image of {args.shape[0]} x {args.shape[1]} pixels '
                  '(height x width)')


if __name__ == '__main__':
    main()
