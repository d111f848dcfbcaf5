"""The spectral encoder and the oscillator head: steady sound gives steady codes and the reverse."""

import math

import pytest
import torch

from tests.tokenizer_bridge.tiny_codec import NETWORKS
from tokenizer_bridge.audio.windows import Windowing
from tokenizer_bridge.codec_training import metrics
from tokenizer_bridge.decoding import decode_pieces
from tokenizer_bridge.wavtokenizer.config import WavTokenizerConfig
from tokenizer_bridge.wavtokenizer.network import WavTokenizer
from tokenizer_bridge.wavtokenizer.oscillators import (
    LOWEST_HZ,
    PER_OCTAVE,
    FilteredNoise,
    OscillatorBank,
    OscillatorHead,
)
from tokenizer_bridge.wavtokenizer.registry import load_codec
from tokenizer_bridge.wavtokenizer.spectral import SpectralEncoder

RATE = 24_000
HOP, SUBFRAMES = 320, 4
FIRST = torch.zeros(1, dtype=torch.long)
CONFIG = WavTokenizerConfig(
    strides=(8, 5, 4, 2), dimension=8, codebook_size=16, backbone_dim=24, intermediate_dim=32,
    num_layers=2, adanorm_num_embeddings=None, encoder="spectral", backbone="local",
    head="oscillators", encoder_dim=24, encoder_layers=1, num_oscillators=480, noise_bands=8,
)  # fmt: skip


@pytest.fixture(scope="module")
def codec() -> WavTokenizer:
    torch.manual_seed(0)
    codec = WavTokenizer(CONFIG).eval()
    with torch.no_grad():
        codec.quantizer.codebook.embed.normal_()
        codec.head.change.weight.normal_(std=0.1)
    return codec


