"""Runs a SavedModel in TensorFlow's C++ runtime only: `python -I -S stock_runtime.py LIBRARY JOB`.

This is the loader and the session of TensorFlow Serving, used through the C API of
`libtensorflow_cc` with ctypes. The script cannot import our package, TensorFlow's Python or NumPy,
so the model cannot depend on them.

JOB is a JSON file: {"model": folder, "calls": [{"feeds": {"name:0": {"dtype", "shape", "data"}},
"fetches": ["name:0"]}]}, data in base64. Prints a JSON list with {"outputs": [...]} of the same
form, or {"code", "error"}, for each call. Strings are only outputs.
"""

from __future__ import annotations

import base64
import ctypes
import importlib.util
import json
import math
import sys

STRING = 7  # TF_STRING
# Numbers of TF_DataType.
DTYPES = {"float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int64": 9}
NAMES = {number: name for name, number in DTYPES.items()}
TSTRING_SIZE = 24

pointer, text, size_t = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t


class Output(ctypes.Structure):
    """TF_Output."""

    _fields_ = [("operation", pointer), ("index", ctypes.c_int)]


def load_library(path: str) -> ctypes.CDLL:
    """Declares the functions that return more than an int."""
    library = ctypes.CDLL(path)
    results = {
        "TF_NewStatus": pointer,
        "TF_NewGraph": pointer,
        "TF_NewSessionOptions": pointer,
        "TF_Message": text,
        "TF_Version": text,
        "TF_LoadSessionFromSavedModel": pointer,
        "TF_GraphOperationByName": pointer,
        "TF_AllocateTensor": pointer,
        "TF_TensorData": pointer,
        "TF_TensorByteSize": size_t,
        "TF_Dim": ctypes.c_int64,
        "TF_StringGetDataPointer": pointer,
        "TF_StringGetSize": size_t,
    }
    for name, kind in results.items():
        getattr(library, name).restype = kind
    return library


class Model:
    """A loaded SavedModel."""

    def __init__(self, library: ctypes.CDLL, folder: str):
        self.library = library
        self.status = pointer(library.TF_NewStatus())
        self.graph = pointer(library.TF_NewGraph())
        tags = (text * 1)(b"serve")
        options = pointer(library.TF_NewSessionOptions())
        self.session = pointer(
            library.TF_LoadSessionFromSavedModel(
                options, None, folder.encode(), tags, 1, self.graph, None, self.status
            )
        )
        code, message = self.outcome()
        if code:
            raise SystemExit(f"the model cannot be loaded: {message}")

    def outcome(self) -> tuple[int, str]:
        message = self.library.TF_Message(self.status).decode()
        return self.library.TF_GetCode(self.status), message

    def output(self, name: str) -> Output:
        operation, _, index = name.partition(":")
        found = self.library.TF_GraphOperationByName(self.graph, operation.encode())
        if not found:
            raise SystemExit(f"the graph has no {operation}")
        return Output(found, int(index or 0))

    def tensor(self, value: dict) -> ctypes.c_void_p:
        data, shape = base64.b64decode(value["data"]), value["shape"]
        tensor = pointer(
            self.library.TF_AllocateTensor(
                DTYPES[value["dtype"]],
                (ctypes.c_int64 * len(shape))(*shape),
                len(shape),
                size_t(len(data)),
            )
        )
        ctypes.memmove(self.library.TF_TensorData(tensor), data, len(data))
        return tensor

    def value(self, tensor: ctypes.c_void_p) -> dict:
        library = self.library
        shape = [library.TF_Dim(tensor, i) for i in range(library.TF_NumDims(tensor))]
        start, dtype = library.TF_TensorData(tensor), library.TF_TensorType(tensor)
        if dtype != STRING:
            data = ctypes.string_at(start, library.TF_TensorByteSize(tensor)) if start else b""
            return {"dtype": NAMES[dtype], "shape": shape, "data": encoded(data)}
        strings = []
        for i in range(math.prod(shape)):
            place = pointer(start + i * TSTRING_SIZE)
            length = library.TF_StringGetSize(place)
            strings.append(ctypes.string_at(library.TF_StringGetDataPointer(place), length))
        return {"dtype": "string", "shape": shape, "data": [encoded(s) for s in strings]}

    def run(self, feeds: dict[str, dict], fetches: list[str]) -> dict:
        count = len(fetches)
        answers = (pointer * count)()
        self.library.TF_SessionRun(
            self.session,
            None,
            (Output * len(feeds))(*map(self.output, feeds)),
            (pointer * len(feeds))(*(self.tensor(value) for value in feeds.values())),
            len(feeds),
            (Output * count)(*map(self.output, fetches)),
            answers,
            count,
            None,
            0,
            None,
            self.status,
        )
        code, message = self.outcome()
        if code:
            return {"code": code, "error": message}
        return {"outputs": [self.value(pointer(answer)) for answer in answers]}


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def main(library: str, path: str) -> None:
    for module in ("tf_sg2", "tensorflow", "numpy"):
        if importlib.util.find_spec(module):
            raise SystemExit(f"{module} can be imported here, so this proves nothing")
    with open(path, encoding="utf-8") as file:
        job = json.load(file)
    model = Model(load_library(library), job["model"])
    json.dump([model.run(call["feeds"], call["fetches"]) for call in job["calls"]], sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
