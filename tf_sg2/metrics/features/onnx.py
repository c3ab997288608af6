"""Any ONNX model as an eye, through ONNX Runtime (the extra `evaluation`).

This covers DINOv2, CLIP and whatever else can be exported. A tensor inside the model can be
read, too: one more output is declared, nothing else of the file changes.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tf_sg2.errors import InputError, first_line
from tf_sg2.metrics.features.weight_files import file_sha256

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
PART_IMAGES = 8  # Images per run of a model without a batch size of its own.
POOLS = ("auto", "mean", "first")
FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


class OnnxFeatures:
    """uint8 images to the features that an ONNX model computes.

    Args:
        path: the model. Its first input takes float32 [N, 3, H, W].
        tensor: the name of the tensor to read; None reads the first output.
        size: (height, width) to resize to; None takes the model's own fixed size.
        mean, std: of each channel, for values from 0 to 1; ImageNet's by default.
        channels: "rgb" or "bgr", the order that the model takes.
        pool: how values become one row per image. "auto" takes means over the pixels of
            [N, C, h, w] and the first token of [N, tokens, C]. "mean" and "first" say it for
            tokens.
        name: what the results are called by, `fd_NAME`; the file's name by default.
        resample: "bilinear", "bicubic" or "lanczos", Pillow's filters. They look at more pixels
            where they shrink, so they are antialiased.

    Call: images uint8 [N, H, W, 3] -> float32 [N, d].

    Example:
        eye = OnnxFeatures("dinov2_vits14.onnx", size=(224, 224))
        frechet_distance(eye(real), eye(generated))

    Raises:
        InputError: if ONNX Runtime is not installed, the file is no such model, there is no such
            tensor, or the images are not uint8 RGB.
    """

    def __init__(
        self,
        path: str | Path,
        tensor: str | None = None,
        size: tuple[int, int] | None = None,
        mean: tuple[float, ...] = IMAGENET[0],
        std: tuple[float, ...] = IMAGENET[1],
        channels: str = "rgb",
        pool: str = "auto",
        name: str | None = None,
        resample: str = "bilinear",
    ):
        if channels not in ("rgb", "bgr"):
            raise InputError(f"channels are {channels!r}; they must be 'rgb' or 'bgr'")
        if pool not in POOLS:
            raise InputError(f"there is no pool {pool!r}; take one of {', '.join(POOLS)}")
        if resample not in FILTERS:
            raise InputError(f"there is no filter {resample!r}; take one of {', '.join(FILTERS)}")
        self.path = Path(path)
        self.name = name or self.path.stem
        self.mean, self.std = np.array(mean, np.float32), np.array(std, np.float32)
        self.channels, self.pool, self.resample = channels, pool, resample
        self.sha256 = file_sha256(self.path)
        self.session = _session(self.path, tensor)
        self.tensor = tensor or self.session.get_outputs()[0].name
        entry = self.session.get_inputs()[0]
        self.input = entry.name
        self.batch, self.size = _input_sizes(self.path, entry.shape, size)

    @property
    def recipe(self) -> dict[str, Any]:
        """Everything that a result's reader needs to compute the same features."""
        return {
            "eye": self.name,
            "sha256": self.sha256,
            "tensor": self.tensor,
            "resize": f"{self.size[0]}x{self.size[1]} {self.resample}, antialiased",
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
            "channels": self.channels,
            "pool": self.pool,
        }

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Returns features [N, d] of uint8 images [N, H, W, 3]."""
        images = _checked(images)
        step = self.batch or PART_IMAGES
        parts = [images[start : start + step] for start in range(0, len(images), step)]
        # The next part is prepared while the model runs; Pillow and ONNX Runtime let threads run.
        with ThreadPoolExecutor(1) as preparer:
            inputs = preparer.map(self.network_input, parts)
            rows = [self._pooled(self._run(x)) for x in inputs]
        return np.concatenate(rows).astype(np.float32, copy=False)

    def network_input(self, images: np.ndarray) -> np.ndarray:
        """Returns images as the model takes them, float32 [N, 3, height, width]."""
        images = _checked(images)
        height, width = self.size
        if images.shape[1:3] != self.size:
            resized = [
                Image.fromarray(image).resize((width, height), FILTERS[self.resample])
                for image in images
            ]
            images = np.stack([np.asarray(image) for image in resized])
        x = np.empty([len(images), 3, height, width], np.float32)
        order = (2, 1, 0) if self.channels == "bgr" else (0, 1, 2)
        for plane, channel in enumerate(order):  # Much faster than all channels at once.
            np.divide(images[..., channel], np.float32(255), out=x[:, plane])
            x[:, plane] -= self.mean[plane]
            x[:, plane] /= self.std[plane]
        return x

    def _run(self, x: np.ndarray) -> np.ndarray:
        count = len(x)
        if self.batch and count < self.batch:  # A fixed batch size is filled up.
            x = np.concatenate([x, np.repeat(x[-1:], self.batch - count, axis=0)])
        try:
            (values,) = self.session.run([self.tensor], {self.input: x})
        except Exception as error:  # ONNX Runtime's errors share no other base.
            raise InputError(f"{self.path} fails on images: {first_line(error)}") from error
        return values[:count]

    def _pooled(self, values: np.ndarray) -> np.ndarray:
        if values.ndim == 4:
            return values.mean(axis=(2, 3))
        if values.ndim == 3:
            return values.mean(axis=1) if self.pool == "mean" else values[:, 0]
        if values.ndim == 2:
            return values
        raise InputError(
            f"tensor {self.tensor!r} of {self.path} has shape {values.shape}; an eye needs one "
            "row, tokens, or a feature map per image"
        )


def _checked(images: np.ndarray) -> np.ndarray:
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or not images.size:
        raise InputError(
            f"images are {images.dtype} of shape {images.shape}; they must be uint8 "
            "[N, H, W, 3] (repeat a single channel)"
        )
    return images


def _input_sizes(path: Path, shape: list, size: tuple[int, int] | None):
    """Returns the fixed batch size, or None, and the (height, width) to resize to."""
    if len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != 3):
        raise InputError(f"{path} takes an input of shape {shape}; an eye takes [N, 3, H, W]")
    fixed = tuple(side if isinstance(side, int) else None for side in shape[2:])
    if size is None and None in fixed:
        raise InputError(f"{path} takes images of any size; say which (height, width) to resize to")
    height, width = size or fixed
    if fixed[0] not in (None, height) or fixed[1] not in (None, width):
        raise InputError(f"{path} takes images of {fixed[0]}x{fixed[1]}, not {height}x{width}")
    return shape[0] if isinstance(shape[0], int) else None, (height, width)


def _session(path: Path, tensor: str | None) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError("this eye needs ONNX Runtime: pip install 'tf-sg2[evaluation]'") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # Errors only.
    usable = ("CUDAExecutionProvider", "CPUExecutionProvider")
    providers = [name for name in usable if name in onnxruntime.get_available_providers()]
    # By its path unless a tensor is asked for, so that data beside the model are found.
    model = str(path) if tensor is None else path.read_bytes() + _declared_output(tensor)
    try:
        return onnxruntime.InferenceSession(model, options, providers=providers)
    except Exception as error:  # ONNX Runtime's errors share no other base.
        wanted = "" if tensor is None else f" with a tensor {tensor!r}"
        raise InputError(f"{path} is no ONNX model{wanted}: {first_line(error)}") from error


def _declared_output(name: str) -> bytes:
    """Returns bytes that add an output to an ONNX model when they are appended to it.

    Protocol buffers merge a message with what is appended to it: field 7 of the model is the
    graph, field 12 of that an output, field 1 of that its name.
    """
    return _field(7, _field(12, _field(1, name.encode())))


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes([*digits, value])
