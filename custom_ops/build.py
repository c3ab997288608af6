"""Compiles the native ops against the installed TensorFlow, once per TensorFlow and sources.

Each op has a folder. Which files are compiled, and how, follows from their names:

    */op.cc     with TensorFlow's headers
    */cpu.cc    once per target (instruction set)
    */cuda.cu   with nvcc, where there is one
    */*.cc      once, without TensorFlow's headers
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import os
import platform
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tf_sg2.custom_ops.cache import user_cache

SOURCES = Path(__file__).parent
PREBUILT = SOURCES / "prebuilt"  # For wheels that work without a compiler.
OLDEST_CUDA = (12, 1)

COMMON = ["-std=c++17", "-fPIC", "-fvisibility=hidden", "-O3", "-DNDEBUG", "-Wall", "-Wextra"]
# NaN still propagates. These two only say that no code reads errno or the exception flags.
KERNELS = ["-fno-math-errno", "-fno-trapping-math"]
# The CPU kernels are compiled once per target. cpu_dispatch.cc chooses when the library is loaded.
TARGETS: dict[str, list[str]] = {"base": []}
if platform.machine() in ("x86_64", "AMD64"):
    TARGETS |= {
        "avx2": ["-mavx2", "-mfma", "-mf16c"],
        "avx512": [
            *("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"),
            "-mprefer-vector-width=512",
        ],
    }
# The virtual architectures of TensorFlow 2.21's wheels. PTX of the last one is for later devices.
CUDA_ARCHITECTURES = (80, 90)
SANITIZERS = ["-fsanitize=address", "-g", "-O1"]
# TensorFlow's headers do not compile with these.
KERNEL_SANITIZERS = ["-fsanitize=undefined", "-fno-sanitize-recover=undefined"]


class BuildError(Exception):
    """The ops cannot be built here. The message says why, and what to do."""


class NoCompilerError(BuildError):
    """There is no C++ compiler."""


@dataclass(frozen=True)
class Build:
    """A library of native ops, and what it was built for."""

    library: Path
    tensorflow: str
    cuda: bool


def tensorflow_version() -> str:
    """Returns TensorFlow's own version, because package metadata may name several packages."""
    try:
        import tensorflow as tf
    except ImportError as error:
        raise BuildError(
            f"TensorFlow cannot be imported ({error}); install tf-sg2 with pip first"
        ) from error
    return tf.__version__


def source_files() -> list[Path]:
    """Returns every file that a build depends on, including this one."""
    kinds = {".cc", ".cu", ".cuh", ".h"}
    sources = [path for path in SOURCES.glob("*/*") if path.suffix in kinds]
    return sorted([*sources, SOURCES / Path(__file__).name])


def build_key() -> str:
    """Returns the key of a build: TensorFlow's version, the platform, and a hash of the sources."""
    digest = hashlib.sha256()
    for path in source_files():
        name = path.relative_to(SOURCES).as_posix()
        digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    system = f"{platform.system()}-{platform.machine()}".lower()
    return f"tensorflow-{tensorflow_version()}-{system}-{digest.hexdigest()[:16]}"


def cache_folder() -> Path:
    """Returns the folder of builds: $TF_SG2_CACHE, else `tf_sg2` in the user's cache folder.

    Raises:
        BuildError: if the user has no home folder and no variable names the cache.
    """
    folder = user_cache()
    if folder is None:
        raise BuildError(
            "there is no cache folder (no home folder was found); set TF_SG2_CACHE to a folder"
        )
    return folder


def library_name(cuda: bool) -> str:
    """Returns the file name of a library with or without CUDA kernels."""
    return f"tf_sg2_ops_{'cuda' if cuda else 'cpu'}.so"


def find_builds() -> list[Build]:
    """Returns the builds that fit this TensorFlow and these sources, the preferred one first.

    Builds with CUDA kernels come first. Then the user's cache comes before the package. A folder
    that cannot be read has no builds.
    """
    key, folders = build_key(), [PREBUILT]
    with contextlib.suppress(BuildError):
        folders.insert(0, cache_folder() / "ops")
    return [
        Build(folder / key / library_name(cuda), tensorflow_version(), cuda)
        for cuda in (True, False)
        for folder in folders
        if os.path.isfile(folder / key / library_name(cuda))
    ]


def distrusted(path: Path) -> str | None:
    """Returns why another user may have written `path`, or None. The package is trusted.

    Loading a library runs it. So only a library that no other user can replace is loaded.
    """
    if PREBUILT in path.parents:
        return None
    cache = cache_folder()
    for place in (path, *path.parents):
        facts = place.stat()
        if facts.st_uid not in (0, os.getuid()):
            return f"{place} belongs to another user"
        if facts.st_mode & stat.S_IWOTH and not facts.st_mode & stat.S_ISVTX:
            return f"{place} can be written by every user"
        if place == cache:
            break
    return None


