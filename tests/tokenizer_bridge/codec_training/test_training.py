"""Codec training: it learns, it is a function of the seed, and it goes on as if never stopped."""

import copy
import dataclasses
import functools
import json
import math

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from tests.tokenizer_bridge.tiny_codec import NETWORKS, write_yaml
from tokenizer_bridge.codec_training.config import CodecTrainingConfig
from tokenizer_bridge.codec_training.corpus import hold_out, load_int16
from tokenizer_bridge.codec_training.losses import MultiResolutionLoss
from tokenizer_bridge.codec_training.training import CodecTrainer
from tokenizer_bridge.jobs import train_codec as job
from tokenizer_bridge.sources import Track, folder
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import file_sha256
from tokenizer_bridge.token_dataset.locks import alone_in
from tokenizer_bridge.wavtokenizer.config import WavTokenizerConfig
from tokenizer_bridge.wavtokenizer.network import WavTokenizer
from tokenizer_bridge.wavtokenizer.quantizer import Codebook

TINY = WavTokenizerConfig.from_dict(NETWORKS)
SETTINGS = CodecTrainingConfig(
    steps=8, batch_size=2, crop_s=0.4, warmup_steps=1, continuous_steps=2, lloyd_steps=1
)


def music(seconds: float = 4.0, seed: int = 0) -> np.ndarray:
    """Notes of random pitch, int16."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * 24_000)) / 24_000
    pitch = 220 * 2 ** (rng.integers(0, 24, round(seconds * 4) + 1) / 12)
    audio = 0.4 * np.sin(2 * np.pi * pitch[(time_s * 4).astype(int)] * time_s)
    return (audio * 32767).astype(np.int16)


def trainer() -> CodecTrainer:
    return CodecTrainer(TINY, SETTINGS, [music(seed=0), music(seed=1)])


def same_weights(a: CodecTrainer, b: CodecTrainer) -> bool:
    pairs = zip(a.model.state_dict().values(), b.model.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


def test_a_stopped_run_ends_like_an_undisturbed_one(tmp_path):
    undisturbed, first_life = trainer(), trainer()
    for _ in range(6):
        undisturbed.train_step()
    for _ in range(4):  # past the start of the codebook
        first_life.train_step()
    assert not same_weights(undisturbed, first_life)
    first_life.save(tmp_path / "state.pt")
    second_life = trainer()
    second_life.restore(tmp_path / "state.pt")
    for _ in range(2):
        second_life.train_step()
    assert same_weights(undisturbed, second_life)


def test_a_state_of_other_settings_is_refused(tmp_path):
    run = trainer()
    run.save(tmp_path / "state.pt")
    other = CodecTrainer(TINY, dataclasses.replace(SETTINGS, batch_size=3), [music()])
    with pytest.raises(UserError, match="batch_size=2, not 3"):
        other.restore(tmp_path / "state.pt")
    whole = (tmp_path / "state.pt").read_bytes()
    (tmp_path / "state.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="state.pt: damaged"):
        run.restore(tmp_path / "state.pt")


def test_what_is_exported_is_the_average_of_the_weights():
    run = trainer()
    name, weight = next(iter(run.model.named_parameters()))
    own = [weight.detach().clone()]
    for _ in range(3):
        run.train_step()
        own.append(weight.detach().clone())
    average = own[0]
    for step, value in enumerate(own[1:], start=1):
        average = average.lerp(value, 1 - (1 + step) / (10 + step))
    kept = dict(run.average.named_parameters())[name]
    torch.testing.assert_close(kept, average)
    assert not torch.equal(kept, own[-1])
    assert torch.equal(run.average.quantizer.codebook.embed, run.model.quantizer.codebook.embed)


def test_minutes_decide_the_learning_rate_and_the_end():
    config = dataclasses.replace(SETTINGS, minutes=2.0, warmup_steps=1, learning_rate=1e-3)
    run = CodecTrainer(TINY, config, [music()])
    run.train_step()
    assert 0 < run.done < 1 and run.seconds > 0
    run.seconds = 60.0
    assert run.done == 0.5 and run.learning_rate(5) == pytest.approx(1e-3 * 0.505)
    run.seconds = 200.0
    assert run.done == 1 and run.learning_rate(5) == pytest.approx(1e-5)


def test_training_goes_on_from_a_codec():
    first = trainer()
    for _ in range(4):
        first.train_step()
    second = CodecTrainer(TINY, dataclasses.replace(SETTINGS, seed=5), [music()])
    second.start_from(first.average)
    assert torch.equal(second.model.backbone.embed.weight, first.average.backbone.embed.weight)
    assert second.train_step()["commitment"] > 0  # with codes from its first step
    other = WavTokenizer(dataclasses.replace(TINY, num_layers=2))
    with pytest.raises(ValueError, match="other sizes"):
        second.start_from(other)


def test_vectors_of_steady_sound_are_pulled_together_only():
    loss = MultiResolutionLoss(24_000)
    time_s = torch.arange(24_000) / 24_000
    steady = 0.3 * torch.sin(2 * torch.pi * 330 * time_s)
    stepped = torch.where(time_s < 0.5, steady, 0.3 * torch.sin(2 * torch.pi * 440 * time_s))
    steady_L, stepped_L = loss.steadiness(torch.stack([steady, stepped]), 320)[:, 5:-5]
    assert steady_L.min() > 0.95
    assert stepped_L.min() < 0.2 and stepped_L[:20].min() > 0.95


def test_the_level_term_is_the_logarithm_of_a_gain():
    loss = MultiResolutionLoss(24_000)
    target = 0.1 * torch.randn(2, 24_000, generator=torch.Generator().manual_seed(0))
    assert loss(target / 2, target).level == pytest.approx(math.log(2), abs=0.02)


def test_what_cannot_be_heard_costs_little():
    loss = MultiResolutionLoss(24_000)
    clean = torch.from_numpy(music() / np.float32(32768))[None]
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    faint, audible = (loss(clean + level * noise, clean).total for level in (1e-4, 1e-2))
    assert faint < 0.02 * audible


@pytest.fixture
def songs(tmp_path):
    for i in range(2):
        (tmp_path / "songs").mkdir(exist_ok=True)
        soundfile.write(tmp_path / f"songs/{i}.wav", music(1.0, i), 24_000)
    return tmp_path / "songs"


def train(run_command, songs, tmp_path, *more):
    if not (tmp_path / "codec.yaml").exists():
        write_yaml(tmp_path / "codec.yaml")
    return run_command(
        "tokenizer_bridge.train_codec", f"--audio={songs}", f"--output={tmp_path / 'run'}",
        f"--config={tmp_path / 'codec.yaml'}", "--steps=2", "--batch_size=1", "--crop_s=0.4",
        "--validate_every=1", *more,
    )  # fmt: skip


def test_a_refused_run_leaves_the_codec_as_it_was(songs, tmp_path, run_command):
    outcome = train(run_command, songs, tmp_path)
    assert outcome.code == 0, outcome.err
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    networks = copy.deepcopy(NETWORKS)
    networks["backbone"]["init_args"]["num_layers"] += 1
    write_yaml(tmp_path / "other.yaml", networks)
    for flag, text in (
        (f"--config={tmp_path / 'other.yaml'}", "was trained with num_layers="),
        ("--seed=-1", "seed"),
        ("--learning_rate=-1", "learning_rate"),
        ("--crop_s=nan", "--crop_s: nan: a finite number"),
        ("--crop_s=3", "\nerror: "),  # on a line of its own, after the progress bar
    ):
        outcome = train(run_command, songs, tmp_path, flag)
        assert outcome.code == 1 and text in outcome.err and "Traceback" not in outcome.err
        assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_two_trainings_in_one_folder_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(job, "alone_in", functools.partial(alone_in, patience_s=0.0))
    with alone_in(tmp_path / "run", ""):
        with pytest.raises(UserError, match="run: another process is training there; stop it or"):
            job.train_codec([], tmp_path / "run", SETTINGS)
        assert not any((tmp_path / "run").iterdir())


def test_a_log_that_a_kill_cut_short_is_gone_on_with(songs, tmp_path, run_command):
    assert train(run_command, songs, tmp_path).code == 0
    log = tmp_path / "run/log.jsonl"
    rows = log.read_text().splitlines()
    log.write_text(rows[0] + "\n" + rows[1][:20])
    outcome = train(run_command, songs, tmp_path, "--steps=3")
    assert outcome.code == 0, outcome.err
    assert [json.loads(row)["step"] for row in log.read_text().splitlines()] == [1, 3]


def test_init_from_takes_over_a_codec_and_its_sizes(songs, tmp_path, run_command):
    assert train(run_command, songs, tmp_path).code == 0
    first = tmp_path / "run"
    networks = copy.deepcopy(NETWORKS)
    networks["backbone"]["init_args"]["num_layers"] += 1
    write_yaml(tmp_path / "other.yaml", networks)
    more = (f"--init_from={first}", f"--output={tmp_path / 'more'}", "--learning_rate=0")
    outcome = train(run_command, songs, tmp_path, f"--config={tmp_path / 'other.yaml'}", *more)
    assert outcome.code == 1 and f"--init_from={first} has other sizes" in outcome.err
    outcome = train(run_command, songs, tmp_path, *more)
    assert outcome.code == 0, outcome.err
    before, after = (load_file(run / "model.safetensors") for run in (first, tmp_path / "more"))
    torch.testing.assert_close(
        after["backbone.embed.weight"], before["backbone.embed.weight"], atol=1e-3, rtol=1e-3
    )
    outcome = train(run_command, songs, tmp_path, "--init_from=nothing")
    assert outcome.code == 1 and "nothing: no such codec" in outcome.err


def test_minutes_end_a_run(songs, tmp_path, run_command):
    outcome = train(run_command, songs, tmp_path, "--minutes=0.0001")
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "run/model.safetensors").exists()
    outcome = train(run_command, songs, tmp_path, "--minutes=0")
    assert outcome.code == 1 and "--minutes=0" in outcome.err and "Traceback" not in outcome.err


def test_a_run_that_blows_up_says_so(songs, tmp_path, run_command):
    outcome = train(run_command, songs, tmp_path, "--learning_rate=1e30")
    assert outcome.code == 1 and "Traceback" not in outcome.err
    assert "try a lower --learning_rate" in outcome.err


def test_the_encoder_starts_with_outputs_of_unit_variance():
    run = trainer()
    with torch.no_grad():
        z = run.model.encoder_output(run.batch(0, 4 * SETTINGS.batch_size))
    assert z.std(dim=(0, 2)).mean() == pytest.approx(1, abs=0.01)
    assert z.mean(dim=(0, 2)).abs().max() < 0.01


def test_loss_is_zero_for_itself_and_grows_with_damage():
    loss = MultiResolutionLoss(24_000)
    clean = torch.from_numpy(music() / np.float32(32768))[None]
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    totals = [loss(clean + level * noise, clean).total.item() for level in (0.0, 0.01, 0.1)]
    assert totals[0] == 0
    assert totals[0] < totals[1] < totals[2]


def test_a_near_silent_clip_does_not_outweigh_the_batch():
    loss = MultiResolutionLoss(24_000)
    clip = torch.from_numpy(music() / np.float32(32768))
    target = torch.stack([clip, 1e-6 * clip])
    off = loss(target + 1e-3 * torch.ones_like(target).cumsum(1).sin(), target)
    assert off.convergence < 0.5


def test_codebook_follows_its_rows_and_moves_dead_codes():
    generator = torch.Generator().manual_seed(0)
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])
    rows = centres.repeat(50, 1) + 0.1 * torch.randn(200, 2, generator=generator)
    codebook = Codebook(4, 2)
    codebook.initialise(rows, lloyd_steps=0, generator=generator)
    codebook.embed[:] = torch.tensor([[1.0, 0.0], [9.0, 0.0], [0.0, 11.0], [99.0, 99.0]])
    codebook.embed_avg.copy_(codebook.embed)
    moved = 0
    for _ in range(200):
        codes = codebook.nearest(rows)
        moved += codebook.update(rows, codes, 0.9, 0.05, generator)
    assert moved > 0
    assert torch.cdist(codebook.embed[:1], centres[:1]) < 0.5  # followed the mean of its rows
    assert torch.cdist(codebook.embed[3:], rows).min() < 0.5  # no longer far from everything
    assert set(codebook.nearest(rows).tolist()) == {0, 1, 2, 3}


def test_held_out_tracks_do_not_depend_on_the_others(tmp_path):
    for i in range(6):
        soundfile.write(tmp_path / f"{i}.wav", music(seed=i), 24_000)
    tracks = folder.tracks(tmp_path)
    train, held = hold_out(tracks, 0.3)
    assert len(held) == 2 and not {t.id for t in train} & {t.id for t in held}
    fewer = [t for t in tracks if t.id != train[0].id]
    assert hold_out(fewer, 0.4)[1] == held
    with pytest.raises(UserError, match="at least two tracks"):
        hold_out(tracks[:1], 0.3)


def test_renderings_of_one_tune_stay_on_one_side(tmp_path):
    tracks = [Track(str(i), tmp_path, artist=f"tune {i // 3}") for i in range(30)]
    train, held = hold_out(tracks, 0.2)
    assert len(held) == 6 and not {t.artist for t in train} & {t.artist for t in held}
    one_artist = [dataclasses.replace(track, artist="somebody") for track in tracks]
    train, held = hold_out(one_artist, 0.2)
    assert len(held) == 6 and len(train) == 24


def test_splits_of_the_source_say_what_is_held_out(tmp_path):
    tracks = [
        Track(str(i), tmp_path, split=split)
        for i, split in enumerate(("train", "validation", "test", "train"))
    ]
    train, held = hold_out(tracks, 0.5)
    assert [t.id for t in train] == ["0", "3"] and [t.id for t in held] == ["1"]
    with pytest.raises(UserError, match="needs tracks of the splits train and validation"):
        hold_out(tracks[1:3], 0.5)


def test_a_track_that_is_not_the_published_one_is_named(tmp_path):
    soundfile.write(tmp_path / "x.wav", music(2.0), 24_000)
    track = Track("x", tmp_path / "x.wav", sha256=file_sha256(tmp_path / "x.wav"))
    assert len(load_int16(track, 24_000, min_seconds=1.0)) == 48_000
    with pytest.raises(UserError, match=r"x\.wav: its SHA-256 is not the published one"):
        load_int16(dataclasses.replace(track, sha256="ab" * 32), 24_000, min_seconds=1.0)


def test_a_track_that_is_too_short_is_named(tmp_path):
    soundfile.write(tmp_path / "short.wav", music(0.5), 24_000)
    with pytest.raises(UserError, match=r"short\.wav: shorter than 1 s"):
        load_int16(folder.tracks(tmp_path)[0], 24_000, min_seconds=1.0)
