"""The rules of the house: who imports whom, what is banned, how large rooms and files may be."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
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

# Room -> the rooms of the project that its files may import beside itself and EVERYWHERE. A room
# that is not listed may import every room that its part may import.
ROOMS = {
    "config": set(),
    "ops": {"custom_ops"},
    "networks": {"config", "ops"},
    "inspect": {"config", "networks"},
    "weights": {"config", "networks", "ops"},
    "evaluation": {"config", "data", "data/split", "metrics", "metrics/features", "runs"},
    "metrics": {"weights/pickles"},
    "runs": {"config", "networks", "weights", "weights/foreign"},
    "cards": {"config", "data", "data/split"},
    "data": {"config", "cards", "custom_ops"},
    "latent": {"config", "networks", "runs"},
    "report": {
        *("cards", "config", "data", "data/split", "latent", "metrics", "metrics/features"),
        *("networks", "runs"),
    },
    "training/cluster": {"config"},
    "training/monitor": {
        *("config", "data", "evaluation", "latent", "metrics", "networks", "runs", "weights"),
        *("training", "training/cluster", "training/run"),
    },
    "serving/client": {"serving", "serving/server/wire"},
    "serving/export": {"config", "latent", "networks", "ops", "runs", "serving"},
    "serving/server": {"networks", "serving", "serving/export"},
}
EVERYWHERE = {"tf_sg2", "compat", "errors", "files", "images"}

MOST_LINES = 420
MOST_FILES = 13  # Python files in a room, without `__init__.py`.
UNLIMITED = {"tf_sg2/commands"}  # One file a command.
MOST_FOLDERS = 3  # As in serving/server/http.

FILES = sorted(
    path
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*.py")
    if not {"__pycache__", "prebuilt"} & set(path.parts)
)
SCRIPTS = sorted(
    path for folder in ("tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")
)


def label(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(parsed(path)))


@cache
def imports(path: Path) -> frozenset[str]:
    """Every module that the file imports; `from a import b` counts as both a and a.b."""
    found: set[str] = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{label(path)}:{node.lineno} imports relatively"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def dotted(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = dotted(node.value)
        return base and f"{base}.{node.attr}"
    return None


@cache
def attributes(path: Path) -> frozenset[str]:
    return frozenset(name for node in nodes(path) if (name := dotted(node)))


def part_of(module: str) -> str | None:
    """Which of the four parts a module belongs to."""
    fits = [name for name in NAMES if module == name or module.startswith(name + ".")]
    return max(fits, key=len, default=None)


def place_of(module: str) -> str | None:
    """The folder, or the file of the part `tf_sg2`, that an import of the project leads to."""
    first, *names = module.split(".")
    if first != "tf_sg2":
        return None
    if not names or (len(names) == 1 and names[0] not in FOLDERS and is_public(names[0])):
        return "tf_sg2"
    base = ROOT if names[0] in FOLDERS else ROOT / "tf_sg2"
    count = 1
    while (base / "/".join(names[: count + 1])).is_dir() and count < len(names):
        count += 1
    return "/".join(names[:count])


def is_public(name: str) -> bool:
    """Whether it is a name of `tf_sg2/__init__.py` rather than a module of `tf_sg2`."""
    folder = ROOT / "tf_sg2"
    return not (folder / name).is_dir() and not (folder / f"{name}.py").is_file()


def home_of(path: Path) -> str:
    """The place of a file, written as `place_of` writes it."""
    return label(path.parent).removeprefix("tf_sg2/")


def lies_in(place: str, room: str) -> bool:
    return place == room or place.startswith(room + "/")


def violations_of_rooms(path: Path) -> Iterator[str]:
    home = home_of(path)
    room = max((room for room in ROOMS if lies_in(home, room)), key=len, default=None)
    if room is None:
        return
    for module in sorted(imports(path)):
        place = place_of(module)
        if place is None or place in EVERYWHERE or lies_in(place, room):
            continue
        # `serving` allows the files at its top; `serving/export` allows its folders too.
        if place not in ROOMS[room] and not any(
            "/" in allowed and lies_in(place, allowed) for allowed in ROOMS[room]
        ):
            yield f"{label(path)} imports {module}"


def test_imports_flow_one_way():
    wrong = []
    for path in FILES:
        name, allowed = FOLDERS[path.relative_to(ROOT).parts[0]]
        parts = {part_of(module) for module in imports(path)} - {None, name}
        wrong += [f"{label(path)} imports {part}" for part in parts - allowed]
    assert not wrong


def test_rooms_import_only_the_rooms_before_them():
    assert not [text for path in FILES for text in violations_of_rooms(path)]


def test_page_shows_the_import_table_of_the_rooms():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    lines = text.partition("| Room | May import |\n|---|---|\n")[2].split("\n\n")[0].splitlines()
    rows = [re.findall(r"`([^`]+)`", line) for line in lines]
    assert {room: set(allowed) for room, *allowed in rows} == ROOMS


def test_rooms_of_the_import_table_exist():
    places = {home_of(path) for path in FILES}
    for room, allowed in ROOMS.items():
        assert {room, *allowed} <= places, room


def test_no_room_but_the_commands_imports_commands():
    wrong = [
        f"{label(path)} imports {module}"
        for path in FILES
        if "commands" not in path.parts and label(path) != "training/deploy/launch.py"
        for module in imports(path)
        if re.match(r"tf_sg2\.(\w+\.)?commands\b", module)
    ]
    assert not wrong


def test_only_the_command_table_names_parts_in_strings():
    """A string could be imported, which the other test would not see."""
    wrong = []
    for path in FILES:
        if label(path) == "tf_sg2/commands/main.py":
            continue
        name, allowed = FOLDERS[path.relative_to(ROOT).parts[0]]
        for node in nodes(path):
            text = node.value if isinstance(node, ast.Constant) else None
            if not isinstance(text, str) or not re.fullmatch(r"tf_sg2(\.\w+)+(:\w+)?", text):
                continue
            if part_of(text.split(":")[0]) not in {name} | allowed:
                wrong.append(f"{label(path)} names {text}")
    assert not wrong


def test_no_part_is_imported_by_its_folders_name():
    banned = {"training", "serving", "custom_ops"}
    wrong = [
        f"{label(path)} imports {module}"
        for path in FILES + SCRIPTS
        for module in imports(path)
        if module.split(".")[0] in banned
    ]
    assert not wrong


def test_no_private_name_of_tensorflow_or_keras():
    # What TensorFlow gives no public name, in the only file that may use it.
    known = {
        ("tf_sg2/compat.py", "tensorflow.python.eager"),
        ("tf_sg2/compat.py", "tensorflow.python.eager.context"),
    }
    private = {
        (label(path), name)
        for path in FILES + SCRIPTS
        for name in imports(path) | attributes(path)
        if re.match(r"(tf|tensorflow|keras|tfa|tensorflow_addons)\.", name)
        and re.search(r"\.(_(?!_version__)|python\.|python$|src\.|src$|__internal__)", name)
    }
    assert private <= known


def test_only_compat_distinguishes_keras_versions():
    wrong = [
        f"{label(path)} has {name}"
        for path in FILES + SCRIPTS
        if label(path) not in ("tf_sg2/compat.py", "tests/test_architecture.py")
        for name in imports(path) | attributes(path)
        if re.search(r"(^|\.)(KERAS_3|keras\.(__version__|version))$", name)
    ]
    assert not wrong


# Modules that can ask a server. `socket` is not among them: it is used to listen, and to ask
# workers for their ports.
FETCHING = {"http.client", "urllib.request", "requests", "httpx", "aiohttp", "ftplib"}


def test_only_the_client_can_fetch():
    """So nothing is downloaded when the programs run."""
    found = {(label(path), module) for path in FILES for module in imports(path) & FETCHING}
    assert found <= {("serving/client/rest.py", "http.client")}
    assert not [
        (label(path), name)
        for path in FILES
        for name in attributes(path)
        if name.endswith("get_file")
    ]


def test_nothing_branches_on_a_presets_name():
    """`auto` is also a value of other settings, so it is left out."""
    known = set(presets.names()) - {"auto"}
    wrong = []
    for path in FILES:
        for node in nodes(path):
            if isinstance(node, (ast.Compare, ast.match_case)):
                found = {n.value for n in ast.walk(node) if isinstance(n, ast.Constant)}
                if found & known:
                    wrong.append(f"{label(path)} compares with {found & known}")
    assert not wrong


def test_file_is_not_too_long():
    lengths = {label(path): len(path.read_text("utf-8").splitlines()) for path in FILES}
    assert not {name: lines for name, lines in lengths.items() if lines > MOST_LINES}


def test_rooms_are_not_too_full():
    counts: dict[str, int] = {}
    for path in FILES:
        if path.name != "__init__.py" and label(path.parent) not in UNLIMITED:
            counts[label(path.parent)] = counts.get(label(path.parent), 0) + 1
    assert not {room: count for room, count in counts.items() if count > MOST_FILES}


def test_rooms_are_not_too_deep():
    depths = {label(path): len(path.relative_to(ROOT).parents) - 1 for path in FILES}
    assert not {name: depth for name, depth in depths.items() if depth > MOST_FOLDERS}


def test_every_room_is_a_package():
    assert not [label(path) for path in FILES if not (path.parent / "__init__.py").is_file()]


def test_tests_mirror_the_tree():
    """A folder of tests has the name of a room, of a part, or of what the tests share."""
    rooms = {label(path.parent) for path in FILES} | {"benchmarks", "support", "reference"}
    tests = [path.parent for path in SCRIPTS if path.is_relative_to(ROOT / "tests")]
    folders = {path.relative_to(ROOT / "tests").as_posix() for path in tests} - {"."}
    unknown = {
        folder
        for folder in folders
        if folder not in rooms and f"tf_sg2/{folder}" not in rooms and "support/" not in folder
    }
    assert not unknown


def test_module_opens_with_a_docstring():
    assert not [label(path) for path in FILES if not ast.get_docstring(parsed(path))]


def test_no_module_is_called_utils():
    parts = {part for path in FILES + SCRIPTS for part in Path(label(path)).with_suffix("").parts}
    assert not {part for part in parts if re.fullmatch(r"_?utils?", part)}


def test_tests_and_benchmarks_are_no_packages():
    assert not [path for path in SCRIPTS if path.name == "__init__.py"]


@pytest.mark.parametrize("name", [name for name in FOLDERS if name != "tf_sg2"])
def test_folder_is_linked_under_its_import_name(name):
    link = ROOT / "tf_sg2" / name
    assert link.is_symlink()
    assert link.readlink() == Path("..", name)


def test_linter_sees_each_file_once():
    command = [sys.executable, "-m", "ruff", "check", "--show-files", "."]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    shown = [Path(line) for line in result.stdout.splitlines()]
    assert len({path.resolve() for path in shown}) == len(shown)
    assert set(FILES) <= set(shown)


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
