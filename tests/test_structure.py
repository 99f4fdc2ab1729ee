"""The structure of the package: which room imports which, no cycles, where private APIs are used, how long files are."""

import ast
import functools
import graphlib
from collections.abc import Iterator
from pathlib import Path

from .processes import CHECKOUT

PACKAGE = CHECKOUT / "sweeper"
FLOORS = [
    {"errors", "records", "shell", "startup", "statistics", "untrusted", "version"},
    {"disk", "intervals"},
    {"config"},
    {"network", "data"},
    {"design", "training"},
    {"run"},
    {"terminal"},
    {"search"},
    {"study"},
    {"replicates", "reading"},
    {"ablation", "bench", "confirm"},
    {"report"},
    {"dashboard", "plugin"},
    {"cli"},
    {"__init__", "__main__"},
]
"""The rooms from the lowest floor to the highest. `__init__` is the package itself, the front door for Python callers."""
PRIVATE_PARTS = {"sweeper.cli.hydra_private", "sweeper.network.cpu.torch_private", "sweeper.study.optuna_private"}
"""The modules that may use private names of a library: one for each library."""
MAX_FILE_LINES = 300
MAX_CLASS_LINES = 200


@functools.cache
def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name, packages included."""
    found = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(CHECKOUT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


@functools.cache
def tree(name: str) -> ast.Module:
    """The syntax tree of a module."""
    return ast.parse(modules()[name].read_text())


def imported(name: str) -> Iterator[str]:
    """Everything a module imports, also inside functions and under TYPE_CHECKING."""
    package = name if modules()[name].name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield f"{module}.{alias.name}"


def graph() -> dict[str, set[str]]:
    """The modules of the package that each module imports; ``from package import name`` may name either."""
    found: dict[str, set[str]] = {}
    for name in modules():
        own = {target for target in imported(name) if target.partition(".")[0] == "sweeper"}
        found[name] = {target if target in modules() else target.rpartition(".")[0] for target in own}
    return found


def room(name: str) -> str:
    """The room of a module: the name directly below the package."""
    return name.split(".")[1] if "." in name else "__init__"


def test_imports_are_resolved() -> None:
    """Lazy, relative, aliased and type-only imports are all found: the tests below see every one of them."""
    found = graph()
    assert set().union(*found.values()) <= set(modules())
    assert "sweeper.run.experiment" in found["sweeper"]  # lazily
    assert "sweeper.config.schema" in found["sweeper"]  # under TYPE_CHECKING
    assert "sweeper.terminal.network_table" in found["sweeper.cli.inspect"]  # from a package


def test_each_floor_imports_only_from_below() -> None:
    """A room imports from rooms on lower floors and from itself; nothing imports the package itself."""
    floor_of = {name: number for number, rooms in enumerate(FLOORS) for name in rooms}
    upward = [
        f"{name} imports {target}"
        for name, targets in graph().items()
        for target in sorted(targets)
        if room(target) != room(name) and floor_of[room(target)] >= floor_of[room(name)]
    ]
    assert upward == []


def test_no_module_imports_itself_through_others() -> None:
    """There is no import cycle, type-only imports included."""
    try:
        graphlib.TopologicalSorter(graph()).prepare()
    except graphlib.CycleError as error:
        raise AssertionError(" imports ".join(error.args[1][::-1])) from error


def test_kernels_are_reached_through_build() -> None:
    """Only network/build.py and bench import network/cpu, and only network/cpu imports numba."""
    kernels = "sweeper.network.cpu"
    may_import = ("sweeper.network.build", "sweeper.bench.", f"{kernels}.")
    for name, targets in graph().items():
        if not name.startswith(may_import):
            assert not [target for target in targets if target.startswith(kernels)], name
        if not name.startswith(f"{kernels}."):
            assert not [target for target in imported(name) if target.split(".")[0] == "numba"], name


def _private_uses(name: str) -> Iterator[str]:
    """What a module uses of names with a leading underscore that are not its own."""
    for target in imported(name):
        if any(part.startswith("_") and not part.startswith("__") for part in target.split(".")):
            yield target
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            owner = ast.unparse(node.value)
            if owner not in {"self", "cls", "os"}:  # os._exit is documented
                yield f"{owner}.{node.attr}"


def test_private_parts_of_libraries_are_used_in_one_file_each() -> None:
    """A library's private names are used only in the module set aside for them."""
    assert {name for name in modules() if list(_private_uses(name))} == PRIVATE_PARTS


def test_files_and_classes_are_short() -> None:
    """No file is longer than 300 lines, those of the tests included; no class is longer than 200."""
    long = []
    for file in (*modules().values(), *(CHECKOUT / "tests").glob("*.py")):
        lines = len(file.read_text().splitlines())
        if lines > MAX_FILE_LINES:
            long.append(f"{file.relative_to(CHECKOUT)}: {lines} lines")
    for name in modules():
        for node in ast.walk(tree(name)):
            if isinstance(node, ast.ClassDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > MAX_CLASS_LINES:
                    long.append(f"{name}.{node.name}: {lines} lines")
    assert long == []
