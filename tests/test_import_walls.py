"""Who may import whom: a TPU pod has no PyTorch, a tokenising box has no JAX."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TORCH = ["torch", "torchaudio"]
JAX = ["jax", "jaxlib", "flax", "optax", "orbax"]

# Imports every module in turn in an interpreter where some packages cannot be found.
IMPORT_WITHOUT = """
import importlib, sys

blocked, modules = sys.argv[1].split(","), sys.argv[2].split(",")

class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"{name} is behind the wall", name=name)

sys.meta_path.insert(0, Wall())
for module in modules:
    importlib.import_module(module)
print(len(modules), "imported")
"""


def files_of(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def import_without(blocked: list[str], modules: list[str]) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", IMPORT_WITHOUT, ",".join(blocked), ",".join(modules)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def imported_packages(path: Path) -> set[str]:
    """First names of everything that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module)
    return found


@pytest.mark.parametrize("package, blocked", [("sedd_jax", TORCH), ("tokenizer_bridge", JAX)])
def test_every_module_imports_without_the_other_framework(package, blocked):
    modules = [module_name(path) for path in files_of(package)]
    done = import_without(blocked, modules)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == f"{len(modules)} imported\n"


def test_the_token_format_needs_neither_framework():
    modules = [module_name(path) for path in files_of("tokenizer_bridge/token_dataset")]
    assert "tokenizer_bridge.token_dataset.records" in modules
    done = import_without(TORCH + JAX, modules)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_wall_stands():
    done = import_without(TORCH, ["tokenizer_bridge.wavtokenizer.network"])
    assert "torch is behind the wall" in done.stderr


@pytest.mark.parametrize("package, blocked", [("sedd_jax", TORCH), ("tokenizer_bridge", JAX)])
def test_no_function_imports_the_other_framework(package, blocked):
    for path in files_of(package):
        packages = {name.partition(".")[0] for name in imported_packages(path)}
        assert packages.isdisjoint(blocked), path


def test_diffusion_knows_jax_and_numpy_only():
    for path in files_of("sedd_jax/diffusion"):
        for name in imported_packages(path):
            known = name.partition(".")[0] in {"jax", "numpy", *sys.stdlib_module_names}
            assert known or name.startswith("sedd_jax.diffusion"), f"{path} imports {name}"
