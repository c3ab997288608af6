"""Checkout, source archive and wheel: every file once, one name, usable anywhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
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


def copy_checkout(checkout):
    """Copies what a clone holds of the package, so that the checkout gains no build folder."""
    ignored = shutil.ignore_patterns("__pycache__", "prebuilt")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, checkout / name, symlinks=True, ignore=ignored)
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, checkout)
    shutil.copy(ROOT / "LICENSE", checkout)
    return checkout


def make_wheel(checkout):
    """Builds a source archive and, from it, a wheel, as `make dist` does, but offline."""
    run(sys.executable, "-m", "build", "--no-isolation", "--skip-dependency-check", str(checkout))
    (path,) = (checkout / "dist").glob("*.whl")
    return path


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return copy_checkout(tmp_path_factory.mktemp("packaging") / "checkout")


@pytest.fixture(scope="module")
def wheel(checkout):
    # What an earlier setup.py, which mapped folders to names, left of an editable installation.
    stale = [f"{folder}/__init__.py" for folder in FOLDERS]
    (checkout / "tf_sg2.egg-info").mkdir()
    (checkout / "tf_sg2.egg-info" / "SOURCES.txt").write_text("\n".join(stale), encoding="utf-8")
    return make_wheel(checkout)


@pytest.fixture(scope="module")
def contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_a_bare_clone_imports_without_installing(checkout, tmp_path):
    code = "import tf_sg2.{0} as module; print(module.__file__)"
    for name in ("training", "serving", "custom_ops"):
        environment = {**os.environ, "PYTHONPATH": str(checkout)}
        command = (sys.executable, "-c", code.format(name))
        path = run(*command, cwd=tmp_path, env=environment).strip()
        assert path == str(checkout / "tf_sg2" / name / "__init__.py")


def test_setup_refuses_a_checkout_without_its_links(tmp_path):
    """Git without symbolic links, and some unpackers of zips, write a text file instead."""
    checkout = copy_checkout(tmp_path / "checkout")
    (checkout / "tf_sg2" / "training").unlink()
    (checkout / "tf_sg2" / "training").write_text("../training", encoding="utf-8")
    command = [sys.executable, "setup.py", "--name"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=checkout)
    assert result.returncode == 1
    assert "tf_sg2/training is no symbolic link to training/" in result.stderr
    assert "git clone -c core.symlinks=true" in result.stderr


def test_source_archive_holds_each_file_of_the_wheel_once(wheel, contents):
    (path,) = wheel.parent.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        members = [member.name.partition("/")[2] for member in archive if member.isfile()]
        assert not [member.name for member in archive if member.issym() or member.islnk()]
    assert len(members) == len(set(members))
    folders = {name.split("/")[0] for name in members if "/" in name}
    assert folders == {"tf_sg2", "tf_sg2.egg-info"}
    assert {name for name in contents if ".dist-info/" not in name} <= set(members)


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
        and (
            path.suffix in SOURCES
            or {"assets", "page", "deploy"} & set(path.relative_to(ROOT).parts[:-1])
        )
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
    checkout = copy_checkout(tmp_path / "checkout")
    prebuilt = find_builds()[0].library.parent
    shutil.copytree(prebuilt, checkout / "custom_ops" / "prebuilt" / prebuilt.name)
    made = make_wheel(checkout)
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
