"""Opens the eyes that metrics need, and finds their weight files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tf_sg2.errors import InputError
from tf_sg2.metrics.evaluator import METRICS
from tf_sg2.metrics.features.weight_files import READERS, SOURCES

OPTIONS = ("tensor", "size", "mean", "std", "channels", "pool", "name")
RESERVED = ("ppocr", "inception", "vgg16", "lpips")
WEIGHTS = {"inception": "inception", "vgg16": "vgg16", "lpips": "vgg16"}  # Eye -> its file.


@dataclass(frozen=True)
class Eyes:
    """The eyes of an evaluation.

    Attributes:
        default: of the metrics whose names promise none; None if there are none.
        more: further eyes by name.
        lpips: the distance of path lengths; None if there are none.
        lpips_sha256: the hash of its weight file.
    """

    default: Any
    more: Mapping[str, Any] = field(default_factory=dict)
    lpips: Any = None
    lpips_sha256: str | None = None


def open_eyes(
    names: Sequence[str],
    features: str = "ppocr",
    weights: Sequence[str] = (),
    options: str | None = None,
) -> Eyes:
    """Opens the eyes that metrics need.

    Args:
        names: names of metrics.
        features: of the metrics whose names promise no eye: "ppocr", "inception", "vgg16" or the
            path of an .onnx file.
        weights: weight files, see `find_weights`.
        options: arguments of `OnnxFeatures` for an .onnx file, a JSON object.

    Raises:
        InputError: for an unknown metric or eye, or weights that are missing or wrong.
    """
    require_names(names)
    kinds = [METRICS[name] for name in names]
    free = any(metric.eye is None and metric.kind != "ppl" for metric in kinds)
    promised = {metric.eye for metric in kinds if metric.eye not in (None, "lpips")}
    wanted = [*({features} if free else ()), *sorted(promised)]
    path_lengths = any(metric.kind == "ppl" for metric in kinds)
    files = find_weights([*wanted, *(["lpips"] if path_lengths else [])], weights)
    opened = {name: _open(name, files, options) for name in dict.fromkeys(wanted)}
    default = opened.get(features) if free else None
    more = {name: opened[name] for name in promised}
    if not path_lengths:
        return Eyes(default, more)
    from tf_sg2.metrics.features.lpips import LPIPS
    from tf_sg2.metrics.features.weight_files import read_weights

    file = read_weights(files["vgg16"], "vgg16")
    return Eyes(default, more, LPIPS("vgg16", file.arrays).of_pixels, file.sha256)


def require_names(names: Sequence[str]) -> None:
    """Refuses unknown metrics.

    Raises:
        InputError: names the first one, or says that there is none.
    """
    for name in names:
        if name not in METRICS:
            raise InputError(f"there is no metric {name!r}; take some of {', '.join(METRICS)}")
    if not names:
        raise InputError(f"no metric was asked for; name some of {', '.join(METRICS)}")


def find_weights(eyes: Sequence[str], given: Sequence[str]) -> dict[str, Path]:
    """Returns the weight file of each eye that needs one, by its key of `SOURCES`.

    Args:
        eyes: names of eyes.
        given: each is `EYE=PATH`, a folder of files with their published names, or a file. A
            file with another name serves if only one file is needed.

    Raises:
        InputError: if one is missing.
    """
    needed = list(dict.fromkeys(WEIGHTS[eye] for eye in eyes if eye in WEIGHTS))
    named: dict[str, Path] = {}
    others: list[Path] = []
    for text in given:
        name, equals, where = text.partition("=")
        if equals and name in SOURCES:
            named[name] = Path(where)
        else:
            others.append(Path(text))
    for path in [*named.values(), *others]:
        if not path.exists():
            raise InputError(f"the weight file {path} does not exist; tf-sg2 features names them")
    return {key: named.get(key) or _found(key, others, needed) for key in needed}


def _found(key: str, others: Sequence[Path], needed: Sequence[str]) -> Path:
    stem = Path(SOURCES[key].file).stem
    for path in others:
        candidates = sorted(path.iterdir()) if path.is_dir() else [path]
        for file in candidates:
            if file.stem == stem and file.suffix.lower() in READERS:
                return file
    files = [path for path in others if path.is_file()]
    if len(needed) == 1 and len(files) == 1:
        return files[0]
    where = f" (not among {', '.join(map(str, others))})" if others else ""
    raise InputError(
        f"the weights of {key!r} are needed{where}: {SOURCES[key].command}, then give "
        f"--feature_weights={key}={SOURCES[key].file}"
    )


def _open(name: str, files: Mapping[str, Path], options: str | None) -> Any:
    from tf_sg2.metrics import features

    if options is not None and not name.endswith(".onnx"):
        raise InputError(f"--feature_options are of an .onnx file, not of the eye {name!r}")
    if name == "ppocr":
        return features.PPOCR()
    if name == "inception":
        return features.InceptionEye(files["inception"])
    if name == "vgg16":
        return features.VGG16Eye(files["vgg16"])
    if name.endswith(".onnx"):
        if not Path(name).is_file():
            raise InputError(f"there is no ONNX model at {name}; give an existing file")
        eye = features.OnnxFeatures(name, **_options(options))
        if eye.name in RESERVED:
            raise InputError(
                f"the results of {name} would be called by {eye.name!r}, which is another eye; "
                'give a name, as in --feature_options={"name": "mine"}'
            )
        return eye
    raise InputError(
        f"there is no eye {name!r}; take ppocr, inception, vgg16 or the path of an .onnx file"
    )


def _options(text: str | None) -> dict[str, Any]:
    wanted = f"a JSON object with some of {', '.join(OPTIONS)}, such as " + '{"size": [224, 224]}'
    try:
        found = json.loads(text or "{}")
    except ValueError as error:
        raise InputError(
            f"--feature_options={text} is not JSON ({error}); give {wanted}"
        ) from error
    if not isinstance(found, dict) or set(found) - set(OPTIONS):
        raise InputError(f"--feature_options={text} is not {wanted}")
    for key in ("size", "mean", "std"):
        value = found.get(key)
        if value is None:
            found.pop(key, None)
            continue
        length = 2 if key == "size" else 3
        number = int if key == "size" else (int, float)
        if (
            not isinstance(value, list)
            or len(value) != length
            or not all(isinstance(v, number) and not isinstance(v, bool) and v >= 0 for v in value)
        ):
            raise InputError(f"--feature_options: {key} must be a list of {length} numbers")
        found[key] = tuple(value)
    for key in ("tensor", "channels", "pool", "name"):
        if key in found and not isinstance(found[key], str):
            raise InputError(f"--feature_options: {key} must be a text")
    return found