def compiler() -> list[str]:
    """Returns the C++ compiler's command: $CXX, else the first of g++, c++, clang++.

    Raises:
        NoCompilerError: if there is none.
    """
    try:
        given = shlex.split(os.environ.get("CXX", ""))
    except ValueError as error:
        raise NoCompilerError(f"CXX is {os.environ['CXX']!r}, no command ({error})") from error
    commands = [given] if given else [["g++"], ["c++"], ["clang++"]]
    for command in commands:
        found = shutil.which(command[0])
        if found:
            return [found, *command[1:]]
    names = ", ".join(shlex.join(command) for command in commands)
    raise NoCompilerError(
        f"there is no C++ compiler ({names}); install g++ (Debian: apt install g++), "
        "or go on without it: the TensorFlow implementation does everything, slower"
    )


def cuda_compiler() -> str | None:
    """Returns nvcc's path from PATH, $CUDA_HOME or /usr/local/cuda, or None."""
    home = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    return shutil.which("nvcc") or shutil.which("nvcc", path=f"{home}/bin")


def _too_old(nvcc: str) -> str | None:
    """Returns why this nvcc cannot compile the kernels, or None. They need CUDA 12.1."""
    told = subprocess.run([nvcc, "--version"], capture_output=True, text=True).stdout
    release = re.search(r"release (\d+)\.(\d+)", told)
    if release and (int(release[1]), int(release[2])) < OLDEST_CUDA:
        wanted = ".".join(map(str, OLDEST_CUDA))
        return f"nvcc {release[1]}.{release[2]} is older than CUDA {wanted}"
    return None


def build(
    cuda: bool | None = None,
    into_package: bool = False,
    force: bool = False,
    sanitize: bool = False,
    warnings_as_errors: bool = False,
    say: Callable[[str], object] = print,
) -> Build:
    """Builds the library, unless a build fits and can be loaded.

    Args:
        cuda: whether to build the CUDA kernels. None: if there is an nvcc, or a build has them.
        into_package: put the result beside the sources, not into the user's cache. A wheel made
            after that contains it.
        force: build even if a build fits.
        sanitize: build with AddressSanitizer and UndefinedBehaviorSanitizer, for tests.
        warnings_as_errors: a warning of a compiler fails the build. Otherwise it is only shown.
        say: receives lines of progress, and the compilers' warnings.

    Returns:
        The build, old or new.

    Raises:
        BuildError: if there is no compiler, or no nvcc although `cuda` is true. Also if the cache
            cannot be used, or compiling fails.
    """
    nvcc = cuda_compiler()
    reason = "there is no nvcc" if nvcc is None else _too_old(nvcc)
    if cuda and reason:
        raise BuildError(f"{reason}; install a newer CUDA toolkit, or say --cuda=off")
    if nvcc is not None and cuda is None and reason:
        say(f"{reason}; the library is for the CPU only")
    nvcc = None if reason else nvcc
    with_cuda = (nvcc is not None if cuda is None else cuda) and any(SOURCES.glob("*/*.cu"))
    found = next(iter(find_builds()), None)
    if found is not None and not force and not sanitize:
        fits = found.cuda if cuda is None and found.cuda else found.cuda == with_cuda
        if fits and (not into_package or PREBUILT in found.library.parents):
            problem = distrusted(found.library) or _load_failure(found.library)
            if problem is None:
                say(f"up to date: {found.library}")
                return found
            say(f"{found.library} exists but cannot be used ({problem}); building another")
    base = PREBUILT if into_package else cache_folder() / "ops"
    folder = base / (build_key() + ("-sanitized" if sanitize else ""))
    # Each builder works in its own folder. The file of the last one stays.
    with _work_folder(folder) as work:
        built = work / library_name(with_cuda)
        _compile(built, nvcc if with_cuda else None, sanitize, warnings_as_errors, say)
        problem = None if sanitize else _load_failure(built)
        if problem:
            raise BuildError(f"the library was built, but TensorFlow cannot load it: {problem}")
        os.replace(built, folder / built.name)
    if cuda is False:  # Otherwise it would be preferred.
        (folder / library_name(True)).unlink(missing_ok=True)
    say(f"built: {folder / built.name}")
    return Build(folder / built.name, tensorflow_version(), with_cuda)


