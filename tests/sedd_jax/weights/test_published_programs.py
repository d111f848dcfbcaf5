"""Weights that go to a published program and come from one: both compute what we do."""

import json
import zlib

import jax
import numpy as np
import pytest
import torch
import yaml

from configs import music_small
from sedd_jax.conditions import UNCONDITIONAL
from sedd_jax.model import load_run
from sedd_jax.weights import exported, published_config, torch_run, torch_weights
from tests import reference_forward
from tests.reference_rows import Reference
from tests.sedd_jax.network.small import REFERENCE
from tokenizer_bridge.token_dataset import codecs

MUSIC = "wavtokenizer-medium-music-75"


@pytest.fixture(scope="module")
def aidd() -> Reference:
    return Reference(REFERENCE / "aidd.npz")


@pytest.fixture(scope="module")
def aidd_folder(aidd, tmp_path_factory):
    """A folder as AIDD is published: other weights beside those of the EMA, which are compared."""
    folder = tmp_path_factory.mktemp("aidd")
    ema = [torch.from_numpy(w) for w in reference_forward.weights(aidd).values()]
    raw = reference_forward.weights(aidd, "aidd raw:")
    model = {name: torch.from_numpy(w) for name, w in raw.items()}
    model["rotary_emb.inv_freq"] = torch.ones(12)
    optimizer = torch.optim.AdamW([torch.nn.Parameter(w) for w in ema]).state_dict()
    ema = {"decay": 0.9999, "num_updates": 0, "shadow_params": ema}
    content = {"optimizer": optimizer, "model": model, "ema": ema, "step": 1000}
    torch.save(content, folder / "checkpoint.pth")
    (folder / "config.yaml").write_text(yaml.safe_dump(aidd.config))
    return folder


def import_folder(folder, workdir, codec):
    file, config_file = torch_run.locate(folder)
    weights = torch_weights.load(file)
    published = published_config.read(config_file)
    default = music_small.get_config()
    config, num_codes = torch_run.complete_config(weights, published, default, {})
    return torch_run.write(weights, config, num_codes, codecs.describe(codec), workdir)


def test_the_published_aidd_computes_what_our_import_of_it_does(aidd, aidd_folder, tmp_path):
    import_folder(aidd_folder, tmp_path / "run", MUSIC)
    run, params, step = load_run(tmp_path / "run")
    assert (step, run.config.model.length, run.config.model.num_heads) == (1000, 300, 4)
    assert (run.codec["codebook_size"], run.graph.num_codes, run.graph.mask_id) == (
        4096,
        4095,
        4095,
    )
    ours = jax.jit(run.log_score)(params, aidd["forward/x"], aidd["forward/sigma"])
    assert reference_forward.row(aidd, ours).ok
    sigma_B, _ = run.noise(aidd["forward/t"])
    np.testing.assert_allclose(sigma_B, aidd["forward/sigma"], rtol=1e-6)


def test_the_published_sedd_computes_what_the_model_does_that_it_was_given(tmp_path):
    """The file is bit for bit the one that it loaded, and so is the config."""
    reference = Reference(REFERENCE / "sedd_exported.npz")
    run, params = reference_forward.make_run(reference)
    model = exported.Exported(run.config, codecs.describe(MUSIC), UNCONDITIONAL, params, 7)
    exported.write(tmp_path / "out", model, "float32", "")
    assert yaml.safe_load((tmp_path / "out/config.yaml").read_text()) == reference.config

    stored = exported.torch_files.read(tmp_path / "out/model.safetensors")
    shapes = json.loads(str(reference["state_dict"]))
    shapes.pop("rotary_emb.inv_freq")
    assert {name: [*array.shape] for name, array in stored.items()} == shapes
    crc32 = 0
    for name in shapes:
        crc32 = zlib.crc32(stored[name].tobytes(), crc32)
    assert crc32 == int(reference["crc32"])

    definition, params, _ = exported.load(tmp_path / "out")
    ours = jax.jit(definition.log_score)(params, reference["forward/x"], reference["forward/sigma"])
    assert reference_forward.row(reference, ours).ok
