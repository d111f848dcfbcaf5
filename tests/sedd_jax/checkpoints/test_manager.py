import dataclasses
import errno
import os
import shutil

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sedd_jax import config as config_lib
from sedd_jax.checkpoints import manager as checkpoint_lib
from sedd_jax.checkpoints import meta as meta_lib
from sedd_jax.checkpoints import unfinished
from sedd_jax.checkpoints.best import lowest
from sedd_jax.checkpoints.manager import Checkpoints
from sedd_jax.checkpoints.meta import Meta
from sedd_jax.errors import UserError
from sedd_jax.state import init_state
from tests.sedd_jax.toy import toy_config

CONFIG = toy_config()


def make_state(seed):
    key = jax.random.key(seed)
    params = {"a": {"kernel": jax.random.normal(key, (30, 40))}, "b": jnp.ones((5,))}
    state = init_state(params, CONFIG.optim)
    return dataclasses.replace(state, step=jnp.int32(seed))


def meta(step):
    return Meta(step, CONFIG.to_dict(), {"name": "toy"}, "fingerprint")


SHAPES = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), make_state(0)
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Checkpoints of steps 1, 2, 3; copy before damaging."""
    directory = tmp_path_factory.mktemp("saved") / "checkpoints"
    with Checkpoints(directory, keep_last=3) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(make_state(step), meta(step))
    return directory


@pytest.fixture
def directory(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "checkpoints")
    return tmp_path / "checkpoints"


def read_newest(checkpoints, shapes=SHAPES):
    return checkpoints.newest(lambda step: checkpoints.restore(checkpoints.read_meta(step), shapes))


def assert_same(state, expected):
    chex.assert_trees_all_equal(state, expected, strict=True)


def test_state_config_and_codec_come_back(directory):
    with Checkpoints(directory, read_only=True) as checkpoints:
        assert checkpoints.steps == [1, 2, 3]
        found = checkpoints.read_meta(2)
        assert config_lib.from_dict(found.config).to_dict() == CONFIG.to_dict()
        assert found.codec == {"name": "toy"}
        assert_same(checkpoints.restore(found, SHAPES), make_state(2))
        ema = checkpoints.restore_ema(found, SHAPES.ema_params)
        assert_same(ema, make_state(2).ema_params)
        assert_same(read_newest(checkpoints), make_state(3))


def test_keeps_the_last_n_and_every_kth(tmp_path):
    with Checkpoints(tmp_path / "c", keep_last=2, keep_every=4) as checkpoints:
        for step in range(1, 8):
            checkpoints.save(make_state(step), meta(step))
        checkpoints.wait()
        assert checkpoints.steps == [4, 6, 7]


def measured(bits):
    return {"bits_per_token": bits, "of": "these"}


def save_measured(checkpoints, step, bits):
    validation = measured(bits) if bits else {}
    checkpoints.save(make_state(step), dataclasses.replace(meta(step), validation=validation))
    checkpoints.wait()


def test_keeps_the_one_of_lowest_validation_over_a_restart(tmp_path):
    with Checkpoints(tmp_path / "c", keep_best=1) as checkpoints:
        for step, bits in enumerate([5.0, 3.0, 4.0, None], 1):
            is_best = checkpoints.best.is_among_best(step, measured(bits)) if bits else False
            assert is_best == (step < 3)
            save_measured(checkpoints, step, bits)
        assert checkpoints.steps == [2, 4]
    with Checkpoints(tmp_path / "c", keep_best=1) as checkpoints:
        save_measured(checkpoints, 5, 3.5)
        assert checkpoints.steps == [2, 5]
        assert checkpoints.at_best(lambda step: step) == 2
        save_measured(checkpoints, 6, 2.5)
        assert checkpoints.steps == [6]
        assert checkpoints.at_best(lambda step: step) == 6


@pytest.mark.parametrize("fails", ["at once", "late"])
def test_the_best_stays_until_a_better_one_is_whole(tmp_path, monkeypatch, fails):
    with Checkpoints(tmp_path / "c", keep_best=1) as checkpoints:
        save_measured(checkpoints, 1, 4.0)
        with monkeypatch.context() as patch:
            if fails == "at once":
                patch.setattr(checkpoints._manager, "save", no_space)
            else:  # in Orbax's background thread, at its very end
                patch.setattr(os, "rename", no_space)
            with pytest.raises(UserError, match="No space left"):
                save_measured(checkpoints, 2, 2.0)
        checkpoints.reopen()
        assert checkpoints.steps == [1]
        assert checkpoints.best.is_among_best(3, measured(3.0))
        save_measured(checkpoints, 3, None)
        assert checkpoints.steps == [1, 3]
        save_measured(checkpoints, 4, 3.0)
        assert checkpoints.steps == [4]


def no_space(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_validations_on_other_music_are_not_compared():
    old, new = ({"bits_per_token": bits, "of": of} for bits, of in [(2.0, "old"), (3.0, "new")])
    assert lowest({1: old, 2: new, 3: new | {"bits_per_token": 2.5}}) == [3, 2]
    assert lowest({}) == []


def test_without_a_validation_there_is_no_best(directory):
    with Checkpoints(directory, read_only=True) as checkpoints:
        with pytest.raises(UserError, match="has no checkpoint whose validation was measured"):
            checkpoints.at_best(lambda step: step)


def test_saving_holds_the_values_of_its_moment(tmp_path):
    """The buffers of the state are donated to the next step while the save is under way."""
    step = jax.jit(lambda state: jax.tree.map(lambda x: x + 1, state), donate_argnums=0)
    state = make_state(1)
    with Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save(state, meta(1))
        for _ in range(20):
            state = step(state)
        checkpoints.wait()
        assert_same(read_newest(checkpoints), make_state(1))


def data_file(directory, step, item):
    """The file with an item's numbers: the largest."""
    files = [p for p in (directory / str(step) / item).rglob("*") if p.is_file()]
    return max(files, key=lambda path: path.stat().st_size)


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [truncate, flip, os.remove])
@pytest.mark.parametrize("item", ["train", "ema_params", "meta"])
def test_a_damaged_checkpoint_is_reported_and_the_one_before_is_used(
    directory, item, damage, caplog
):
    damage(data_file(directory, 3, item))
    with Checkpoints(directory, keep_last=3) as checkpoints:
        assert_same(read_newest(checkpoints), make_state(2))
        [report] = [r.getMessage() for r in caplog.records if "damaged" in r.getMessage()]
        assert f"{directory / '3' / item}" in report and "\n" not in report
        # Its step can be saved anew.
        assert checkpoints.steps == [1, 2]
        checkpoints.save(make_state(3), meta(3))
        checkpoints.wait()
        assert_same(read_newest(checkpoints), make_state(3))


