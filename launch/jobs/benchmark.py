"""The parts of the benchmark. Each loads what it measures alone, since memory is measured too."""

import dataclasses
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings of a benchmark.

    config: the model's; repeats: timed repetitions; codebook_size: without the mask; codec: its
    name ("full-size" is the published one's size); clip_s: seconds of a clip; tracks: of the data
    that is read; readers: processes that read it at once.
    """

    config: ConfigDict
    repeats: int = 7
    codebook_size: int = 4096
    codec: str = "demo"
    clip_s: float = 10.0
    tracks: int = 512
    readers: int = 1


def measure(part: str, settings: Settings) -> dict[str, float]:
    """Figures of a part of PARTS, with the peak memory of this process."""
    parts = (train, sample, tags, codec, data, bucket, embeddings)
    figures = {function.__name__: function for function in parts}[part](settings)
    figures["peak memory, GB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return figures


def median_seconds(settings: Settings, run: Callable[[], object]) -> float:
    """Median duration of a call, after one that is not counted."""
    run()
    seconds = []
    for _ in range(settings.repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def build_run(settings: Settings):
    from sedd_jax import config as config_lib
    from sedd_jax.model import build

    config_lib.check(settings.config)
    codec = {"name": "benchmark", "codebook_size": settings.codebook_size}
    return build(settings.config, codec)


def matmul_rate(settings: Settings) -> float:
    """FLOP/s of a large matrix product on one device, in the dtype that training computes in."""
    import jax
    import jax.numpy as jnp

    run = build_run(settings)
    size = 2048
    a = jnp.ones((size, size), run.network.compute_dtype)
    product = jax.jit(lambda a, b: a @ b)
    seconds = median_seconds(settings, lambda: product(a, a).block_until_ready())
    return 2 * size**3 / seconds * run.mesh.devices.size


def train(settings: Settings) -> dict[str, float]:
    """The training step that sedd_jax.train runs, on random tokens."""
    import jax

    from sedd_jax.monitoring.metrics import train_flops_per_token
    from sedd_jax.parallel import mesh as mesh_lib
    from sedd_jax.training.step import jit_train_step

    run = build_run(settings)
    training = run.config.training
    mesh_lib.check_batch(run.mesh, training.batch_size, training.accumulation)
    shape = (training.batch_size, run.config.model.length)
    tokens = np.random.default_rng(0).integers(settings.codebook_size, size=shape, dtype=np.int32)
    batch = jax.device_put(tokens, mesh_lib.batch_sharding(run.mesh))
    step, state = jit_train_step(run), run.fresh_state()

    def one_step():
        nonlocal state
        state, metrics = step(state, batch)
        jax.block_until_ready(metrics)

    seconds = median_seconds(settings, one_step)
    num_tokens = shape[0] * shape[1]
    flops = train_flops_per_token(run.network) * num_tokens
    peak = matmul_rate(settings)
    return {
        "seconds a step": seconds,
        "tokens/s": num_tokens / seconds,
        "model GFLOP/s": flops / seconds / 1e9,
        "measured matmul GFLOP/s": peak / 1e9,
        "share of the matmul rate": flops / seconds / peak,
    }


def sample(settings: Settings) -> dict[str, float]:
    """A sampler step as sedd_jax.sample does it, and the network's evaluations in it by themselves.

    Raises UserError for an autoregressive model.
    """
    import jax

    from sedd_jax.parallel import mesh as mesh_lib
    from sedd_jax.sampling.generate import make_programs, sample_keys
    from sedd_jax.sampling.settings import settle, traits_of

    run = build_run(settings)
    run.require_diffusion("the benchmark of a sampler")
    sampling = settle(run, seed=0)
    batch_size = mesh_lib.divisible(run.mesh, run.config.sampling.batch_size)
    params = run.fresh_state().ema_params
    programs = make_programs(run, sampling.sampler, sampling.steps, sampling.length)
    key_B = sample_keys(run, 0, np.arange(batch_size))
    x_BxL = programs.start(key_B)
    sigma_B = run.noise(jax.numpy.ones(batch_size)).sigma
    network = jax.jit(run.log_score)

    def one_evaluation():
        network(params, x_BxL, sigma_B).block_until_ready()

    evaluations = traits_of(sampling.sampler).evaluations
    network_s = evaluations * median_seconds(settings, one_evaluation)

    def one_step():
        nonlocal x_BxL
        x_BxL, _ = programs.advance(params, key_B, x_BxL, np.int32(0), 1)
        x_BxL.block_until_ready()

    step_s = median_seconds(settings, one_step)
    return {
        "seconds a step": step_s,
        "network evaluations a step": evaluations,
        "seconds of it in the network": network_s,
        "share outside the network": max(0.0, 1 - network_s / step_s),
        "tokens/s per network evaluation": evaluations * batch_size * sampling.length / step_s,
    }


def tags(settings: Settings) -> dict[str, float]:
    """Ratios: the cost of tags to a training step, and of guidance to a sampler step."""
    from launch import benchmark_tags

    codec = {"name": "benchmark", "codebook_size": settings.codebook_size}
    return benchmark_tags.tags(settings.config, codec, settings.repeats)


def codec(settings: Settings) -> dict[str, float]:
    """Encoding and decoding, in seconds of audio per second: one clip, then four at a time."""
    import torch

    from tokenizer_bridge.wavtokenizer.config import WavTokenizerConfig
    from tokenizer_bridge.wavtokenizer.network import WavTokenizer
    from tokenizer_bridge.wavtokenizer.registry import load_codec

    if settings.codec == "full-size":
        network = WavTokenizer(WavTokenizerConfig()).eval()
    else:
        network, _ = load_codec(settings.codec)
    rate = network.config.sample_rate
    figures = {}
    for clips in (1, 4):
        audio = 0.1 * torch.randn(clips, round(settings.clip_s * rate))
        with torch.inference_mode():
            codes = network.encode(audio)
            encode_s = median_seconds(settings, partial(network.encode, audio))
            decode_s = median_seconds(settings, partial(network.decode, codes))
        seconds_of_audio = clips * settings.clip_s
        figures[f"encode, {clips} at a time, × real time"] = seconds_of_audio / encode_s
        figures[f"decode, {clips} at a time, × real time"] = seconds_of_audio / decode_s
    return figures


def data(settings: Settings) -> dict[str, float]:
    """Reading, windowing and batching."""
    from launch import benchmark_data

    return benchmark_data.data(
        settings.config,
        settings.codebook_size,
        settings.repeats,
        settings.tracks,
        settings.readers,
    )


def bucket(settings: Settings) -> dict[str, float]:
    """Steps of training on data in a bucket whose every request takes 50 ms longer."""
    from launch import benchmark_data

    return benchmark_data.bucket(settings.config, settings.codebook_size, settings.repeats)


def embeddings(settings: Settings) -> dict[str, float]:
    """Clips of 44.1 kHz FLAC files to vectors, without a cache, in seconds of audio per second.

    Files are read, hashed and resampled as for a report; all cores work.
    """
    import soundfile

    from tokenizer_bridge.fad.choices import EMBEDDINGS
    from tokenizer_bridge.fad.clips import plan_clips, read_clip
    from tokenizer_bridge.fad.embed import embed
    from tokenizer_bridge.fad.embeddings import untrained_embedding
    from tokenizer_bridge.sources import Track

    count, rate = 8, 44_100
    rng = np.random.default_rng(0)
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        tracks = [Track(f"{i}", Path(folder) / f"{i}.flac") for i in range(count)]
        for track in tracks:
            noise = 0.1 * rng.standard_normal((round(2 * settings.clip_s * rate), 2))
            soundfile.write(track.path, noise, rate)
        clips, _ = plan_clips(tracks, settings.clip_s)
        seconds_of_audio = count * settings.clip_s
        seconds = median_seconds(settings, lambda: [read_clip(clip, 16_000) for clip in clips])
        figures["reading alone, one core, × real time"] = seconds_of_audio / seconds

        def embed_all(embedding):
            return list(embed(embedding, clips))

        for name in EMBEDDINGS:
            seconds = median_seconds(settings, partial(embed_all, untrained_embedding(name)))
            figures[f"{name}, × real time"] = seconds_of_audio / seconds
    return figures
