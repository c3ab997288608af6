"""The test's side of `stock_runtime.py`: signatures with arrays, answered by the C++ runtime."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tensorflow.core.protobuf import saved_model_pb2

SCRIPT = Path(__file__).with_name("stock_runtime.py")


class StockError(Exception):
    """An error of the runtime, with the number of its status code."""

    def __init__(self, code: int, message: str):
        super().__init__(message)
        self.code = code


class StockModel:
    """A SavedModel folder as TensorFlow's C++ runtime sees it."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        content = (self.folder / "saved_model.pb").read_bytes()
        (meta_graph,) = saved_model_pb2.SavedModel.FromString(content).meta_graphs
        self.signatures = {
            name: signature
            for name, signature in meta_graph.signature_def.items()
            if not name.startswith("__")
        }

    def run(
        self,
        calls: Sequence[tuple[str, Mapping[str, np.ndarray]]],
        environment: Mapping[str, str] | None = None,
    ) -> list[dict[str, np.ndarray] | StockError]:
        """Returns the answer, {output: array}, to each (signature, {input: array}), in order."""
        job = {"model": str(self.folder), "calls": []}
        for name, inputs in calls:
            signature = self.signatures[name]
            feeds = {signature.inputs[key].name: _sent(value) for key, value in inputs.items()}
            fetches = [info.name for info in signature.outputs.values()]
            job["calls"].append({"feeds": feeds, "fetches": fetches})
        package = importlib.util.find_spec("tensorflow").origin
        library = Path(package).with_name("libtensorflow_cc.so.2")
        path = self.folder.parent / f"job{os.getpid()}.json"
        path.write_text(json.dumps(job), encoding="utf-8")
        result = subprocess.run(
            [sys.executable, "-I", "-S", str(SCRIPT), str(library), str(path)],
            capture_output=True,
            text=True,
            timeout=300,
            cwd=self.folder,
            env={"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", **(environment or {})},
        )
        path.unlink()
        assert result.returncode == 0, result.stderr[-3000:]
        return [
            self._received(name, answer)
            for (name, _), answer in zip(calls, json.loads(result.stdout), strict=True)
        ]

    def _received(self, name: str, answer: dict) -> dict[str, np.ndarray] | StockError:
        if "error" in answer:
            return StockError(answer["code"], answer["error"])
        outputs = self.signatures[name].outputs
        return {key: _array(value) for key, value in zip(outputs, answer["outputs"], strict=True)}


def _sent(value: np.ndarray) -> dict:
    value = np.asarray(value, order="C")
    data = base64.b64encode(value.tobytes()).decode()
    return {"dtype": value.dtype.name, "shape": value.shape, "data": data}


def _array(value: dict) -> np.ndarray:
    if value["dtype"] == "string":
        strings = [base64.b64decode(entry) for entry in value["data"]]
        return np.array(strings, object).reshape(value["shape"])
    data = base64.b64decode(value["data"])
    return np.frombuffer(data, value["dtype"]).reshape(value["shape"])
