"""Timing on a machine with other load: in turns, as a ratio to a yardstick that runs in between."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

Run = tuple[float, float]  # Wall seconds, processor seconds of all threads.


@dataclass(frozen=True)
class Timing:
    """The runs of a function, each with the mean of the yardstick's runs before and after it.

    Processor time excludes the share of other programs, but also idle cores. It is the steadier
    number, and the more lenient one.
    """

    runs: tuple[Run, ...]
    yardstick: tuple[Run, ...]

    @property
    def best(self) -> float:
        """The least wall time in seconds."""
        return min(wall for wall, _ in self.runs)

    @property
    def median(self) -> float:
        """The median wall time in seconds."""
        return statistics.median(wall for wall, _ in self.runs)

    def in_yardsticks(self, kind: int) -> float:
        """Returns the median ratio of its time to the yardstick's; kind 0 is wall, 1 processor."""
        pairs = zip(self.runs, self.yardstick, strict=True)
        return statistics.median(own[kind] / beside[kind] for own, beside in pairs)


def time_of(function: Callable[[], object]) -> Run:
    """Times one call. The function must return only when its results are computed, on the CPU."""
    wall, processor = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - processor


def in_turns(
    functions: Sequence[Callable[[], object]], yardstick: Callable[[], object], repeats: int
) -> list[Timing]:
    """Runs yardstick and functions alternately, `repeats` times each, after one warm-up."""
    for function in functions:
        function()
    own: list[list[Run]] = [[] for _ in functions]
    beside: list[list[Run]] = [[] for _ in functions]
    for _ in range(repeats):
        before = time_of(yardstick)
        for i, function in enumerate(functions):
            own[i].append(time_of(function))
            after = time_of(yardstick)
            beside[i].append(((before[0] + after[0]) / 2, (before[1] + after[1]) / 2))
            before = after
    return [Timing(tuple(a), tuple(b)) for a, b in zip(own, beside, strict=True)]


def others_share(since: tuple[float, float]) -> tuple[float, tuple[float, float]]:
    """Returns the share of the processors that other programs used since the last call (Linux).

    Args:
        since: the second result of the last call; (0, 0) for the first call.

    Returns:
        The share, and the value of `since` for the next call.
    """
    fields = [float(text) for text in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    busy = (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")  # Not idle, not iowait.
    ours = time.process_time()
    total = sum(fields) / os.sysconf("SC_CLK_TCK")
    now = (total, busy - ours)
    elapsed = max(total - since[0], 1e-9)
    return max(now[1] - since[1], 0.0) / elapsed, now


def peak_memory() -> int:
    """Returns the largest resident size of this process so far, in bytes (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no VmHWM")
