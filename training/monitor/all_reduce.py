"""How long all-reduces took, from the profile that `--profile_iterations` records.

TensorFlow writes a profile as an XSpace message, but has no public Python class for it. So this
module declares the few fields that it reads: planes, lines, events and names of events.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

# Kernels of NCCL on a GPU's plane, and TensorFlow's operation on the host's, "name:Type".
_GPU_KERNEL = re.compile(r"nccl.*all_?reduce", re.IGNORECASE)
_HOST_OPERATION = re.compile(r":(CollectiveReduce(V[23])?|NcclAllReduce)$")

# message: {field: (number, type)}, with the numbers of TensorFlow's xplane.proto. A map is a list
# of entries. Protobuf skips fields that are not declared.
_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "Space": {"planes": (1, "Plane")},
    "Plane": {"name": (2, "string"), "lines": (3, "Line"), "names": (4, "Entry")},
    "Line": {"events": (4, "Event")},
    "Event": {"name_id": (1, "int64"), "duration_ps": (3, "int64")},
    "Entry": {"key": (1, "int64"), "value": (2, "Name")},
    "Name": {"name": (2, "string")},
}
_SINGLE = {("Entry", "value")}


@functools.cache
def space_class() -> Any:
    """Returns the message class of a profile."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="tf_sg2_profile.proto", package="tf_sg2_profile", syntax="proto3"
    )
    for message, fields in _MESSAGES.items():
        declared = file.message_type.add(name=message)
        for name, (number, kind) in fields.items():
            field = declared.field.add(name=name, number=number, label=kinds.LABEL_OPTIONAL)
            if kind in _MESSAGES:
                field.type, field.type_name = kinds.TYPE_MESSAGE, f".tf_sg2_profile.{kind}"
                if (message, name) not in _SINGLE:
                    field.label = kinds.LABEL_REPEATED
            else:
                field.type = kinds.TYPE_STRING if kind == "string" else kinds.TYPE_INT64
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tf_sg2_profile.Space"))


def all_reduce_seconds(space: Any) -> float | None:
    """Returns the seconds of all all-reduces, summed over the replicas of this process.

    They include the time in which a replica waits for the others.

    Args:
        space: a profile, an instance of `space_class()`.

    Returns:
        None if the profile shows no all-reduce.
    """
    gpus = [plane for plane in space.planes if "/device:GPU" in plane.name]
    planes, pattern = (gpus, _GPU_KERNEL) if gpus else (space.planes, _HOST_OPERATION)
    durations = [
        event.duration_ps
        for plane in planes
        for wanted in [{e.key for e in plane.names if pattern.search(e.value.name)}]
        for line in plane.lines
        for event in line.events
        if event.name_id in wanted
    ]
    return sum(durations) * 1e-12 if durations else None


def newest_profile(run_path: str | Path) -> Path | None:
    """Returns the newest profile of a run, or None."""
    found = Path(run_path).glob("plugins/profile/*/*.xplane.pb")
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def profiled_all_reduce(run_path: str | Path, iterations: int, replicas: int) -> float | None:
    """Returns the seconds per iteration and replica in all-reduces, from the newest profile.

    Args:
        run_path: the run directory.
        iterations: number of iterations in the profile.
        replicas: number of replicas in this process.

    Returns:
        None if there is no profile, or if it shows no all-reduce. A run with one replica has none,
        and another version of TensorFlow may name them differently.
    """
    path = newest_profile(run_path)
    if path is None:
        return None
    seconds = all_reduce_seconds(space_class().FromString(path.read_bytes()))
    return None if seconds is None else seconds / iterations / replicas
