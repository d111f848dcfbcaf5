import numpy as np
import pytest

from configs.sweeps.grid import base_config, product, zip_
from launch.sweeping.runs import MAX_NAME, SweepFile, plan, run_name, swept_keys
from sedd_jax.errors import UserError
from tests.launch.sweeping.toy import TRAINING, toy_runs
from tests.sedd_jax.toy import toy_config

# ---- helpers


def test_a_product_changes_its_last_part_fastest():
    found = list(product({"a.b": [1, 2]}, seed=[0, 1]))
    assert found == [
        {"a.b": 1, "seed": 0}, {"a.b": 1, "seed": 1}, {"a.b": 2, "seed": 0}, {"a.b": 2, "seed": 1},
    ]  # fmt: skip


def test_zipped_keys_go_together_in_a_product():
    sizes = zip_({"model.width": [16, 32], "model.num_heads": [2, 4]})
    found = list(product(sizes, {"seed": [5]}))
    assert found == [
        {"model.width": 16, "model.num_heads": 2, "seed": 5},
        {"model.width": 32, "model.num_heads": 4, "seed": 5},
    ]


def test_helpers_refuse_what_would_lose_runs():
    with pytest.raises(ValueError, match="shorter"):
        list(zip_(a=[1, 2], b=[1]))
    with pytest.raises(ValueError, match="two parts of a product set seed"):
        list(product({"seed": [1]}, seed=[2]))


def test_a_base_that_does_not_exist_is_refused():
    assert base_config("demo").model.width == 256
    with pytest.raises(UserError, match="no configs/dmeo.py"):
        base_config("dmeo")


# ---- names


def test_a_name_depends_on_nothing_but_its_own_overrides(tmp_path):
    few = toy_runs(tmp_path, product({"optim.learning_rate": [1e-3], "seed": [0]}))
    many = toy_runs(tmp_path, product({"seed": [1, 0], "optim.learning_rate": [1e-5, 1e-3, 1]}))
    assert few[0].name == "optim.learning_rate=0.001,seed=0"
    assert few[0].directory in [run.directory for run in many]
    assert many[0].name == "optim.learning_rate=1e-05,seed=1"


def test_equal_values_of_other_types_make_the_same_run(tmp_path):
    [whole] = toy_runs(tmp_path, [{"optim.learning_rate": 1}])
    [numpy] = toy_runs(tmp_path, [{"optim.learning_rate": np.float32(1.0)}])
    assert whole.name == numpy.name == "optim.learning_rate=1.0"
    assert type(numpy.config.optim.learning_rate) is float


def test_names_are_short_safe_and_distinct():
    slash, space = run_name({"data.path": "/a/b"}), run_name({"data.path": "/a b"})
    assert "/" not in slash and " " not in space and slash != space
    long = [run_name({"data.path": "x" * 300 + end}) for end in "ab"]
    assert long[0] != long[1] and all(len(name) < MAX_NAME + 10 for name in long)
    assert run_name({}) == "base"


# ---- runs


def test_overrides_arrive_in_the_config_and_on_the_command_line(tmp_path):
    [run] = toy_runs(tmp_path, [{"optim.learning_rate": 3e-4, "model.scale_by_sigma": False}])
    assert run.config.optim.learning_rate == 3e-4 and run.config.model.scale_by_sigma is False
    command = TRAINING.line(run)
    assert command[1:4] == ["-m", "sedd_jax.train", "--config=toy_sweep.py"]
    assert command[4:] == [
        "--config.data.path=TOKENS",
        "--config.optim.learning_rate=0.0003",
        "--config.model.scale_by_sigma=false",
        f"--workdir={run.directory}",
    ]


def test_what_all_runs_share_may_not_be_swept(tmp_path):
    sweep = SweepFile("toy_sweep.py", "train", [{"seed": 1}])
    with pytest.raises(UserError, match="config.seed is swept: it cannot be set for all runs"):
        plan(toy_config(), {"seed": 3}, sweep, TRAINING, tmp_path)


def test_swept_keys_are_those_that_tell_runs_apart(tmp_path):
    runs = toy_runs(tmp_path, product({"seed": [3], "optim.warmup_steps": [0, 5]}))
    assert swept_keys(runs) == ["optim.warmup_steps"]
    partly = toy_runs(tmp_path, [{}, {"optim.warmup_steps": 7}])
    assert swept_keys(partly) == ["optim.warmup_steps"]
