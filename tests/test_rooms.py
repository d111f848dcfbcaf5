"""The floors of both packages: imports lead to the same room or to rooms below, in no circle.

A room is a folder of a package, or a module beside the folders.
"""

import ast
import graphlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# From the roof down. Rooms on one floor do not know each other.
FLOORS = {
    "sedd_jax": [
        {"train", "evaluate", "sample", "import_weights", "api"},
        {"jobs"},
        {"training"},
        {"likelihood", "monitoring", "sampling", "weights"},
        {"model"},
        {"data", "conditions", "progress", "stop", "compilation_cache"},
        {"config_arguments", "model_arguments"},
        {"config"},
        {"config_keys"},
        {"config_key"},
        {"checkpoints"},
        {"state", "network"},
        {"diffusion", "parallel", "remote_run"},
        {"errors"},
    ],
    "tokenizer_bridge": [
        {
            "encode", "decode", "inspect", "report", "measure_notes",
            "train_codec", "evaluate_codec", "convert_checkpoint", "codec", "render_scores",
            "judge_tags", "decode_edits",
        },
        {"jobs"},
        {"source_arguments", "reporting", "inspection", "judging"},
        {"fad", "codec_training", "notes", "edits"},
        {"encoding", "decoding"},
        {"wavtokenizer", "cleaning", "sources"},
        {"audio", "pages", "repairs", "devices", "memory"},
        {"token_dataset"},
    ],
}  # fmt: skip


def modules_of(package: str) -> dict[str, Path]:
    """Dotted name → file of every module; a package's own name stands for its __init__.py."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted((ROOT / package).rglob("*.py"))
    }


def imports_of(path: Path) -> set[str]:
    """Modules of the project that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} has a relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                place = ROOT / inner.replace(".", "/")
                is_module = place.with_suffix(".py").exists() or (place / "__init__.py").exists()
                found.add(inner if is_module else node.module)
    return {name for name in found if name.partition(".")[0] in (*FLOORS, "launch", "configs")}


def room_of(module: str) -> str:
    return module.split(".")[1]


@pytest.mark.parametrize("package", FLOORS)
def test_every_room_has_its_floor(package):
    rooms = {room_of(module) for module in modules_of(package) if module != package}
    floors = [room for floor in FLOORS[package] for room in floor]
    assert len(floors) == len(set(floors)) and set(floors) == rooms


@pytest.mark.parametrize("package", FLOORS)
def test_imports_lead_downwards(package):
    floor_of = {room: i for i, floor in enumerate(FLOORS[package]) for room in floor}
    upwards = [
        f"{module} imports {imported}"
        for module, path in modules_of(package).items()
        if module != package
        for imported in imports_of(path)
        if imported.startswith(f"{package}.")
        and room_of(imported) != room_of(module)
        and floor_of[room_of(imported)] <= floor_of[room_of(module)]
    ]
    assert not upwards


@pytest.mark.parametrize("package", [*FLOORS, "launch", "configs"])
def test_no_module_is_in_a_circle(package):
    graph = {
        module: imports_of(path) - {module, package} for module, path in modules_of(package).items()
    }
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_the_model_knows_the_token_dataset_alone_of_the_bridge():
    for module, path in modules_of("sedd_jax").items():
        for imported in imports_of(path):
            package, _, rest = imported.partition(".")
            assert package == "sedd_jax" or (
                package == "tokenizer_bridge" and rest.partition(".")[0] == "token_dataset"
            ), f"{module} imports {imported}"


def test_the_bridge_knows_nothing_of_the_model():
    for module, path in modules_of("tokenizer_bridge").items():
        assert all(name.startswith("tokenizer_bridge") for name in imports_of(path)), module


def test_configs_are_imported_by_sweeping_alone():
    for module, path in modules_of("launch").items():
        names = {name.partition(".")[0] for name in imports_of(path)}
        assert "configs" not in names or module.startswith("launch.sweeping."), module
