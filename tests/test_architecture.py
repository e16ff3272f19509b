"""The rules of the house: imports point one way, rooms stay small, import is light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "paretax"
FILES = sorted(PACKAGE.rglob("*.py"))
IDS = [str(path.relative_to(ROOT)) for path in FILES]

# What each room may import of ours. A room may always import itself.
CORE = {"_types", "_checks", "_shared", "_version"}
BELOW = {
    "_types": set(),
    "_checks": {"_types"},
    "_shared": {"_types"},
    "_version": set(),
    "solvers": {"_types", "_checks"},
    "scalarizations": {"_types", "_checks"},
    "_jacobian": CORE,
    "_weighting": CORE | {"_jacobian", "scalarizations", "solvers"},
    "_combine": CORE | {"_jacobian", "_weighting"},
    "_direction": CORE | {"_jacobian", "_weighting", "_combine"},
    "weightings": CORE | {"_jacobian", "_weighting", "scalarizations", "solvers"},
    "coordinatewise": CORE | {"_jacobian", "_weighting", "_combine", "solvers"},
    "metrics": {"_types", "_checks"},
    "problems": {"_types", "_checks"},
    "data": {"_types", "_checks"},
    "viz": CORE | {"metrics", "problems", "data"},
    "models": CORE | {"_jacobian", "_weighting", "_combine", "_direction"},
    "grouping": CORE | {"_jacobian", "_weighting", "_combine", "metrics", "models"},
    "ensembles": CORE
    | {
        "_jacobian",
        "_weighting",
        "_combine",
        "metrics",
        "scalarizations",
        "solvers",
        "weightings",
    },
}
ABOVE = CORE | set(BELOW) | {"weightings", ""}
BELOW["experiments"] = ABOVE
BELOW["bench"] = ABOVE | {"experiments"}
BELOW["cli"] = ABOVE | {"experiments", "bench"}
# The root gathers the core and the combiners, and nothing else.
BELOW["__init__"] = CORE | {
    "_combine", "_direction", "_jacobian", "_weighting", "coordinatewise",
    "scalarizations", "solvers", "weightings",
}  # fmt: skip


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path):
    """Our own rooms that a file imports, wherever in the file the statement stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "absolute imports only"
            names = [node.module or ""]
            if node.module == "paretax":
                names = [f"paretax.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "paretax":
                yield parts[1] if len(parts) > 1 else ""


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_imports_point_one_way(path):
    here = room(path)
    assert here in BELOW, f"{here} is a new room: say here what it may import"
    wrong = {name for name in imports(path) if name != here} - BELOW[here]
    assert not wrong, f"{here} must not import {sorted(wrong)}"


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_files_functions_and_lines_stay_short(path):
    lines = path.read_text().splitlines()
    assert len(lines) <= 300
    assert max(map(len, lines), default=0) <= 88
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            body = node.body
            if ast.get_docstring(node) is not None:
                body = body[1:]
            length = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            assert length <= 40, f"{node.name} has {length} lines"


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_every_module_says_what_it_is_and_what_it_exports(path):
    tree = ast.parse(path.read_text())
    assert path.name == "_version.py" or ast.get_docstring(tree)
    assert path.stem not in {"utils", "helpers", "common", "misc"}
    if path.name == "__init__.py":
        assert any(
            isinstance(node, ast.Assign) and node.targets[0].id == "__all__"
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        )


def test_import_paretax_needs_the_core_only():
    blocked = [
        "flax", "matplotlib", "tensorflow_datasets", "cvxpy", "orbax", "rich", "tyro",
        "tensorflow", "torch",
    ]  # fmt: skip
    code = (
        "import sys\n"
        f"for name in {blocked}: sys.modules[name] = None\n"
        "import jax, jax.numpy as jnp, optax, paretax as px\n"
        "tx = optax.chain(px.combine(px.nash_mtl(), num_tasks=2), optax.adam(1e-3))\n"
        "tx.update(jnp.eye(2), tx.init(jnp.zeros(2)), jnp.zeros(2))\n"
        "print('light')"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "light"
