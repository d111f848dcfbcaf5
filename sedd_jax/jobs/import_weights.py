"""Importing: weights of the published PyTorch network become a run, and what they are is said."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from sedd_jax.weights import published_config, torch_run, torch_weights
from tokenizer_bridge.token_dataset.command import naming


def import_weights(
    source: str | Path,
    workdir: str | Path,
    config: ConfigDict,
    *,
    overrides: Mapping[str, Any] | None = None,
    config_is_told: bool = False,
    codec: str | None = None,
    tokens: str | Path | None = None,
    use_ema: bool = True,
) -> None:
    """Makes a run of published weights, and prints what it is made of.

    Args:
      source: file or folder of the weights, or user/name on the hub.
      workdir: of the run to make.
      config: what stands for the keys that are neither published nor in `overrides`.
      overrides: dotted key → value, which come before what is published.
      config_is_told: whether `config` is of these weights, and no default.
      codec: name of the model's codec.
      tokens: path of a dataset of it.
      use_ema: whether to take the EMA weights where there are any.

    Raises UserError, before anything is written.
    """
    torch_run.check_output(workdir)  # this and the codec before gigabytes are fetched or read
    of_codec = torch_run.find_codec(codec, tokens)
    file, config_file = torch_run.locate(source)
    published = published_config.read(config_file) if config_file else None
    weights = torch_weights.load(file)
    if not use_ema:
        weights = dataclasses.replace(weights, ema_params=None)
    told = {**(overrides or {}), "data.path": str(Path(tokens).absolute()) if tokens else ""}
    if not config_is_told:
        torch_run.require_told(file, published, told)
    config, num_codes = torch_run.complete_config(weights, published, config, told)
    with naming(str(file)):
        config = torch_run.write(weights, config, num_codes, of_codec, workdir)

    which = "weights" if weights.ema_params is None else "EMA weights"
    print(f"{workdir}: {which} of step {weights.step:,} from {file}")
    model = config.model
    print(
        f"as {config_file or 'the config'} says: {model.num_heads} heads, length {model.length}, "
        f"{config.graph.type} graph, {config.noise.type} noise"
    )
    if published and published.length_is_aidds and "model.length" not in told:
        print(f"{config_file} leaves the length out: {model.length} is that of AIDD's program")
    if of_codec is None:
        print("no codec is named: what is sampled cannot be decoded, nor the model evaluated")
    if config.graph.num_codes:
        print(
            f"the codec's code {config.graph.num_codes} is none of the model's, which has its mask "
            "there: it is never sampled, and unknown where tokens have it"
        )
