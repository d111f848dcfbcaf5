"""The command that makes a run of published weights."""

import json
import sys

from safetensors.numpy import save_file

from sedd_jax.checkpoints.manager import Checkpoints
from sedd_jax.model import checkpoint_dir
from tests.sedd_jax import toy
from tests.sedd_jax.network.small import reference


def test_weights_become_a_run_once(tmp_path):
    _, config, weights = reference("sedd_absorb_loglinear.npz")
    file, workdir = tmp_path / "model.safetensors", tmp_path / "run"
    save_file(weights, file)
    (tmp_path / "config.json").write_text(json.dumps(config))
    command = [sys.executable, "-m", "sedd_jax.import_weights", f"--input={tmp_path}"]
    done = toy.run([*command, f"--workdir={workdir}"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{workdir}: weights of step 0 from {file}\n")
    with Checkpoints(checkpoint_dir(workdir), read_only=True) as checkpoints:
        assert checkpoints.steps == [0]
    assert str(workdir) in toy.error_line(toy.run([*command, f"--workdir={workdir}"]))
