"""Compiles the native ops against the installed TensorFlow, once for each TensorFlow and source."""

from __future__ import annotations

import concurrent.futures
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).parent
PREBUILT = SOURCES / "prebuilt"  # Filled before a wheel is made that works without a compiler.
LIBRARY = "tf_sg2_ops.so"
OLDEST_CUDA = (12, 1)

COMMON = ["-std=c++17", "-fPIC", "-fvisibility=hidden", "-O3", "-DNDEBUG"]
# NaN still propagates: these two only say that nobody reads errno or the exception flags.
KERNELS = ["-fno-math-errno", "-fno-trapping-math", "-Wall", "-Wextra"]
# One build of the CPU kernels for each; cpu_dispatch.cc chooses when the library is loaded.
TARGETS = {"base": []}
if platform.machine() in ("x86_64", "AMD64"):
    TARGETS |= {
        "avx2": ["-mavx2", "-mfma", "-mf16c"],
        "avx512": [
            *("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"),
            "-mprefer-vector-width=512",
        ],
    }
# Virtual architectures that TensorFlow 2.21's own wheels name, and code for those that come after.
CUDA_ARCHITECTURES = (80, 90)
SANITIZERS = ["-fsanitize=address", "-g", "-O1"]
# TensorFlow's headers do not compile with this one.
KERNEL_SANITIZERS = ["-fsanitize=undefined", "-fno-sanitize-recover=undefined"]


class BuildError(Exception):
    """The ops cannot be built here; the message says why, and what to do."""


class NoCompilerError(BuildError):
    """There is no C++ compiler."""


@dataclass(frozen=True)
class Build:
    """A library of native ops and what it was made for."""

    library: Path
    tensorflow: str
    cuda: bool


def tensorflow_version() -> str:
    """Returns the version of the TensorFlow that would be imported, without importing it."""
    module = sys.modules.get("tensorflow")
    if module is not None:
        return module.__version__
    if importlib.util.find_spec("tensorflow") is None:
        raise BuildError("TensorFlow is not installed; install tf-sg2 with pip first")
    for name in ("tensorflow", "tensorflow-cpu", "tensorflow-gpu"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    import tensorflow as tf

    return tf.__version__


def source_files() -> list[Path]:
    """Returns every file that a build depends on, this one included."""
    kinds = {".cc", ".cu", ".cuh", ".h"}
    sources = [path for path in SOURCES.iterdir() if path.suffix in kinds]
    return sorted([*sources, Path(__file__)])


def build_key() -> str:
    """Returns what a build is for: TensorFlow's version, the platform, and the sources."""
    digest = hashlib.sha256()
    for path in source_files():
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    system = f"{platform.system()}-{platform.machine()}".lower()
    return f"tensorflow-{tensorflow_version()}-{system}-{digest.hexdigest()[:16]}"


def cache_folder() -> Path:
    """Returns where builds are kept: $TF_SG2_CACHE, else `tf_sg2` in the user's cache folder."""
    given = os.environ.get("TF_SG2_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tf_sg2"


def find_build() -> Build | None:
    """Returns the build that fits this TensorFlow and these sources, or None."""
    key = build_key()
    for folder in (PREBUILT / key, cache_folder() / "ops" / key):
        description = folder / "build.json"
        if description.exists() and (folder / LIBRARY).exists():
            facts = json.loads(description.read_text(encoding="utf-8"))
            return Build(folder / LIBRARY, facts["tensorflow"], facts["cuda"])
    return None


def compiler() -> str:
    """Returns the C++ compiler: $CXX, else the first of g++, c++, clang++.

    Raises:
        NoCompilerError: where there is none.
    """
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "c++", "clang++"]
    for name in names:
        found = shutil.which(name)
        if found:
            return found
    raise NoCompilerError(
        f"there is no C++ compiler ({', '.join(names)}); install g++ (Debian: apt install g++), "
        "or go on without: everything works on the TensorFlow implementation"
    )


def cuda_compiler() -> str | None:
    """Returns nvcc's path: from PATH, else from $CUDA_HOME or /usr/local/cuda; None without one."""
    home = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    return shutil.which("nvcc") or shutil.which("nvcc", path=f"{home}/bin")


def _too_old(nvcc: str) -> str | None:
    """Why this nvcc cannot compile the kernels, or None: they want C++17 and sm_90 of 12.1."""
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
    say=print,
) -> Build:
    """Builds the library unless the one that fits is there.

    Args:
        cuda: whether the CUDA kernels are built; None: where there is an nvcc.
        into_package: put the result beside the sources, so that a wheel made next carries it,
            and not into the user's cache.
        force: build even where a build fits.
        sanitize: build with AddressSanitizer and UndefinedBehaviorSanitizer, for tests.
        say: receives lines of progress.

    Returns:
        The build, old or new.

    Raises:
        BuildError: for want of a compiler, nvcc where demanded, or when compiling fails.
    """
    nvcc = cuda_compiler()
    reason = "there is no nvcc" if nvcc is None else _too_old(nvcc)
    if cuda and reason:
        raise BuildError(f"{reason}; install a newer CUDA toolkit, or say --cuda=off")
    if nvcc is not None and cuda is None and reason:
        say(f"{reason}; the library is for the CPU alone")
    nvcc = None if reason else nvcc
    with_cuda = (nvcc is not None if cuda is None else cuda) and any(SOURCES.glob("*.cu"))
    found = find_build()
    if found is not None and not force and not sanitize and found.cuda == with_cuda:
        if not into_package or PREBUILT in found.library.parents:
            say(f"up to date: {found.library}")
            return found
    base = PREBUILT if into_package else cache_folder() / "ops"
    folder = base / (build_key() + ("-sanitized" if sanitize else ""))
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as work:
        _compile(Path(work), nvcc if with_cuda else None, sanitize, say)
        os.replace(Path(work) / LIBRARY, folder / LIBRARY)
    facts = {"tensorflow": tensorflow_version(), "cuda": with_cuda}
    description = folder / "build.json"
    partial = description.with_suffix(".partial")
    partial.write_text(json.dumps(facts) + "\n", encoding="utf-8")
    os.replace(partial, description)
    say(f"built: {folder / LIBRARY}")
    return Build(folder / LIBRARY, facts["tensorflow"], with_cuda)


