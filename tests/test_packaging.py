"""The wheel: one top-level name, every source file inside, usable away from the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from checkout import ROOT
from native_ops import require_native
from tf_sg2.custom_ops.build import find_builds
from tf_sg2.custom_ops.loader import OVERRIDE

FOLDERS = {
    "tf_sg2": "tf_sg2",
    "training": "tf_sg2/training",
    "serving": "tf_sg2/serving",
    "custom_ops": "tf_sg2/custom_ops",
}
SOURCES = (".py", ".cc", ".cu", ".cuh", ".h")


def run(*command, **options):
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, **options)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def make_wheel(folder, prebuilt=None):
    """Builds it offline from a copy, so that the checkout gains no build folder and lends none."""
    checkout = folder / "checkout"
    ignored = shutil.ignore_patterns("__pycache__", "prebuilt")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, checkout / name, symlinks=True, ignore=ignored)
    if prebuilt is not None:
        shutil.copytree(prebuilt, checkout / "custom_ops" / "prebuilt" / prebuilt.name)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    options = ("--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", str(folder))
    run(*pip, "wheel", *options, str(checkout))
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return make_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_tf_sg2_is_the_only_top_level_name(contents):
    top = {name.split("/")[0] for name in contents}
    (metadata,) = (name for name in top if name.endswith(".dist-info"))
    assert top - {metadata} == {"tf_sg2"}
    assert {"tests", "benchmarks"}.isdisjoint(part for name in contents for part in name.split("/"))


def test_every_source_file_is_inside(contents):
    wanted = {
        f"{package}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, package in FOLDERS.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and (path.suffix in SOURCES or {"page", "deploy"} & set(path.relative_to(ROOT).parts[:-1]))
    }
    assert wanted
    assert not wanted - contents


def test_types_and_licence_are_inside(contents):
    assert "tf_sg2/py.typed" in contents
    assert any(name.endswith("LICENSE") for name in contents)


def test_installed_package_works_away_from_the_checkout(wheel, tmp_path):
    target = tmp_path / "installed"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "install", "--no-deps", "--no-index", "--target", str(target), str(wheel))
    code = """
import tf_sg2, tf_sg2.commands.main as main, tf_sg2.training, tf_sg2.serving, tf_sg2.custom_ops
from tf_sg2 import config, presets
assert config.from_dict(config.to_dict(presets.get("cards"))) == presets.get("cards")
for module in (tf_sg2, main, config, tf_sg2.training, tf_sg2.serving, tf_sg2.custom_ops):
    print(module.__file__)
"""
    away = tmp_path / "elsewhere"
    away.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(target)}
    paths = run(sys.executable, "-c", code, cwd=away, env=environment).split()
    assert len(paths) == 6
    assert all(Path(path).is_relative_to(target) for path in paths)
    listing = run(sys.executable, "-m", "tf_sg2.commands.main", "--help", cwd=away, env=environment)
    assert "Usage: tf-sg2 COMMAND" in listing


@pytest.mark.slow
def test_a_wheel_with_the_ops_inside_needs_no_compiler(tmp_path):
    require_native()
    made = make_wheel(tmp_path, prebuilt=find_builds()[0].library.parent)
    assert not made.name.endswith("none-any.whl")
    target = tmp_path / "installed"
    with zipfile.ZipFile(made) as archive:
        archive.extractall(target)
    probe = (
        "import tf_sg2, tf_sg2.ops\n"
        "from tf_sg2.custom_ops import loader\n"
        "print(tf_sg2.ops.current_implementation(), loader.load().build.library)"
    )
    shown = run(
        *(sys.executable, "-c", probe),
        cwd=tmp_path,
        env={
            **{k: v for k, v in os.environ.items() if k != OVERRIDE},
            "PYTHONPATH": str(target),
            "TF_SG2_CACHE": str(tmp_path / "empty"),
            "PATH": "",
        },
    )
    implementation, library = shown.split()[-2:]
    assert implementation == "native"
    assert Path(library).is_relative_to(target)
