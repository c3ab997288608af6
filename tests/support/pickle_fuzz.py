"""Mutated files of weights, and a guard that sees whether reading one executes anything.

python tests/support/pickle_fuzz.py --count=100000
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from foreign_files import MALICIOUS, contents
from tf_sg2.errors import InputError
from tf_sg2.weights.foreign.read import read

SEEDS = ("tf_sg2_e_orig_skip.pkl", "rosi_legacy.pt", "ada_cond_orig.pkl", "rosi_converted.pt")
SLOWEST = 5.0  # Seconds that one file may take.
MOST_MEMORY = 512 << 10  # KiB by which the process may grow.

# Events of Python's audit hooks that reading bytes must never cause.
FORBIDDEN = {"exec", "compile", "import", "marshal.loads", "pickle.find_class", "ctypes.dlopen"}
FORBIDDEN_STARTS = ("os.", "subprocess.", "socket.", "shutil.")
_watching = False
_seen: list[str] = []
_installed = False


def _hook(event: str, arguments: tuple) -> None:
    if not _watching:
        return
    writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if event in FORBIDDEN or event.startswith(FORBIDDEN_STARTS) or writes:
        _seen.append(f"{event} {arguments!r}"[:200])


@contextlib.contextmanager
def nothing_executed() -> Iterator[None]:
    """Fails if the block imports, compiles, executes, starts or writes anything."""
    global _watching, _installed
    if not _installed:
        sys.addaudithook(_hook)
        _installed = True
    _seen.clear()
    _watching = True
    try:
        yield
    finally:
        _watching = False
    assert not _seen, _seen


def mutated(rng: np.random.Generator, seeds: list[bytes], spliced: list[bytes]) -> bytes:
    """Returns a seed with a few changes: bytes, lengths, blocks, cuts, and parts of other files."""
    data = bytearray(seeds[rng.integers(len(seeds))])
    # Most of a file is values; its structure is denser at the beginning and the end.
    for _ in range(rng.integers(1, 6)):
        size = len(data)
        near = rng.integers(3)
        place = int(rng.integers(size) if near == 0 else rng.integers(min(size, 4000)))
        place = size - 1 - place if near == 2 else place
        kind = rng.integers(7)
        if kind == 0:
            data[place] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data[place] = int(rng.integers(256))
        elif kind == 2:
            del data[place : place + int(rng.integers(1, 40))]
        elif kind == 3:
            start = int(rng.integers(size))
            data[place:place] = data[start : start + int(rng.integers(1, 200))]
        elif kind == 4:
            data[place : place + 4] = int(rng.integers(1 << 32)).to_bytes(4, "little")
        elif kind == 5:
            other = spliced[rng.integers(len(spliced))]
            start = int(rng.integers(len(other)))
            data[place:place] = other[start : start + int(rng.integers(1, 200))]
        else:
            del data[max(place, 1) :]
        if not data:
            data = bytearray(b".")
    return bytes(data)


def fuzz(count: int, folder: Path, seed: int = 0) -> dict[str, int]:
    """Reads `count` mutated files; returns how many were read and how many were refused."""
    path = folder / "mutated"
    seeds = [contents()[name] for name in SEEDS]
    spliced = [file.read_bytes() for file in sorted(MALICIOUS.iterdir())]
    for data in seeds + spliced:  # Whatever loads on first use is loaded now.
        path.write_bytes(data)
        with contextlib.suppress(InputError):
            read(path)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    counts = {"read": 0, "refused": 0}
    for number in range(count):
        data = mutated(np.random.default_rng([seed, number]), seeds, spliced)
        path.write_bytes(data)
        start = time.perf_counter()
        sentence = None
        with nothing_executed():
            try:
                read(path)
            except InputError as error:
                sentence = str(error)
        counts["read" if sentence is None else "refused"] += 1
        if sentence is not None:
            assert sentence.startswith(str(path)), (number, sentence)
            assert "\n" not in sentence, (number, sentence)
        assert time.perf_counter() - start < SLOWEST, number
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    assert grown < MOST_MEMORY, grown
    return counts


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    print(fuzz(arguments.count, arguments.folder, arguments.seed))
