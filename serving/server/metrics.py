"""Counters, gauges and histograms in Prometheus' text format, under TensorFlow Serving's names.

They are written here, because it takes a few lines, and a library would be one more dependency.
"""

from __future__ import annotations

import bisect
import math
import threading
from collections.abc import Sequence

# TensorFlow Serving's buckets of latencies, in microseconds: 10 µs to about 20 minutes.
LATENCY_BUCKETS = tuple(10 * 1.8**power for power in range(33))
BATCH_BUCKETS = tuple(float(2**power) for power in range(11))


def _label(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


class Metric:
    """One metric, with a value or a histogram per set of label values.

    Args:
        name: name in Prometheus.
        help: a description of one line.
        kind: "counter", "gauge" or "histogram".
        labels: names of the labels.
        buckets: upper bounds of a histogram's buckets.
    """

    def __init__(
        self,
        name: str,
        help: str,
        kind: str,
        labels: Sequence[str] = (),
        buckets: Sequence[float] = (),
    ):
        self.name, self.help, self.kind = name, help, kind
        self._labels, self._buckets = tuple(labels), tuple(buckets)
        self._cells: dict[tuple[str, ...], list[float]] = {}
        self._lock = threading.Lock()

    def _cell(self, labels: tuple[str, ...]) -> list[float]:
        # A histogram's cell: a count per bucket, the count above the last one, and the sum.
        return self._cells.setdefault(labels, [0.0] * (len(self._buckets) + 2))

    def add(self, *labels: str, amount: float = 1) -> None:
        """Adds to a counter or gauge."""
        with self._lock:
            self._cell(labels)[0] += amount

    def set(self, *labels: str, value: float) -> None:
        """Sets a gauge."""
        with self._lock:
            self._cell(labels)[0] = value

    def observe(self, *labels: str, value: float) -> None:
        """Adds a value to a histogram."""
        with self._lock:
            cell = self._cell(labels)
            cell[bisect.bisect_left(self._buckets, value)] += 1
            cell[-1] += value

    def remove(self, *labels: str) -> None:
        """Removes the value of a set of labels."""
        with self._lock:
            self._cells.pop(labels, None)

    def value(self, *labels: str) -> float:
        """Returns the value of a counter or gauge, or the number of values in a histogram."""
        with self._lock:
            cell = self._cells.get(labels, [0.0, 0.0])
            return sum(cell[:-1])

    def text(self) -> str:
        """Returns the metric in Prometheus' text format."""
        with self._lock:
            cells = {labels: list(cell) for labels, cell in self._cells.items()}
        lines = [f"# HELP {self.name} {self.help}", f"# TYPE {self.name} {self.kind}"]
        for labels, cell in sorted(cells.items()):
            pairs = [
                f'{name}="{_label(value)}"'
                for name, value in zip(self._labels, labels, strict=True)
            ]
            if self.kind != "histogram":
                lines.append(f"{self.name}{_braces(pairs)} {_number(cell[0])}")
                continue
            total = 0.0
            for bound, count in zip((*self._buckets, math.inf), cell[:-1], strict=True):
                total += count
                inner = _braces([*pairs, f'le="{_number(bound)}"'])
                lines.append(f"{self.name}_bucket{inner} {_number(total)}")
            lines.append(f"{self.name}_sum{_braces(pairs)} {_number(cell[-1])}")
            lines.append(f"{self.name}_count{_braces(pairs)} {_number(total)}")
        return "\n".join(lines) + "\n"


def _braces(pairs: Sequence[str]) -> str:
    return f"{{{','.join(pairs)}}}" if pairs else ""


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf"
    return f"{value:g}" if value != int(value) else str(int(value))


class Metrics:
    """The metrics of one server. Latencies are in microseconds."""

    def __init__(self):
        serving, core = ":tensorflow:serving:", ":tensorflow:core:"
        batching = serving + "batching_session:"
        self.request_count = Metric(
            serving + "request_count", "Requests.", "counter", ("model_name", "status")
        )
        self.request_latency = Metric(
            serving + "request_latency",
            "Microseconds from a parsed request to its answer.",
            "histogram",
            ("model_name", "API", "entrypoint"),
            LATENCY_BUCKETS,
        )
        self.runtime_latency = Metric(
            serving + "runtime_latency",
            "Microseconds in the TensorFlow runtime, per batch.",
            "histogram",
            ("model_name", "API", "runtime"),
            LATENCY_BUCKETS,
        )
        self.queuing_latency = Metric(
            batching + "queuing_latency",
            "Microseconds that requests waited for their batch.",
            "histogram",
            ("model_name",),
            LATENCY_BUCKETS,
        )
        self.batch_size = Metric(
            batching + "processed_batch_size",
            "Rows per batch, padding included.",
            "histogram",
            ("model_name",),
            BATCH_BUCKETS,
        )
        self.padding_size = Metric(
            batching + "padding_size",
            "Rows of padding per batch.",
            "histogram",
            ("model_name",),
            BATCH_BUCKETS,
        )
        self.queued = Metric(
            batching + "queued_rows", "Rows that wait for a batch now.", "gauge", ("model_name",)
        )
        self.loaded = Metric(
            core + "loaded_versions", "1 per available version.", "gauge",
            ("model_name", "version"),
        )  # fmt: skip
        self.load_latency = Metric(
            ":tensorflow:cc:saved_model:load_latency",
            "Microseconds that loading took.",
            "counter",
            ("model_path",),
        )
        self.load_attempts = Metric(
            ":tensorflow:cc:saved_model:load_attempt_count",
            "Attempts to load a version.",
            "counter",
            ("model_path", "status"),
        )
        self.connections = Metric(
            ":tf_sg2:rest_connections", "HTTP connections that are open now.", "gauge"
        )
        self.refused = Metric(
            ":tf_sg2:refused",
            "Refused requests and connections, by reason.",
            "counter",
            ("reason",),
        )

    def text(self) -> str:
        """Returns all metrics in Prometheus' text format."""
        return "".join(metric.text() for metric in vars(self).values())
