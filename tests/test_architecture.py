"""The rules of the house: who imports whom, what is banned, how long a file may be."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from checkout import ROOT
from tf_sg2 import Discriminator, Generator, config
from tf_sg2.config import presets

# Folder -> (its import name, the parts of the project that it may import beside itself).
FOLDERS = {
    "custom_ops": ("tf_sg2.custom_ops", set()),
    "tf_sg2": ("tf_sg2", {"tf_sg2.custom_ops"}),
    "training": ("tf_sg2.training", {"tf_sg2"}),
    "serving": ("tf_sg2.serving", {"tf_sg2"}),
}
NAMES = [name for name, _ in FOLDERS.values()]
LONG, TOO_LONG = 400, 450  # Lines.

FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
SCRIPTS = sorted(
    path for folder in ("tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")
)


def label(path):
    return str(path.relative_to(ROOT))


every_file = pytest.mark.parametrize("path", FILES, ids=label)
every_script_too = pytest.mark.parametrize("path", FILES + SCRIPTS, ids=label)


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> set[str]:
    """Every module that the file imports; `from a import b` counts as both a and a.b."""
    found = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{label(path)}:{node.lineno} imports relatively"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def part_of(module: str) -> str | None:
    """Which of the four parts a module belongs to."""
    fits = [name for name in NAMES if module == name or module.startswith(name + ".")]
    return max(fits, key=len, default=None)


@every_file
def test_imports_flow_one_way(path):
    name, allowed = FOLDERS[path.relative_to(ROOT).parts[0]]
    parts = {part_of(module) for module in imports(path)} - {None, name}
    assert parts <= allowed


@every_file
def test_parts_are_named_in_strings_by_the_command_table_alone(path):
    """A string could be imported behind the other test's back."""
    if label(path) == "tf_sg2/commands/main.py":
        return
    name, allowed = FOLDERS[path.relative_to(ROOT).parts[0]]
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if re.fullmatch(r"tf_sg2(\.\w+)+(:\w+)?", node.value):
                assert part_of(node.value.split(":")[0]) in {name} | allowed, node.value


@every_script_too
def test_no_part_is_imported_by_its_folders_name(path):
    banned = {"training", "serving", "custom_ops"}
    assert not {module.split(".")[0] for module in imports(path)} & banned


def dotted(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = dotted(node.value)
        return base and f"{base}.{node.attr}"
    return None


def attributes(path: Path) -> set[str]:
    return {name for node in ast.walk(parsed(path)) if (name := dotted(node))}


@every_script_too
def test_no_private_name_of_tensorflow_or_keras(path):
    private = [
        name
        for name in imports(path) | attributes(path)
        if re.match(r"(tf|tensorflow|keras|tfa|tensorflow_addons)\.", name)
        and re.search(r"\.(_(?!_version__)|python\.|python$|src\.|src$|__internal__)", name)
    ]
    # What TensorFlow gives no public name, in the one file that may know.
    known = {"tensorflow.python.eager", "tensorflow.python.eager.context"}
    assert set(private) <= (known if label(path) == "tf_sg2/compat.py" else set())


@every_script_too
def test_keras_versions_are_told_apart_in_compat_alone(path):
    if label(path) in ("tf_sg2/compat.py", "tests/test_architecture.py"):
        return
    names = imports(path) | attributes(path)
    assert not [
        name for name in names if re.search(r"(^|\.)(KERAS_3|keras\.(__version__|version))$", name)
    ]


# What the client asks over REST with; `socket` alone listens, and asks workers for their ports.
FETCHING = {"http.client", "urllib.request", "requests", "httpx", "aiohttp", "ftplib"}


@every_file
def test_only_the_client_can_fetch(path):
    """So nothing is downloaded when the programs run."""
    allowed = {"http.client"} if label(path) == "serving/client/rest.py" else set()
    assert imports(path) & FETCHING <= allowed
    assert not {name for name in attributes(path) if name.endswith("get_file")}


@every_file
def test_nothing_branches_on_a_presets_name(path):
    """`auto` is also a value of other settings, so it is left out."""
    known = set(presets.names()) - {"auto"}
    for node in ast.walk(parsed(path)):
        if isinstance(node, (ast.Compare, ast.match_case)):
            found = {n.value for n in ast.walk(node) if isinstance(n, ast.Constant)}
            assert not found & known, f"{label(path)}:{node.lineno}"


@every_file
def test_file_is_not_too_long(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    if lines > LONG:
        warnings.warn(f"{label(path)} has {lines} lines: two files, soon", stacklevel=1)
    assert lines <= TOO_LONG


@every_file
def test_module_opens_with_a_docstring(path):
    assert ast.get_docstring(parsed(path))


def test_no_module_is_called_utils():
    assert not [label(path) for path in FILES + SCRIPTS if re.match(r"utils?\.py", path.name)]


def test_tests_and_benchmarks_are_no_packages():
    assert not [path for path in SCRIPTS if path.name == "__init__.py"]


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_builds(name):
    small = {
        f"{part}.{field}": value
        for part in ("generator", "discriminator")
        for field, value in (("image_size", "24x40"), ("channel_max", 4))
    }
    preset = config.override(presets.get(name), small)
    assert Generator(preset.generator).weights
    assert Discriminator(preset.discriminator).weights


def imported_by(statement: str) -> set[str]:
    """The top-level modules that a fresh process has after `statement`."""
    code = f"""
import contextlib, io, sys
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    {statement}
print(*sorted({{name.split(".")[0] for name in sys.modules}}))
"""
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT.parent)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import tf_sg2",
        "from tf_sg2 import config, presets; presets.get('cards')",
        "from tf_sg2.commands.main import main; main(['--help'])",
        "from tf_sg2.commands.main import main; main(['train', '--help'])",
    ],
)
def test_quick_ways_in_do_not_import_tensorflow(statement):
    modules = imported_by(statement)
    assert "tf_sg2" in modules
    assert not modules & {"tensorflow", "keras", "tensorboard"}


def test_public_names_are_all_there():
    import tf_sg2

    for name in tf_sg2.__all__:
        assert getattr(tf_sg2, name) is not None, name
    assert dir(tf_sg2) == sorted(tf_sg2.__all__)
    with pytest.raises(AttributeError, match="no attribute 'generater'"):
        _ = tf_sg2.generater