def test_a_reader_leaves_a_damaged_checkpoint_where_it_is(directory):
    truncate(data_file(directory, 3, "ema_params"))
    before = sorted(p.name for p in directory.iterdir())
    with Checkpoints(directory, read_only=True) as checkpoints:
        assert_same(read_newest(checkpoints), make_state(2))
        with pytest.raises(UserError, match="3/ema_params is damaged"):
            checkpoints.at(3, lambda step: checkpoints.restore(checkpoints.read_meta(step), SHAPES))
        with pytest.raises(UserError, match="no checkpoint of step 7; it has 1, 2, 3"):
            checkpoints.at(7, lambda step: step)
    assert sorted(p.name for p in directory.iterdir()) == before


def test_wrong_numbers_that_read_well_are_found(saved):
    with Checkpoints(saved, read_only=True) as checkpoints:
        found = checkpoints.read_meta(3)
        wrong = dict(found.checksums) | {"ema_params/b": found.checksums["ema_params/b"] ^ 1}
        with pytest.raises(checkpoint_lib.DamagedCheckpoint, match="checksum of ema_params/b"):
            checkpoints.restore(dataclasses.replace(found, checksums=wrong), SHAPES)


def test_checksum_sees_every_bit():
    tree = {"x": jnp.zeros((7,)), "n": jnp.zeros((), jnp.int32)}
    base = meta_lib.checksums(tree)
    assert set(base) == {"x", "n"}
    for bit in (0, 31):
        word = np.zeros(7, np.uint32)
        word[3] = 1 << bit
        assert meta_lib.checksums(tree | {"x": jnp.asarray(word.view(np.float32))}) != base
    assert meta_lib.checksums(tree | {"n": jnp.int32(1)}) != base


