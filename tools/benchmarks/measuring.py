"""Timing side by side, and what a benchmark reports."""
import platform
import time
from dataclasses import asdict, dataclass, field
from typing import Callable, Dict, Iterable, List, Optional

import numpy as np
import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile


@dataclass
class Setting:
    """How to measure.

    Args:
        device (str): 'cpu' or 'cuda'.
        repeats (int): Timed repeats after warm-up.
        quick (bool): Fewer and smaller cases.
        tiny (bool): Smallest of all, to try that the benchmark works.
        clock (Callable): Gives the time in seconds.
    """
    device: str = 'cpu'
    repeats: int = 20
    quick: bool = False
    tiny: bool = False
    clock: Callable[[], float] = time.perf_counter


@dataclass
class Result:
    """One figure: a ratio and its target.

    Args:
        part (str): Letter of the part.
        name (str): What was measured.
        ratio (float): Median over the repeats.
        low (float): Lower quartile.
        high (float): Upper quartile.
        at_most (float, optional): The target, if it is an upper bound.
        at_least (float, optional): The target, if it is a lower bound.
        within_spread (bool): Whether the quartile nearer to the target is
            held against it rather than the median, for what cannot be told
            apart.
        details (dict): Further figures.
    """
    part: str
    name: str
    ratio: float
    low: float
    high: float
    at_most: Optional[float] = None
    at_least: Optional[float] = None
    within_spread: bool = False
    details: Dict[str, float] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        if self.at_most is not None:
            ratio = self.low if self.within_spread else self.ratio
            return 'pass' if ratio <= self.at_most else 'falls short'
        if self.at_least is not None:
            ratio = self.high if self.within_spread else self.ratio
            return 'pass' if ratio >= self.at_least else 'falls short'
        return ''

    def as_dict(self) -> dict:
        return dict(asdict(self), verdict=self.verdict)


def alternate(functions: Dict[str, Callable[[], object]],
              setting: Setting,
              repeats: Optional[int] = None,
              warm_up: int = 2) -> Dict[str, np.ndarray]:
    """Run functions in turn, so that all see the same state of the machine.

    Returns:
        dict[str, np.ndarray]: Seconds of each repeat.
    """
    repeats = repeats or setting.repeats
    seconds: Dict[str, List[float]] = {name: [] for name in functions}
    for i in range(warm_up + repeats):
        for name, function in functions.items():
            synchronise(setting)
            start = setting.clock()
            function()
            synchronise(setting)
            if i >= warm_up:
                seconds[name].append(setting.clock() - start)
    return {name: np.array(values) for name, values in seconds.items()}


def alternate_on_device(functions: Dict[str, Callable[[], object]],
                        setting: Setting) -> Dict[str, np.ndarray]:
    """As :func:`alternate`, of what a CUDA device does, without launching it.

    Several calls of a function are captured in a graph, whose replays are
    timed by events.

    Returns:
        dict[str, np.ndarray]: Seconds of a call in each repeat.
    """
    graphs, calls = {}, 20
    for name, function in functions.items():
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # compiles and allocates
            for _ in range(3):
                function()
        torch.cuda.current_stream().wait_stream(stream)
        graphs[name] = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graphs[name]):
            for _ in range(calls):
                function()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def replay(graph: torch.cuda.CUDAGraph) -> float:
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1000 / calls

    seconds: Dict[str, List[float]] = {name: [] for name in functions}
    for i in range(2 + setting.repeats):
        for name, graph in graphs.items():
            second = replay(graph)
            if i >= 2:
                seconds[name].append(second)
    return {name: np.array(values) for name, values in seconds.items()}


def alternate_kernels(
        functions: Dict[str, Callable[[], object]],
        setting: Setting,
        repeats: Optional[int] = None) -> Dict[str, np.ndarray]:
    """As :func:`alternate_on_device`, of functions that wait for the device.

    The times of their kernels are added up.

    Returns:
        dict[str, np.ndarray]: Seconds of a call in each repeat.
    """
    seconds: Dict[str, List[float]] = {name: [] for name in functions}
    for function in functions.values():
        function()
    for _ in range(repeats or setting.repeats):
        for name, function in functions.items():
            synchronise(setting)
            with profile(activities=[ProfilerActivity.CUDA]) as profiler:
                function()
                synchronise(setting)
            seconds[name].append(
                kernel_seconds(profiler.profiler.kineto_results.events()))
    return {name: np.array(values) for name, values in seconds.items()}


def kernel_seconds(events: Iterable) -> float:
    """The times of the kernels among a profiler's events, added up."""
    # PyTorch before 2.3 counts microseconds.
    return sum(
        event.duration_ns() / 1e9
        if hasattr(event, 'duration_ns') else event.duration_us() / 1e6
        for event in events if event.device_type() == DeviceType.CUDA)


def synchronise(setting: Setting) -> None:
    if setting.device == 'cuda':
        torch.cuda.synchronize()


def compare(part: str,
            name: str,
            above: np.ndarray,
            below: np.ndarray,
            at_most: Optional[float] = None,
            at_least: Optional[float] = None,
            within_spread: bool = False) -> Result:
    """The ratio of two series of seconds, repeat by repeat."""
    low, median, high = np.percentile(above / below, [25, 50, 75])
    return Result(
        part, name, float(median), float(low), float(high), at_most,
        at_least, within_spread,
        dict(
            above_ms=1e3 * float(np.median(above)),
            below_ms=1e3 * float(np.median(below)),
            # Other load disturbs the fastest repeats least.
            ratio_of_minima=float(above.min() / below.min())))


def machine(setting: Setting) -> dict:
    """What the figures were measured on."""
    name = platform.processor() or platform.machine()
    try:
        with open('/proc/cpuinfo') as file:
            name = next(
                line.split(':')[1].strip() for line in file
                if line.startswith('model name'))
    except (OSError, StopIteration):
        pass  # not Linux, or a processor without a name
    return dict(
        processor=name,
        threads=torch.get_num_threads(),
        device=torch.cuda.get_device_name()
        if setting.device == 'cuda' else 'cpu',
        torch=torch.__version__,
        python=platform.python_version())
