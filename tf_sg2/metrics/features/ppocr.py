"""The default eye: PP-OCR's text detector, which ships in the wheel of `rapidocr`.

It needs no weights from elsewhere, and it looks at what matters in documents. A distance under it
is called `fd_ppocr` or `kd_ppocr`, never FID or KID.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from tf_sg2.errors import InputError
from tf_sg2.metrics.features.onnx import IMAGENET, OnnxFeatures
from tf_sg2.metrics.features.weight_files import file_sha256

FILE = "PP-OCRv6_det_small.onnx"  # Apache-2.0; in rapidocr 3.10.
SHA256 = "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f"
TENSOR = "Add.153"  # The last stage, of stride 32: 384 channels.
SIZE = (192, 320)


class PPOCR(OnnxFeatures):
    """uint8 images to channel means of the detector's last stage.

    Images are resized to 192 × 320 by Pillow's bicubic filter. Channels are in the order in which
    RapidOCR gives them, BGR, and normalised by ImageNet's mean and deviation.

    This preparation was chosen by measurement (`benchmarks/damage.py`): damage to cards of 48 × 80
    then comes in the order in which a person sees it. With a bilinear resize, or with values from
    -1 to 1, half a pixel of blur counts nearly as much as noise, or more.

    Call: images uint8 [N, H, W, 3] -> float32 [N, 384].

    Example:
        eye = PPOCR()
        frechet_distance(eye(real), eye(generated))

    Raises:
        InputError: if the package is not installed, or ships another model.
    """

    def __init__(self) -> None:
        path = _model()
        super().__init__(path, TENSOR, SIZE, *IMAGENET, "bgr", name="ppocr", resample="bicubic")


def _model() -> Path:
    spec = importlib.util.find_spec("rapidocr")
    folders = list(spec.submodule_search_locations or []) if spec else []
    if not folders:
        raise InputError(
            "the default eye needs the package rapidocr: pip install 'tf-sg2[evaluation]'"
        )
    path = Path(folders[0]) / "models" / FILE
    found = file_sha256(path)
    if found != SHA256:
        raise InputError(
            f"{path} has SHA-256 {found}, not {SHA256}: another model gives other numbers; "
            "pip install 'tf-sg2[evaluation]'"
        )
    return path
