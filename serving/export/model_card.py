"""The model card of an exported version: its content, its origin and its measured quality.

It is in the version's folder `assets.extra`, as JSON for programs and as Markdown for people.
"""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import tensorflow as tf

from tf_sg2 import __version__
from tf_sg2.config import to_dict
from tf_sg2.runs.checkpoints import checkpoint_hashes
from tf_sg2.runs.directory import RunDirectory
from tf_sg2.runs.imported import read_origin
from tf_sg2.runs.load import LoadedRun
from tf_sg2.serving.export.signatures import inputs_of, signatures_of

JSON_PATH = Path("assets.extra") / "model_card.json"
MARKDOWN_PATH = Path("assets.extra") / "model_card.md"
FORMAT = 1
NO_LICENSE = "not stated; tf-sg2 export takes --license"


def model_card(
    run: LoadedRun,
    name: str,
    version: int,
    license_text: str | None,
    rows_at_once: int,
    bfloat16_difference: dict[str, float] | None,
    operations: list[str],
) -> dict[str, Any]:
    """Returns the card as plain JSON types.

    Args:
        run: the exported run.
        name: name of the model.
        version: number of the version.
        license_text: licence of the weights; None if it was not given.
        rows_at_once: see `ServedModel`.
        bfloat16_difference: the result of `bfloat16.compare`; None for float32.
        operations: names of the operations in the graph.
    """
    config = run.config.generator
    known = inputs_of(config)
    origin = read_origin(run.directory)
    iteration = run.checkpoint.name.rpartition("-")[2]
    return {
        "format": FORMAT,
        "model": name,
        "version": version,
        "exported": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "software": {"tf_sg2": __version__, "tensorflow": tf.__version__},
        "license": license_text or (origin["license"] if origin else NO_LICENSE),
        "origin": origin,
        "training": {
            "images_seen": run.images_seen,
            "kimg": run.images_seen / 1000,
            "iteration": int(iteration) if iteration.isdigit() else None,
        },
        "data": {"source": run.config.data.source, "mirror": run.config.data.mirror},
        "metrics": read_metrics(run.directory),
        "checkpoint": {"name": run.checkpoint.name, "sha256": checkpoint_hashes(run.checkpoint)},
        "precision": "float32" if bfloat16_difference is None else "bfloat16",
        "difference_from_float32": bfloat16_difference,
        "rows_at_once": rows_at_once,
        "signatures": {
            name: {
                "meaning": signature.meaning,
                "inputs": {
                    key: {"dtype": known[key].dtype.name, "shape": ["N", *known[key].row]}
                    for key in signature.inputs
                },
                "output": {
                    "name": signature.output,
                    "dtype": signature.row.dtype.name,
                    "shape": ["N", *signature.row.shape],
                },
            }
            for name, signature in signatures_of(config).items()
        },
        "operations": operations,
        "configuration": to_dict(run.config),
    }


def write_card(folder: Path, card: dict[str, Any]) -> None:
    """Writes the card into the folder of a version, as JSON and as Markdown."""
    (folder / JSON_PATH).parent.mkdir(exist_ok=True)
    text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
    (folder / JSON_PATH).write_text(text, encoding="utf-8")
    (folder / MARKDOWN_PATH).write_text(to_markdown(card), encoding="utf-8")


def read_metrics(directory: RunDirectory) -> dict[str, Any]:
    """Returns the metrics of a run by file name: a whole .json, or the last line of a .jsonl.

    A file that is not JSON gives "unreadable", because it must not stop an export.
    """
    found: dict[str, Any] = {}
    folder = directory.metrics
    for path in sorted(folder.rglob("*.json*")) if folder.is_dir() else ():
        if path.suffix not in (".json", ".jsonl") or not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8")
            if path.suffix == ".jsonl":
                text = next((line for line in reversed(text.splitlines()) if line.strip()), "null")
            content = json.loads(text)
        except (OSError, ValueError):
            content = "unreadable"
        found[path.relative_to(folder).as_posix()] = content
    return found


def to_markdown(card: dict[str, Any]) -> str:
    """Returns the card as a Markdown page."""
    training, generator = card["training"], card["configuration"]["generator"]
    height, width = generator["image_size"]
    lines = [
        f"# {card['model']}, version {card['version']}",
        "",
        "A StyleGAN2 generator (Karras et al. 2019, arXiv 1912.04958) with the moving average of "
        "its training weights.",
        "",
        "| | |",
        "|---|---|",
        f"| Pictures | {height}×{width} pixels, {generator['image_channels']} channels |",
        f"| Classes | {generator['label_dim'] or 'none: unconditional'} |",
        f"| Training | {training['kimg']:g} thousand images shown, iteration "
        f"{training['iteration']} |",
        f"| Data | {_cell(card['data']['source'] or 'not named')}"
        f"{', mirrored' if card['data']['mirror'] else ''} |",
        f"| Licence | {_cell(card['license'])} |",
        *_origin_rows(card["origin"]),
        f"| Precision | {_precision(card)} |",
        f"| Rows at once | {card['rows_at_once']} |",
        f"| Exported | {card['exported']}, tf_sg2 {card['software']['tf_sg2']}, TensorFlow "
        f"{card['software']['tensorflow']} |",
        "",
        "## Metrics",
        "",
    ]
    if card["metrics"]:
        metrics = json.dumps(card["metrics"], indent=2, ensure_ascii=False)
        lines += ["```json", metrics, "```"]
    else:
        lines.append("None were measured.")
    lines += ["", "## Signatures", "", "| Name | Inputs | Output | |", "|---|---|---|---|"]
    for name, signature in card["signatures"].items():
        inputs = ", ".join(f"`{key}` {_form(form)}" for key, form in signature["inputs"].items())
        output = f"`{signature['output']['name']}` {_form(signature['output'])}"
        lines.append(f"| {name} | {inputs} | {output} | {signature['meaning']} |")
    lines += ["", "## Checkpoint", "", "| File | SHA-256 |", "|---|---|"]
    lines += [f"| {name} | `{digest}` |" for name, digest in card["checkpoint"]["sha256"].items()]
    configuration = json.dumps(card["configuration"], indent=2, ensure_ascii=False)
    lines += ["", "## Configuration", "", "```json", configuration, "```", ""]
    return "\n".join(lines)


def _origin_rows(origin: dict[str, Any] | None) -> list[str]:
    """Returns the rows about an imported network's file."""
    if origin is None:
        return []
    return [f"| Origin | {_cell(origin['file'])} ({origin['kind']}), SHA-256 {origin['sha256']} |"]


def _precision(card: dict[str, Any]) -> str:
    difference = card["difference_from_float32"]
    if difference is None:
        return "float32"
    return (
        f"bfloat16. Its pictures differ from those of float32 by {difference['rms_levels']:g} of "
        f"255 levels RMS, at most {difference['largest_levels']:g}, PSNR "
        f"{difference['psnr_db']:g} dB ({difference['seeds']} seeds, psi "
        f"{difference['truncation_psi']:g})"
    )


def _form(form: dict[str, Any]) -> str:
    return f"{form['dtype']} [{', '.join(map(str, form['shape']))}]"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
