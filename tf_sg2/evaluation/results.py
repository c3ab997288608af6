"""Results on disk: `metrics/metric-NAME.jsonl` of a run, scalars for TensorBoard, and a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tf_sg2.runs.directory import RunDirectory
from tf_sg2.runs.lines import append_line, read_lines

FLOOR = "_floor"

# Official kinds whose numbers torch-fidelity computes in the same way, with its keys.
TORCH_FIDELITY = {
    "fid50k": {"": "frechet_inception_distance"},
    "kid50k": {"": "kernel_inception_distance_mean", "_std": "kernel_inception_distance_std"},
    "is50k": {"_mean": "inception_score_mean", "_std": "inception_score_std"},
    "pr50k3": {"_precision": "precision", "_recall": "recall"},
}


def write(
    run_directory: str | Path | RunDirectory,
    metric: str,
    results: Mapping[str, float],
    seconds: float,
    checkpoint: str | None,
    iteration: int | None,
    kimg: float | None,
    recipe: Mapping[str, Any],
) -> Path:
    """Appends a line to `metrics/metric-NAME.jsonl` of a run and returns the file's path.

    Args:
        run_directory: the run.
        metric: the name that was asked for, such as "fd".
        results: numbers by name, such as "fd_ppocr" and "fd_ppocr_floor".
        seconds: how long it took.
        checkpoint: name of the checkpoint.
        iteration: iteration of the checkpoint.
        kimg: thousands of images shown until the checkpoint.
        recipe: all that a reader needs to compute the same numbers.

    Raises:
        InputError: if the file cannot be written.
    """
    run = run_directory if isinstance(run_directory, RunDirectory) else RunDirectory(run_directory)
    return append(
        run.metrics, line_of(metric, results, seconds, checkpoint, iteration, kimg, recipe)
    )


def line_of(
    metric: str,
    results: Mapping[str, float],
    seconds: float,
    checkpoint: str | None,
    iteration: int | None,
    kimg: float | None,
    recipe: Mapping[str, Any],
) -> dict[str, Any]:
    """Returns the JSON object of a result; the arguments are those of `write`."""
    line = {
        "results": dict(results),
        "metric": metric,
        "seconds": round(seconds, 3),
        "checkpoint": checkpoint,
        "iteration": iteration,
        "kimg": kimg,
        "recipe": dict(recipe),
    }
    known = torch_fidelity_keys(metric, results)
    if known:
        line["torch_fidelity"] = known
    return line


def append(folder: str | Path, line: Mapping[str, Any]) -> Path:
    """Appends an object of `line_of` to its file in `folder` and returns the file's path.

    Raises:
        InputError: if the file cannot be written.
    """
    path = file_of(folder, line["metric"])
    append_line(path, line)
    return path


def file_of(folder: str | Path, metric: str) -> Path:
    """Returns the path of a metric's file."""
    return Path(folder) / f"metric-{metric}.jsonl"


def read(folder: str | Path) -> dict[str, list[dict[str, Any]]]:
    """Returns the lines of all files of a folder of metrics, by metric."""
    paths = sorted(Path(folder).glob("metric-*.jsonl"))
    return {path.stem.removeprefix("metric-"): read_lines(path) for path in paths}


def torch_fidelity_keys(metric: str, results: Mapping[str, float]) -> dict[str, float]:
    """Returns the results under the keys of torch-fidelity, where they mean the same.

    Its Fréchet distance divides covariances by n - 1, so it differs by about 1/n. Its path length
    walks otherwise, so it has no key here.
    """
    keys = TORCH_FIDELITY.get(metric.removesuffix("_full"), {})
    found = {key: results[metric + end] for end, key in keys.items() if metric + end in results}
    if {"precision", "recall"} <= set(found):
        total = found["precision"] + found["recall"]
        product = found["precision"] * found["recall"]
        found["f_score"] = 2 * product / total if total else 0.0
    return found


def write_scalars(folder: str | Path, images_seen: int, results: Mapping[str, float]) -> None:
    """Writes results for TensorBoard into `folder`, which TensorBoard shows as a run of its own.

    They are not written beside the events of training: evaluations come in any order, and a
    resumed run cuts its own events by their order.
    """
    import tensorflow as tf

    writer = tf.summary.create_file_writer(str(folder))
    with writer.as_default(step=images_seen):
        for name, value in results.items():
            tf.summary.scalar(f"metrics/{name}", value)
    writer.close()


def table(results: Iterable[Mapping[str, float]]) -> str:
    """Returns results as lines of name, value and floor."""
    rows = [("metric", "value", "floor")]
    for some in results:
        for name, value in some.items():
            if name.endswith(FLOOR) and name.removesuffix(FLOOR) in some:
                continue
            floor = some.get(name + FLOOR)
            rows.append((name, f"{value:.5g}", "" if floor is None else f"{floor:.5g}"))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    return "\n".join(
        f"{name:<{widths[0]}}  {value:>{widths[1]}}  {floor:>{widths[2]}}".rstrip()
        for name, value, floor in rows
    )