@contextlib.contextmanager
def _work_folder(folder: Path) -> Iterator[Path]:
    """Yields an empty folder inside of `folder`, and removes it after."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        problem = distrusted(folder)
        work = None if problem else tempfile.TemporaryDirectory(dir=folder, prefix="build-")
    except OSError as error:
        problem, work = f"{folder} cannot be written ({error.strerror})", None
    if work is None:
        raise BuildError(f"{problem}; set TF_SG2_CACHE to a folder of your own")
    with work as path:
        yield Path(path)


def _load_failure(library: Path) -> str | None:
    """Returns why TensorFlow cannot load the library, or None.

    A separate process tries it: a crash ends only that process, and no process can register the
    ops twice.
    """
    code = "import sys, tensorflow as tf; tf.load_op_library(sys.argv[1])"
    result = subprocess.run(
        [sys.executable, "-c", code, str(library)],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""},
    )
    if result.returncode == 0:
        return None
    lines = result.stderr.strip().splitlines()
    return lines[-1] if lines else f"loading it ends the process with code {result.returncode}"


def _compile(
    library: Path, nvcc: str | None, sanitize: bool, strict: bool, say: Callable[[str], object]
) -> None:
    """Compiles all sources in parallel, and links them to `library`."""
    import tensorflow as tf

    commands = _commands(library.parent, nvcc, sanitize, strict)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        jobs = {pool.submit(_run, command): output for output, command in commands.items()}
        shown = {""}
        for done, job in enumerate(concurrent.futures.as_completed(jobs), 1):
            warnings = job.result()
            say(f"[{done}/{len(jobs)}] {jobs[job].name}")
            if warnings not in shown:  # All targets have the same warnings of a source.
                shown.add(warnings)
                say(warnings)
    sanitizers = [*SANITIZERS, *KERNEL_SANITIZERS] if sanitize else []
    link = [*compiler(), "-shared", *sanitizers, *map(str, commands), "-o", str(library)]
    link += tf.sysconfig.get_link_flags()
    if nvcc is not None:
        folders = [f"-L{path}" for path in _cuda_libraries(nvcc) if path.is_dir()]
        # The static runtime, so that the library loads where there is no CUDA.
        link += [*folders, "-lcudart_static", "-ldl", "-lrt", "-pthread"]
    _run(link)


def _commands(work: Path, nvcc: str | None, sanitize: bool, strict: bool) -> dict[Path, list[str]]:
    """Returns the object files to make in the folder `work`, each with its compiler command."""
    strictness = ["-Werror"] if strict else []
    cxx = [*compiler(), *COMMON, *(SANITIZERS if sanitize else []), *strictness]
    kernels = [*cxx, *KERNELS, *(KERNEL_SANITIZERS if sanitize else [])]
    registration = [*cxx, "-O2", *_tensorflow_flags(), f"-DTF_SG2_CUDA={int(nvcc is not None)}"]
    commands = {}

    def add(command: list[str], source: Path, kind: str = "") -> None:
        output = work / f"{source.parent.name}-{source.stem}{kind}.o"
        commands[output] = [*command, "-c", str(source), "-o", str(output)]

    for path in sorted(SOURCES.glob("*/*.cc")):
        if path.name == "op.cc":
            add(registration, path)
        elif path.name == "cpu.cc":
            for target, flags in TARGETS.items():
                add([*kernels, *flags, f"-DTF_SG2_TARGET={target}"], path, f".{target}")
        else:
            add(kernels, path)
    if nvcc is not None:
        for path in sorted(SOURCES.glob("*/*.cu")):
            add(cuda_command(nvcc, strict), path)
    return commands


def _tensorflow_flags() -> list[str]:
    """Returns TensorFlow's compiler flags. As system headers, its own cause no warnings."""
    import tensorflow as tf

    return [
        part
        for flag in tf.sysconfig.get_compile_flags()
        for part in (["-isystem", flag[2:]] if flag.startswith("-I") else [flag])
    ]


def cuda_command(nvcc: str, strict: bool = False) -> list[str]:
    """Returns nvcc's command without the files: machine code, and PTX for later devices."""
    newest = CUDA_ARCHITECTURES[-1]
    targets = [f"-gencode=arch=compute_{n},code=sm_{n}" for n in CUDA_ARCHITECTURES]
    targets.append(f"-gencode=arch=compute_{newest},code=compute_{newest}")
    strictness = ["-Werror=all-warnings"] if strict else []
    flags = ["-Xcompiler=-fPIC,-fvisibility=hidden", *strictness]
    return [nvcc, "-std=c++17", "-O3", *targets, *flags]


def _cuda_libraries(nvcc: str) -> list[Path]:
    # nvcc may be a link or a script that starts the real one. Only nvcc knows its home folder.
    told = subprocess.run([nvcc, "--dryrun", "-c", "x.cu"], capture_output=True, text=True)
    homes = [line[len("#$ TOP=") :] for line in told.stderr.splitlines() if "#$ TOP=" in line]
    home = Path(homes[0] if homes else Path(nvcc).resolve().parents[1])
    return [home / "lib64", home / "lib", home / "targets" / "x86_64-linux" / "lib"]


def _run(command: list[str]) -> str:
    """Runs a compiler; returns its warnings."""
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        lines = (result.stderr or result.stdout).strip().splitlines()
        shown = next((line for line in lines if "error" in line), lines[-1] if lines else "")
        raise BuildError(
            f"{Path(command[0]).name} failed with code {result.returncode}: {shown.strip()} "
            f"(command: {shlex.join(command)})"
        )
    return result.stderr.strip()
