"""launch/xla_flags.sh: its settings reach the program, and XLA knows all of them."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
SETTINGS = ("XLA_FLAGS", "LIBTPU_INIT_ARGS", "XLA_PYTHON_CLIENT_MEM_FRACTION", "NCCL_DEBUG")
USE_CPU = "import jax; jax.config.update('jax_platforms', 'cpu'); jax.devices()"
USE_LIBTPU = (
    "from jax.experimental import topologies; "
    "topologies.get_topology_desc(platform='tpu', topology_name='v5e:2x2')"
)


def under(platform: str, *command: str, **env: str) -> subprocess.CompletedProcess:
    """A command under the platform's settings; of the caller's own only those in env."""
    around = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    around |= {"TPU_SKIP_MDS_QUERY": "1", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}
    return subprocess.run(
        ["bash", "launch/xla_flags.sh", platform, *command],
        cwd=PROJECT,
        env={**around, **env},
        capture_output=True,
        text=True,
    )


def seen_by_the_program(platform: str, **env: str) -> dict[str, str]:
    lines = under(platform, "env", **env).stdout.splitlines()
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    return {name: values[name] for name in SETTINGS if name in values}


def test_each_platform_gets_its_own():
    assert set(seen_by_the_program("cpu")) == set()
    assert set(seen_by_the_program("tpu")) == {"LIBTPU_INIT_ARGS"}
    assert set(seen_by_the_program("gpu")) == {*SETTINGS} - {"LIBTPU_INIT_ARGS"}


def test_what_the_caller_set_wins():
    # XLA takes the last of several values.
    seen = seen_by_the_program("gpu", XLA_FLAGS="--xla_mine=1", NCCL_DEBUG="INFO")
    assert seen["XLA_FLAGS"].split()[-1] == "--xla_mine=1"
    assert len(seen["XLA_FLAGS"].split()) > 1
    assert seen["NCCL_DEBUG"] == "INFO"
    assert seen_by_the_program("tpu", LIBTPU_INIT_ARGS="--m")["LIBTPU_INIT_ARGS"].endswith(" --m")


def test_the_exit_code_and_the_process_are_the_commands_own():
    assert under("gpu", "bash", "-c", "exit 143").returncode == 143
    killed = under("cpu", "bash", "-c", "kill -TERM $$")
    assert killed.returncode == -15  # a shell in between would have made 143 of it


def test_an_unknown_platform_is_refused():
    refused = under("abacus", "true")
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: ") and "abacus" in refused.stderr


def test_jaxlib_knows_the_settings_for_gpus():
    known = under("gpu", sys.executable, "-c", USE_CPU)
    assert known.returncode == 0, known.stderr
    unknown = under("gpu", sys.executable, "-c", USE_CPU, XLA_FLAGS="--xla_gpu_enable_magic=true")
    assert "Unknown flag in XLA_FLAGS: --xla_gpu_enable_magic" in unknown.stderr


@pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed: launch/test.sh"
)
def test_libtpu_knows_the_settings_for_tpus():
    known = under("tpu", sys.executable, "-c", USE_LIBTPU)
    assert known.returncode == 0, known.stderr
    unknown = under("tpu", sys.executable, "-c", USE_LIBTPU, LIBTPU_INIT_ARGS="--xla_tpu_magic=1")
    assert "Unknown command line flag 'xla_tpu_magic'" in unknown.stderr