def test_no_checkpoint_and_none_whole_are_said(directory, tmp_path):
    for step in (1, 2, 3):
        truncate(data_file(directory, step, "train"))
    with Checkpoints(directory, read_only=True) as checkpoints:
        with pytest.raises(UserError, match=r"none of the checkpoints \[3, 2, 1\] can be read"):
            read_newest(checkpoints)
    (tmp_path / "empty").mkdir()
    with Checkpoints(tmp_path / "empty", read_only=True) as checkpoints:
        with pytest.raises(UserError, match="holds no checkpoint yet"):
            read_newest(checkpoints)


def test_another_shape_or_dtype_is_refused_by_name(saved):
    def changed(shape, dtype):
        leaf = jax.ShapeDtypeStruct(shape, dtype, sharding=SHAPES.ema_params["b"].sharding)
        return dataclasses.replace(SHAPES, ema_params=SHAPES.ema_params | {"b": leaf})

    with Checkpoints(saved, read_only=True) as checkpoints:
        with pytest.raises(UserError, match=r"b is float32\(5,\) there, float32\(6,\) here"):
            read_newest(checkpoints, changed((6,), jnp.float32))
        with pytest.raises(UserError, match=r"b is float32\(5,\) there, bfloat16\(5,\) here"):
            read_newest(checkpoints, changed((5,), jnp.bfloat16))


def test_a_layout_of_the_future_is_refused(tmp_path):
    with Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save(make_state(1), dataclasses.replace(meta(1), layout_version=99))
        checkpoints.wait()
        with pytest.raises(UserError, match="has layout 99, this program reads 1"):
            read_newest(checkpoints)


def test_a_crash_while_saving_leaves_nothing_that_looks_whole(directory):
    """What a kill leaves behind: Orbax's directory under its temporary name."""
    shutil.copytree(directory / "3", directory / "4.orbax-checkpoint-tmp")
    with Checkpoints(directory, keep_last=3) as checkpoints:
        assert checkpoints.steps == [1, 2, 3]
        checkpoints.save(make_state(4), meta(4))
        checkpoints.wait()
        assert_same(read_newest(checkpoints), make_state(4))


class Clock:
    """In the place of checkpoint's `time`; `events` happen at their moments, while it sleeps."""

    def __init__(self, events=()):
        self.now, self.events = 0.0, list(events)

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        while self.events and self.events[0][0] <= self.now:
            self.events.pop(0)[1]()


def test_what_writes_of_a_failed_save_still_make_is_removed_too(tmp_path, monkeypatch):
    (tmp_path / "10").mkdir()
    left = tmp_path / "20.orbax-checkpoint-tmp" / "train"

    def write():
        left.mkdir(parents=True, exist_ok=True)
        (left / "0").touch()

    write()
    moments = [0.8 * number * unfinished.CALM_S for number in range(1, 5)]
    clock = Clock((moment, write) for moment in moments)
    monkeypatch.setattr(unfinished, "time", clock)
    unfinished.remove_unfinished(tmp_path)
    assert not clock.events
    assert clock.now == pytest.approx(moments[-1] + unfinished.CALM_S, rel=0.1)
    assert [entry.name for entry in tmp_path.iterdir()] == ["10"]


def test_what_cannot_be_removed_is_not_waited_for_forever(tmp_path, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(unfinished, "time", clock)
    monkeypatch.setattr(shutil, "rmtree", lambda *args, **kwargs: None)
    (tmp_path / "20.orbax-checkpoint-tmp").mkdir()
    unfinished.remove_unfinished(tmp_path)
    assert clock.now == pytest.approx(unfinished.PATIENCE_S, rel=0.1)


@pytest.mark.parametrize("name", ["Best [1990]", "what? a*b", "a\\b", "Ü 'c' \"d\" 🎵 50%"])
def test_any_name_of_a_folder_will_do(tmp_path, name):
    folder = tmp_path / name / "checkpoints"
    for step in (1, 2):
        with Checkpoints(folder) as checkpoints:
            checkpoints.save(make_state(step), meta(step))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert [path.name for path in folder.iterdir()] == ["2"]
    shutil.copytree(folder, tmp_path / "plain")
    for place in (folder, tmp_path / "plain"):
        with Checkpoints(place, read_only=True) as checkpoints:
            assert_same(read_newest(checkpoints), make_state(2))
