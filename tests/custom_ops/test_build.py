"""Builds of the native ops: how they are made, stored, found and trusted. Nothing is compiled."""

import importlib.metadata
import os
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import tensorflow as tf

from native_ops import require_native
from tf_sg2.custom_ops import build, loader


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, no prebuilt libraries and no nvcc."""
    loader.load()  # The process loads its library before the cache is empty.
    monkeypatch.setenv("TF_SG2_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "PREBUILT", tmp_path / "prebuilt")
    monkeypatch.setattr(build, "cuda_compiler", lambda: None)
    return tmp_path / "cache"


@pytest.fixture
def compiled(monkeypatch):
    """Builds take no time: the library is a line of text, and counts as loaded by TensorFlow."""

    def compile_library(library, nvcc, sanitize, strict, say):
        library.write_text("a library\n")

    monkeypatch.setattr(build, "_compile", compile_library)
    monkeypatch.setattr(build, "_load_failure", lambda library: None)


def put(folder, cuda):
    """Puts a build of these sources into a folder of builds."""
    library = folder / build.build_key() / build.library_name(cuda)
    library.parent.mkdir(parents=True, exist_ok=True)
    library.write_text("a library\n")
    return library


def test_builders_at_the_same_time_end_with_one_whole_library(cache, compiled, monkeypatch):
    together, errors, seen = threading.Barrier(4), [], []
    compile_library = build._compile

    def compile_together(*arguments):
        together.wait(60)
        compile_library(*arguments)
        together.wait(60)

    monkeypatch.setattr(build, "_compile", compile_together)

    def run():
        try:
            seen.append(build.build(say=lambda line: None).library.read_text())
        except Exception as error:
            errors.append(error)

    builders = [threading.Thread(target=run) for _ in range(4)]
    for builder in builders:
        builder.start()
    while any(builder.is_alive() for builder in builders):
        seen += [found.library.read_text() for found in build.find_builds()]
    assert errors == []
    assert set(seen) == {"a library\n"}
    assert os.listdir(build.find_builds()[0].library.parent) == [build.library_name(False)]


def test_a_cuda_build_is_preferred_wherever_it_is(cache):
    prebuilt = put(build.PREBUILT, cuda=False)
    assert [found.library for found in build.find_builds()] == [prebuilt]
    with_cuda = put(cache / "ops", cuda=True)
    assert [(found.library, found.cuda) for found in build.find_builds()] == [
        (with_cuda, True),
        (prebuilt, False),
    ]


def test_a_build_without_cuda_takes_the_place_of_one_with_it(cache, compiled):
    with_cuda = put(cache / "ops", cuda=True)
    said = []
    assert build.build(say=said.append).library == with_cuda
    assert said == [f"up to date: {with_cuda}"]
    made = build.build(cuda=False, say=said.append)
    assert not made.cuda
    assert build.find_builds() == [made]


def test_the_key_holds_the_version_that_tensorflow_reports(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.0.1+another.package")
    assert build.build_key().startswith(f"tensorflow-{tf.__version__}-")


@pytest.mark.parametrize("home", [True, False])
def test_an_unusable_cache_means_no_build_and_a_clear_refusal(home, cache, tmp_path, monkeypatch):
    if home:
        (tmp_path / "file").write_text("no folder")
        monkeypatch.setenv("TF_SG2_CACHE", str(tmp_path / "file"))
        refusal = "file/ops.* cannot be written .*; set TF_SG2_CACHE to a folder of your own"
    else:

        def nowhere():
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.setenv("TF_SG2_CACHE", "")
        monkeypatch.setenv("XDG_CACHE_HOME", "")
        monkeypatch.setattr(Path, "home", nowhere)
        refusal = "there is no cache folder .*; set TF_SG2_CACHE to a folder"
    loaded = loader.load.__wrapped__()
    assert loaded.ops is None
    assert loaded.reason.startswith("no build fits")
    with pytest.raises(build.BuildError, match=refusal):
        build.build()


@pytest.mark.slow
def test_a_library_that_does_not_load_is_not_up_to_date(cache, monkeypatch):
    require_native()
    broken = put(cache / "ops", cuda=False)
    loaded = loader.load.__wrapped__()
    assert loaded.ops is None
    assert f"{broken} cannot be loaded" in loaded.reason
    good = loader.load().build.library
    monkeypatch.setattr(build, "_compile", lambda library, *rest: shutil.copy(good, library))
    said = []
    assert build.build(say=said.append).library == broken
    assert said[0].startswith(f"{broken} exists but cannot be used (")
    assert broken.read_bytes() == good.read_bytes()


def make_foreign(path, monkeypatch):
    if os.getuid() == 0:
        os.chown(path, 12345, -1)
    else:
        monkeypatch.setattr(os, "getuid", lambda: 12345)
    return "belongs to another user"


def make_writable(path, monkeypatch):
    path.chmod(path.stat().st_mode | stat.S_IWOTH)
    return "can be written by every user"


@pytest.mark.parametrize("change", [make_foreign, make_writable])
@pytest.mark.parametrize("level", range(4))
def test_what_others_can_exchange_is_not_loaded(level, change, cache, compiled, monkeypatch):
    library = put(cache / "ops", cuda=False)
    place = [library, *library.parents][level]
    problem = change(place, monkeypatch)
    loaded = loader.load.__wrapped__()
    assert loaded.ops is None
    assert loaded.reason.startswith(f"{library} is not loaded: ")
    assert loaded.reason.endswith(problem)
    if level:
        with pytest.raises(build.BuildError, match=f"{problem}; set TF_SG2_CACHE"):
            build.build(say=lambda line: None)
    else:
        assert build.build(say=lambda line: None).library == library
        assert build.distrusted(library) is None or change is make_foreign


COMPILER = """#!/bin/sh
echo "$@" >> "{log}"
for word; do test "$previous" = -o && echo > "$word"; previous=$word; done
echo "some.h:1: warning: of each source" >&2
"""


@pytest.fixture
def noisy(tmp_path, monkeypatch):
    """A compiler command of two words, which warns. Returns the file with its commands."""
    script, log = tmp_path / "ccache", tmp_path / "commands"
    script.write_text(COMPILER.format(log=log))
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("CXX", "ccache 'g++ 12'")
    monkeypatch.setattr(build, "_load_failure", lambda library: None)
    return log


@pytest.mark.parametrize("strict", [False, True])
def test_a_compiler_of_several_words_is_run_and_its_warnings_shown(strict, cache, noisy):
    said = []
    build.build(warnings_as_errors=strict, say=said.append)
    assert said.count("some.h:1: warning: of each source") == 1
    commands = noisy.read_text().splitlines()
    assert all(command.startswith("g++ 12 ") for command in commands)
    compilations = [command for command in commands if " -c " in command]
    sources = list(build.SOURCES.glob("*/*.cc"))
    kernels = [path for path in sources if path.name == "cpu.cc"]
    assert len(kernels) >= 2
    expected = len(sources) + len(kernels) * (len(build.TARGETS) - 1)
    outputs = {command.split(" -o ")[1] for command in compilations}
    assert len(compilations) == len(outputs) == expected
    for command in compilations:
        assert "-Wall -Wextra" in command
        assert ("-Werror" in command) == strict
        assert " -w " not in command
        assert "-I" not in command


def test_an_unbalanced_compiler_is_refused(monkeypatch):
    monkeypatch.setenv("CXX", "g++ '")
    with pytest.raises(build.NoCompilerError, match=r"CXX is .*, no command"):
        build.compiler()


@pytest.mark.slow
def test_doctor_says_why_a_build_is_not_loaded(cache):
    library = put(cache / "ops", cuda=False)
    library.chmod(0o666)
    found = subprocess.run(
        [sys.executable, "-m", "tf_sg2.commands.main", "doctor"],
        env={**os.environ, loader.OVERRIDE: ""},
        capture_output=True,
        text=True,
    )
    assert "can be written by every user" in found.stdout, found.stderr
