import collections
import pickle
import zipfile

import chex
import jax
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from sedd_jax.errors import UserError
from sedd_jax.network.transformer import init_params
from sedd_jax.weights.torch_weights import load, to_params, to_state_dict
from tests.sedd_jax.network.small import network_config, reference


@pytest.fixture(scope="module")
def published():
    """(published config, weights by published name)."""
    _, config, weights = reference("sedd_absorb_loglinear.npz")
    return config, weights


def torch_state_dict(weights, shift=0.0):
    state_dict = collections.OrderedDict(
        (name, torch.tensor(weight) + shift) for name, weight in weights.items()
    )
    state_dict["rotary_emb.inv_freq"] = torch.ones(6)
    return state_dict


def assert_same(params, other):
    chex.assert_trees_all_equal(params, other, strict=True)


def test_round_trip_keeps_names_order_and_values(published):
    config, weights = published
    params = to_params(weights)
    fresh = init_params(network_config(config, weights), jax.random.key(0))
    assert jax.tree.map(np.shape, params) == jax.tree.map(np.shape, fresh)
    back = to_state_dict(params)
    assert list(back) == list(weights)
    assert_same(back, weights)


@pytest.mark.parametrize("suffix", ["npz", "safetensors", "pth"])
def test_reads_a_raw_state_dict(published, tmp_path, suffix):
    _, weights = published
    path = tmp_path / f"weights.{suffix}"
    match suffix:
        case "npz":
            np.savez(path, **weights)
        case "safetensors":
            save_file(weights, path)
        case "pth":
            torch.save(torch_state_dict(weights), path)
    loaded = load(path)
    assert loaded.ema_params is None
    assert_same(loaded.params, to_params(weights))


def published_checkpoint(weights, shift):
    """A checkpoint like the published training's: NumPy's learning rate among the settings."""
    model = torch_state_dict(weights)
    parameters = [torch.nn.Parameter(w) for name, w in model.items() if "inv_freq" not in name]
    optimizer = torch.optim.AdamW(parameters)
    sum(p.sum() for p in parameters).backward()
    optimizer.param_groups[0]["lr"] = 3e-4 * np.minimum(7 / 2500, 1.0)
    shadow = [torch.tensor(w) + shift for w in weights.values()]
    ema = {"decay": 0.9999, "num_updates": 7, "shadow_params": shadow}
    return {"optimizer": optimizer.state_dict(), "model": model, "ema": ema, "step": 7}


def test_reads_the_published_checkpoint_with_its_ema(published, tmp_path):
    _, weights = published
    torch.save(published_checkpoint(weights, shift=1.0), tmp_path / "checkpoint.pth")
    loaded = load(tmp_path / "checkpoint.pth")
    assert loaded.step == 7
    assert_same(loaded.params, to_params(weights))
    assert_same(loaded.ema_params, to_params({k: w + np.float32(1) for k, w in weights.items()}))


def test_reads_other_dtypes_and_views(published, tmp_path):
    _, weights = published
    state_dict = torch_state_dict(weights)
    name = "blocks.1.attn_out.weight"
    wide = torch.arange(48 * 96).reshape(48, 96)
    state_dict[name] = wide.to(torch.bfloat16)[:, ::2].T  # strides (2, 96)
    torch.save(state_dict, tmp_path / "weights.pth")
    ours = to_state_dict(load(tmp_path / "weights.pth").params)
    np.testing.assert_array_equal(ours[name], state_dict[name].float().numpy())


class Marks:
    """Unpickling it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_file_that_would_run_code_is_refused_and_runs_nothing(published, tmp_path):
    _, weights = published
    mark = tmp_path / "it_ran"
    content = published_checkpoint(weights, shift=0.0) | {"extra": Marks(mark)}
    torch.save(content, tmp_path / "evil.pth")
    with pytest.raises(UserError, match=r"evil.pth wants \w+.open run"):
        load(tmp_path / "evil.pth")
    assert not mark.exists()
    with open(tmp_path / "evil.pth", "rb"):  # the mark is what a plain unpickler would leave
        pickle.loads(pickle.dumps(Marks(mark))).close()
    assert mark.exists()


def test_a_tensor_outside_its_storage_is_refused(published, tmp_path):
    _, weights = published
    torch.save(torch_state_dict(weights), tmp_path / "good.pth")
    with (
        zipfile.ZipFile(tmp_path / "good.pth") as good,
        zipfile.ZipFile(tmp_path / "short.pth", "w") as short,
    ):
        for name in good.namelist():
            short.writestr(name, good.read(name)[: -4 if "/data/" in name else None])
    with pytest.raises(UserError, match="short.pth: a tensor reaches outside its storage"):
        load(tmp_path / "short.pth")


def test_other_files_get_one_clear_line(published, tmp_path):
    _, weights = published
    state_dict = torch_state_dict(weights)
    torch.save(state_dict, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    torch.save(state_dict, tmp_path / "whole.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:-1000])
    save_file(weights, tmp_path / "whole.safetensors")
    cut = (tmp_path / "whole.safetensors").read_bytes()[:-1000]
    (tmp_path / "cut.safetensors").write_bytes(cut)
    (tmp_path / "weights.h5").touch()
    torch.save([1, 2], tmp_path / "list.pth")
    missing = {name: w for name, w in weights.items() if name != "blocks.1.mlp.2.bias"}
    np.savez(tmp_path / "missing.npz", **missing)
    np.savez(tmp_path / "more.npz", **weights, lm_head=np.ones(3))
    embedding = weights["vocab_embed.embedding"]
    for name, other in (
        ("rank", embedding.ravel()),
        ("nan", embedding * np.nan),
        ("text", np.full(embedding.shape, "a")),
    ):
        np.savez(tmp_path / f"{name}.npz", **{**weights, "vocab_embed.embedding": other})
    checkpoint = published_checkpoint(weights, shift=0.0)
    del checkpoint["ema"]["shadow_params"][3]
    torch.save(checkpoint, tmp_path / "ema.pth")
    messages = {
        "old.pth": "format of before 2020",
        "cut.pth": "truncated",
        "cut.safetensors": "cannot be read",
        "weights.h5": "weights come as one of",
        "nothing.npz": "no such file",
        "list.pth": "holds a list where a state dict belongs",
        "missing.npz": "missing.npz: the weights hold no blocks.1.mlp.2.bias",
        "more.npz": "more.npz: lm_head is no weight",
        "rank.npz": "vocab_embed.embedding has shape",
        "nan.npz": "vocab_embed.embedding holds values that are not finite",
        "text.npz": "vocab_embed.embedding holds no numbers",
        "ema.pth": "the EMA holds 29 arrays for 30 parameters",
    }
    for name, message in messages.items():
        with pytest.raises(UserError, match=message) as refusal:
            load(tmp_path / name)
        assert "\n" not in str(refusal.value)