def _compile(work: Path, nvcc: str | None, sanitize: bool, say) -> None:
    import tensorflow as tf

    cxx = compiler()
    extra = SANITIZERS if sanitize else []
    kernel_extra = [*SANITIZERS, *KERNEL_SANITIZERS] if sanitize else []
    definitions = [f"-DTF_SG2_CUDA={int(nvcc is not None)}"]
    # TensorFlow's headers warn of their own deprecations by the page.
    tensorflow_flags = [*tf.sysconfig.get_compile_flags(), "-w"]
    commands = {}
    for path in sorted(SOURCES.glob("*_cpu.cc")):
        for target, flags in TARGETS.items():
            output = work / f"{path.stem}.{target}.o"
            commands[output] = [
                *(cxx, *COMMON, *KERNELS, *flags, *kernel_extra, f"-DTF_SG2_TARGET={target}"),
                *("-c", str(path), "-o", str(output)),
            ]
    output = work / "cpu_dispatch.o"
    path = SOURCES / "cpu_dispatch.cc"
    commands[output] = [cxx, *COMMON, *KERNELS, *kernel_extra, "-c", str(path), "-o", str(output)]
    for path in sorted(SOURCES.glob("*_op.cc")):
        output = work / f"{path.stem}.o"
        commands[output] = [
            *(cxx, *COMMON, "-O2", *tensorflow_flags, *definitions, *extra),
            *("-c", str(path), "-o", str(output)),
        ]
    if nvcc is not None:
        for path in sorted(SOURCES.glob("*.cu")):
            output = work / f"{path.stem}.cu.o"
            commands[output] = cuda_command(nvcc, path, output)
    workers = os.cpu_count() or 1
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        jobs = {pool.submit(_run, command): output for output, command in commands.items()}
        for done, job in enumerate(concurrent.futures.as_completed(jobs), 1):
            job.result()
            say(f"[{done}/{len(jobs)}] {jobs[job].name}")
    link = [cxx, "-shared", *kernel_extra, *map(str, commands), "-o", str(work / LIBRARY)]
    link += tf.sysconfig.get_link_flags()
    if nvcc is not None:
        # The static runtime: the library loads where there is no CUDA.
        libraries = [path for path in _cuda_libraries(nvcc) if path.is_dir()]
        link += [
            *(f"-L{path}" for path in libraries),
            "-lcudart_static",
            "-ldl",
            "-lrt",
            "-pthread",
        ]
    _run(link)


def cuda_command(nvcc: str, source: Path, output: Path) -> list[str]:
    """Returns the command that compiles a CUDA source: machine code, and PTX for later devices."""
    newest = CUDA_ARCHITECTURES[-1]
    targets = [f"-gencode=arch=compute_{n},code=sm_{n}" for n in CUDA_ARCHITECTURES]
    targets.append(f"-gencode=arch=compute_{newest},code=compute_{newest}")
    return [
        *(nvcc, "-std=c++17", "-O3", *targets, "-Xcompiler=-fPIC,-fvisibility=hidden"),
        *("-c", str(source), "-o", str(output)),
    ]


def _cuda_libraries(nvcc: str) -> list[Path]:
    # Where nvcc is a link or a script that starts the real one, only itself knows its home.
    told = subprocess.run([nvcc, "--dryrun", "-c", "x.cu"], capture_output=True, text=True)
    homes = [line[len("#$ TOP=") :] for line in told.stderr.splitlines() if "#$ TOP=" in line]
    home = Path(homes[0] if homes else Path(nvcc).resolve().parents[1])
    return [home / "lib64", home / "lib", home / "targets" / "x86_64-linux" / "lib"]


def _run(command: list[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        lines = (result.stderr or result.stdout).strip().splitlines()
        shown = next((line for line in lines if "error" in line), lines[-1] if lines else "")
        raise BuildError(
            f"{Path(command[0]).name} failed with code {result.returncode}: {shown.strip()} "
            f"(command: {' '.join(command)})"
        )