def codes(length: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(16, (1, length), generator=torch.Generator().manual_seed(seed))


def test_lengths(codec):
    for samples in (1, 319, 320, 321, 5000):
        audio_BxT = 0.1 * torch.randn(2, samples, generator=torch.Generator().manual_seed(0))
        found = codec.encode(audio_BxT)
        assert found.shape == (2, -(-samples // HOP))
        assert codec.decode(found).shape == (2, found.shape[1] * HOP)


@torch.inference_mode()
def test_a_window_decodes_as_the_whole_does(codec):
    codes_BxL = codes(120)
    whole_T = codec.decode(codes_BxL)[0]
    window_T = codec.decode(codes_BxL[:, 40:100], torch.tensor([40]))[0]
    reach = (codec.backbone.reach + 2) * HOP
    inner = slice(40 * HOP + reach, 100 * HOP - reach)
    torch.testing.assert_close(whole_T[inner], window_T[reach:-reach], atol=1e-5, rtol=0)
    elsewhere_T = codec.decode(codes_BxL[:, 40:100])[0]  # as if it stood at the start
    assert (whole_T[inner] - elsewhere_T[reach:-reach]).abs().max() > 0.1 * whole_T.std()


@torch.inference_mode()
def test_long_pieces_join_without_a_jump_of_phase(codec):
    codes_BxL = codes(160)
    windowing = Windowing(length=60, overlap=30)
    ((_, joined_T),) = decode_pieces(codec, [("piece", codes_BxL[0].numpy())], windowing, 4)
    whole_T = codec.decode(codes_BxL)[0]
    error = (torch.from_numpy(joined_T) - whole_T).norm() / whole_T.norm()
    assert error < 0.02  # what windows lack is context near their ends


@torch.inference_mode()
def test_rows_of_a_batch_may_start_anywhere(codec):
    codes_BxL = codes(30).repeat(2, 1)
    starts_B = torch.tensor([7, 50_000_000])  # after a week of music
    both_BxT = codec.decode(codes_BxL, starts_B)
    for audio_T, codes_L, start in zip(both_BxT, codes_BxL, starts_B, strict=True):
        alone_T = codec.decode(codes_L[None], start[None])[0]
        torch.testing.assert_close(audio_T, alone_T, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_an_oscillator_sounds_its_note_at_any_time():
    bank = OscillatorBank(480, RATE, HOP // SUBFRAMES)
    note = 2 * PER_OCTAVE + 70  # 330 Hz, far off every multiple of 75 Hz
    amplitude_BxMxK = torch.zeros(1, 800, 480)
    amplitude_BxMxK[..., note] = 0.5
    late = torch.tensor([3_600 * 75 * SUBFRAMES])
    audio_T = bank(amplitude_BxMxK, late)[0]
    hertz = LOWEST_HZ * 2 ** (note / PER_OCTAVE)
    n = torch.arange(len(audio_T), dtype=torch.float64) + late * (HOP // SUBFRAMES)
    angle_T = 2 * math.pi * (hertz / RATE * n + bank.phase[note])
    inner = slice(HOP, -HOP)
    expected_T = 0.5 * torch.cos(angle_T).float()
    torch.testing.assert_close(audio_T[inner], expected_T[inner], atol=1e-4, rtol=0)


@torch.inference_mode()
def test_constant_features_give_constant_amplitudes():
    torch.manual_seed(0)
    head = OscillatorHead(24, RATE, HOP, SUBFRAMES, 480, 8)
    head.change.weight.normal_()
    head.block.gamma.normal_()
    x_BxLxD = torch.randn(1, 1, 24).expand(1, 20, 24)
    amplitudes_MxK = head.amplitudes(x_BxLxD)[0]
    assert amplitudes_MxK.std(1).min() > 0.01  # of oscillators among each other
    torch.testing.assert_close(amplitudes_MxK, amplitudes_MxK[:1].expand(80, -1))
    changing = head.amplitudes(torch.randn(1, 20, 24))[0]
    assert changing.unflatten(0, (20, 4)).std(1).mean() > 0.1  # within a code


@torch.inference_mode()
def test_noise_has_the_magnitudes_asked_for():
    noise = FilteredNoise(12, RATE, HOP // SUBFRAMES)
    flat_T = noise(torch.zeros(1, 2000, 12), FIRST)[0]
    assert flat_T.std() == pytest.approx(1, abs=0.05)
    low_T = noise(torch.tensor([0.0] * 6 + [-9.0] * 6).expand(1, 2000, 12), FIRST)[0]
    power = torch.fft.rfft(low_T).abs().square()
    assert power[: len(power) // 4].sum() > 100 * power[len(power) // 2 :].sum()
    shifted_T = noise(torch.zeros(1, 1000, 12), torch.tensor([500]))[0]
    start = 500 * HOP // SUBFRAMES
    torch.testing.assert_close(
        shifted_T[HOP:-HOP], flat_T[start + HOP : start + len(shifted_T) - HOP], atol=1e-5, rtol=0
    )


@torch.inference_mode()
def test_the_encoder_hears_no_phase():
    """A tone's vectors stay the same from code to code; the waveform encoder's do not."""
    torch.manual_seed(0)
    spectral = SpectralEncoder(8, RATE, HOP, SUBFRAMES, 24, 1)
    time_s = torch.arange(2 * RATE) / RATE
    tone = 0.3 * torch.sin(2 * math.pi * 317.3 * time_s)[None, None]
    other = 0.3 * torch.sin(2 * math.pi * 634.6 * time_s)[None, None]
    z_CxL, other_CxL = spectral(tone)[0, :, 30:-30], spectral(other)[0, :, 30:-30]
    change = z_CxL.diff(dim=1).norm(dim=0).max()
    assert change < 0.1 * (z_CxL - other_CxL).norm(dim=0).mean()


def test_every_parameter_is_trained(codec):
    audio_BxT = 0.1 * torch.randn(1, 16_000, generator=torch.Generator().manual_seed(0))
    codec.synthesise(codec.encoder_output(audio_BxT)).square().sum().backward()
    for name, parameter in codec.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_sizes_that_do_not_fit_are_told():
    networks = {key: {"init_args": dict(NETWORKS[key]["init_args"])} for key in NETWORKS}
    networks["head"]["init_args"] |= {"kind": "oscillators", "subframes": 3}
    with pytest.raises(ValueError, match="hop 8 is no multiple of twice the subframes 3"):
        WavTokenizerConfig.from_dict(networks)
    networks["head"]["init_args"] |= {"kind": "organ"}
    with pytest.raises(ValueError, match="head is 'organ'; known: istft, oscillators"):
        WavTokenizerConfig.from_dict(networks)


@torch.inference_mode()
def test_the_embedded_codec_keeps_a_melody_in_tune():
    """A scale of plucked notes, none near a multiple of the code rate; `demo` has 0.0 and 11 dB."""
    time_s = torch.arange(RATE // 2) / RATE
    notes = []
    for semitones in (0, 2, 4, 5, 7, 9, 11, 12):
        hertz = 261.63 * 2 ** (semitones / 12)
        partials = [
            0.15 / k * torch.sin(2 * math.pi * k * hertz * time_s) * torch.exp(-3 * time_s * k**0.5)
            for k in range(1, 7)
        ]
        notes.append(sum(partials))
    melody_T = torch.cat(notes)
    codec, _ = load_codec("demo-scores")
    decoded_T = codec.decode(codec.encode(melody_T[None]))[0, : len(melody_T)]
    assert metrics.chroma_correlation(melody_T, decoded_T, RATE) > 0.9
    assert metrics.tuned_share(melody_T, decoded_T, RATE) > 0.7
    assert metrics.onset_correlation(melody_T, decoded_T, RATE) > 0.9
    assert metrics.modulation_excess(melody_T, decoded_T, RATE, codec.config.token_rate) < 1
