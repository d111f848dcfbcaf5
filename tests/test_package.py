"""The package as pip installs it: all files that commands read, extras, and one side alone."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import ROOT
from tests.test_import_walls import files_of, imported_packages

PACKAGES = ("sedd_jax", "tokenizer_bridge", "configs", "launch")
# Files for readers, their pictures too, and those that are used in a clone alone.
LEFT_OUT = {"README.md", "Dockerfile", "Dockerfile.dockerignore"} | {
    f"requirements-{name}.txt" for name in ("model", "bridge", "demo", "app", "dev", "wandb")
}
# Names of packages that are not those of their modules, and what comes with another package.
PACKAGE_OF = {
    "absl": "absl-py",
    "jinja2": "Jinja2",
    "markupsafe": "MarkupSafe",
    "ml_dtypes": "jax",
    "orbax": "orbax-checkpoint",
    "yaml": "PyYAML",
}


def required(file: str) -> set[str]:
    """Names of the packages in a file of requirements."""
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    return {re.split(r"[=\[]", line)[0] for line in lines if re.match(r"\w", line)}


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder with the packages as in a wheel (packages/) and its metadata beside them."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run(
        [
            *(sys.executable, "-c", "import setuptools; setuptools.setup()", "--quiet"),
            *("egg_info", f"--egg-base={folder}"),
            *("build_py", f"--build-lib={folder / 'packages'}"),
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return folder


def test_it_holds_all_that_commands_read(installed):
    def files(root: Path) -> set[str]:
        found = (path for package in PACKAGES for path in (root / package).rglob("*"))
        return {
            str(path.relative_to(root))
            for path in found
            if path.is_file() and path.name not in LEFT_OUT and path.suffix != ".png"
            if "__pycache__" not in path.parts  # where other tests write at the same time
        }

    assert files(ROOT) == files(installed / "packages")


def test_configs_are_found_by_name_from_any_folder(installed, tmp_path):
    done = subprocess.run(
        [
            *(sys.executable, "-c", "from launch.console import main; main()"),
            *("train", "--config=music_small", "--print_config"),
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed / "packages")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "training.num_steps" in done.stdout


def test_extras_add_to_both_sides(installed):
    metadata = installed / "sedd_music.egg-info"
    default, *extras = metadata.joinpath("requires.txt").read_text().split("\n\n[")
    named = dict(extra.strip().split("]\n") for extra in extras)
    assert {"jax==0.10.2", "torch==2.14.1"} <= set(default.split())
    assert not {"pytest", "ruff"} & required("requirements.txt")
    assert named.keys() == {"cuda", "tpu", "demo", "app", "dev", "wandb"}
    assert named["cuda"] == "jax[cuda13]==0.10.2"
    assert "sedd-music = launch.console:main" in metadata.joinpath("entry_points.txt").read_text()


def test_one_side_alone_has_all_that_it_imports():
    model, bridge = (required(f"launch/requirements-{side}.txt") for side in ("model", "bridge"))
    format_files = files_of("tokenizer_bridge/token_dataset")
    # wandb is an extra, and imported where a config asks for it.
    assert missing([*files_of("sedd_jax"), *format_files], model) == {"wandb"}
    # TensorFlow's is the file that convert_musicnn reads.
    assert missing(files_of("tokenizer_bridge"), bridge) == {"tensorflow"}
    assert model | bridge == required("requirements.txt")
    assert "torch" not in model and "jax" not in bridge


def test_all_that_is_installed_is_imported():
    files = [path for package in PACKAGES for path in files_of(package)]
    imported = {name.partition(".")[0] for path in files for name in imported_packages(path)}
    assert required("requirements.txt") - {PACKAGE_OF.get(name, name) for name in imported} == set()


def missing(files: list[Path], packages: set[str]) -> set[str]:
    imported = {name.partition(".")[0] for path in files for name in imported_packages(path)}
    known = {*sys.stdlib_module_names, *PACKAGES, *packages}
    return {name for name in imported if PACKAGE_OF.get(name, name) not in known}
