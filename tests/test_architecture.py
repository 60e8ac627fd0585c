"""How the package is built: data flows one way, each library has its place, and all that is public is described."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
import tiny

import atjax

ROOT = tiny.REPOSITORY / "atjax"


def modules() -> dict[str, Path]:
    """Every module of the package, by its dotted name."""
    names = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


MODULES = modules()


def imported(tree: ast.AST) -> Iterator[str]:
    """Dotted names that a module imports anywhere in it, also within functions.

    ``from a import b`` names both ``a`` and ``a.b``: b may be a module, or something in a.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not followed here"
            assert node.module is not None
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else node.module


IMPORTS = {name: set(imported(ast.parse(path.read_text()))) for name, path in MODULES.items()}


def tops(name: str) -> set[str]:
    """Top-level packages that a module imports."""
    return {other.split(".")[0] for other in IMPORTS[name]}


def inside(name: str) -> set[str]:
    """Modules of the package that a module imports, other than the package itself for its version or members."""
    return {other for other in IMPORTS[name] if other in MODULES}


def test_there_are_modules() -> None:
    assert {"atjax", "atjax.task", "atjax.search", "atjax.search.__main__", "atjax.model.gnn"} <= set(MODULES)
    assert "atjax.config" in IMPORTS["atjax.search.__main__"]  # by `from atjax import cli, config`
    assert "numpy" in IMPORTS["atjax.task"]


def test_no_import_cycles() -> None:
    try:
        order = list(TopologicalSorter({name: inside(name) for name in MODULES}).static_order())
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))
    assert set(order) == set(MODULES)


LAYERS = (
    {"errors", "space", "atomic", "products", "values"},
    {"raw", "encoding", "interop", "reading"},
    {"graphs", "task", "meta", "links"},
    {"config", "sources", "neighbours"},
    {"batch", "refinement", "metrics", "budget", "compilation", "runtime", "likelihood", "overview", "units", "model"},
    {"train", "fisher"},
    {"feature", "checkpoint"},
    {"bank"},
    {"embedding", "ranking"},
    {"affinity"},
    {"prior"},
    {"transfer", "samplers", "levels"},
    {"report"},
    {"search"},
    {"api", "mistakes"},
    {"cli"},
    {"__main__", "build_bank", "describe", "embed", "predict"},
)
"""From the data to the programs: a part imports from its own and from earlier layers only."""


def part(name: str) -> str:
    return name.split(".")[1]


def test_data_flows_one_way() -> None:
    level = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    for name in MODULES:
        if name in ("atjax", "atjax.search.__main__"):
            continue
        assert part(name) in level, f"{name} has no place in LAYERS"
        for other in inside(name):
            assert other != "atjax", f"{name} imports the whole package"
            assert level[part(other)] <= level[part(name)], f"{name} imports {other}, which comes later"


def test_flax_is_imported_under_model_only() -> None:
    assert "flax" in tops("atjax.model.layers")
    assert {name for name in MODULES if "flax" in tops(name)} <= {n for n in MODULES if n.startswith("atjax.model.")}


@pytest.mark.parametrize(
    ("library", "places"),
    [
        ("torch", set()),
        ("torch_geometric", set()),
        ("optuna", {"samplers", "search"}),
        ("orbax", {"checkpoint"}),
        ("pyarrow", {"bank", "sources"}),
        ("matplotlib", {"report"}),
        ("jinja2", {"report"}),
        ("hydra", {"config", "cli", "mistakes", "search", "build_bank", "describe"}),
        ("networkx", {"report", "sources"}),
    ],
)
def test_each_library_has_its_place(library: str, places: set[str]) -> None:
    assert {part(name) for name in MODULES if library in tops(name)} == places


def test_data_are_read_without_the_models() -> None:
    """Tasks and spaces load without JAX; it takes seconds."""
    needed: set[str] = set()
    todo = {name for name in MODULES if name.startswith(("atjax.sources", "atjax.task", "atjax.links", "atjax.space"))}
    while todo:
        name = todo.pop()
        needed.add(name)
        todo |= inside(name) - needed
    for name in needed:
        assert not tops(name) & {"jax", "jraph", "flax", "optax"}, f"{name} is needed for data"


def public(body: list[ast.stmt], where: str) -> Iterator[tuple[str, ast.AST]]:
    """Public functions, classes and their public methods."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield f"{where}.{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body, f"{where}.{node.name}")


SPEAKING = {"atjax.task.Task.num_examples", "atjax.task.Graphs.num_features", "atjax.model.gnn.GNN.setup"}
"""Names that say all, and Flax's own."""


def test_all_that_is_public_has_a_docstring() -> None:
    missing = []
    for name, path in MODULES.items():
        tree = ast.parse(path.read_text())
        if tree.body and not ast.get_docstring(tree):
            missing.append(name)
        for where, node in public(tree.body, name):
            if not ast.get_docstring(node):  # type: ignore[arg-type]
                missing.append(where)
    assert sorted(set(missing) - SPEAKING) == []


def test_modules_stay_small() -> None:
    for name, path in MODULES.items():
        assert len(path.read_text().splitlines()) <= 500, f"{name} is longer than 500 lines"


def test_the_version_is_said_once_and_the_same() -> None:
    project = tomllib.loads((tiny.REPOSITORY / "pyproject.toml").read_text())["project"]
    assert atjax.__version__ == project["version"]


def test_the_public_list_is_whole() -> None:
    assert sorted(atjax.__all__) == atjax.__all__
    for name in atjax.__all__:
        assert getattr(atjax, name) is not None
    assert callable(atjax.search)
