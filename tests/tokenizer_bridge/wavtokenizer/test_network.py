"""WavTokenizer at toy size: lengths, batches, and each part against an independent computation.

Equality with the published program at full size is shown by tests/test_reference_check.py.
"""

import copy

import pytest
import torch
import torch.nn.functional as F
import yaml

from tests.tokenizer_bridge.tiny_codec import NETWORKS, make_codec, write_yaml
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.wavtokenizer.config import WavTokenizerConfig
from tokenizer_bridge.wavtokenizer.seanet import ResidualLSTM, WeightNormConv1d, reflect_pad
from tokenizer_bridge.wavtokenizer.vocos import InverseSTFT

HOP = 8  # of the toy


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("num_samples", [1, 7, 8, 9, 160, 163])
def test_lengths(num_samples):
    """Every started hop of audio is a code, and every code a hop of audio."""
    codec = make_codec()
    codes_BxL = codec.encode(noise(2, num_samples))
    assert codes_BxL.shape == (2, -(-num_samples // HOP))
    assert codes_BxL.dtype == torch.int64
    assert codec.decode(codes_BxL).shape == (2, codes_BxL.shape[1] * HOP)


def test_a_batch_is_its_clips(codec):
    audio_BxT = 0.1 * noise(3, 240)
    codes_BxL = codec.encode(audio_BxT)
    out_BxT = codec.decode(codes_BxL)
    assert len(codes_BxL.unique()) > 4
    for audio_T, codes_L, out_T in zip(audio_BxT, codes_BxL, out_BxT, strict=True):
        assert torch.equal(codec.encode(audio_T[None])[0], codes_L)
        torch.testing.assert_close(codec.decode(codes_L[None])[0], out_T)


def test_codes_are_the_nearest_vectors(codec):
    audio_BxT = 0.1 * noise(1, 400)
    z_CxL = codec.encoder_output(audio_BxT)[0]
    distance_LxN = torch.cdist(z_CxL.T.double(), codec.quantizer.codebook.embed.double())
    assert torch.equal(codec.encode(audio_BxT)[0], distance_LxN.argmin(1))
    vectors_CxL = codec.quantizer.decode(codec.encode(audio_BxT))[0]
    torch.testing.assert_close(
        (vectors_CxL - z_CxL).norm(dim=0), distance_LxN.min(1).values.float()
    )


def test_evaluation_is_deterministic_and_training_drops_out():
    codec = make_codec()
    codes = torch.arange(16)[None]
    assert torch.equal(codec.decode(codes), codec.decode(codes))
    codec.train()
    assert not torch.equal(codec.decode(codes), codec.decode(codes))


def test_every_parameter_is_trained():
    """Gradients reach the encoder and the decoder, but for the classes that are never chosen."""
    codec = make_codec().train()
    codec.synthesise(codec.encoder_output(noise(1, 160))).square().sum().backward()
    for name, parameter in codec.named_parameters():
        is_sign = name.endswith("weight_v") and parameter[0].numel() == 1  # a direction on a line
        assert is_sign or parameter.grad.abs().sum() > 0, name


def test_weight_norm_is_torchs():
    conv = WeightNormConv1d(3, 5, kernel=4, stride=2)
    torch.nn.init.uniform_(conv.weight_g, 0.5, 2.0)
    direction = conv.weight_v / conv.weight_v.flatten(1).norm(dim=1)[:, None, None]
    x = noise(2, 3, 20)
    torch.testing.assert_close(conv(x), F.conv1d(x, conv.weight_g * direction, conv.bias, 2))


def test_reflection_of_signals_longer_and_shorter_than_the_pad():
    x = torch.tensor([[[1.0, 2.0, 3.0]]])
    assert reflect_pad(x, 2, 1)[0, 0].tolist() == [3, 2, 1, 2, 3, 2]
    # Two zeros make it long enough to reflect; the padded result ends where it would have.
    assert reflect_pad(x[..., :1], 2, 2)[0, 0].tolist() == [0, 0, 1, 0, 0]


def test_lstm_skips():
    layer = ResidualLSTM(4, num_layers=2)
    torch.nn.init.zeros_(layer.lstm.weight_ih_l1)
    torch.nn.init.zeros_(layer.lstm.weight_hh_l1)
    torch.nn.init.zeros_(layer.lstm.bias_ih_l1)
    torch.nn.init.zeros_(layer.lstm.bias_hh_l1)
    x = noise(2, 4, 6)
    assert torch.equal(layer(x), x)  # the last layer puts out zero


@pytest.mark.parametrize("num_frames", [1, 3, 40])
@pytest.mark.parametrize("n_fft, hop", [(32, 8), (24, 6), (30, 8)])
def test_inverse_stft_overlaps_and_adds(n_fft, hop, num_frames):
    """Against adding windowed frames one by one; L frames give L·hop samples."""
    spectrum_BxLxF = torch.fft.rfft(noise(2, num_frames, n_fft), dim=-1)
    window = torch.hann_window(n_fft)
    total = torch.zeros(2, (num_frames - 1) * hop + n_fft)
    weight = torch.zeros_like(total)
    for i, frame_BxF in enumerate(spectrum_BxLxF.unbind(1)):
        here = slice(i * hop, i * hop + n_fft)
        total[:, here] += torch.fft.irfft(frame_BxF, n_fft) * window
        weight[:, here] += window.square()
    trim = (n_fft - hop) // 2
    expected = (total / weight)[:, trim : trim + num_frames * hop]
    torch.testing.assert_close(InverseSTFT(n_fft, hop)(spectrum_BxLxF), expected)


def test_a_backbone_without_classes_has_plain_layer_norms():
    networks = copy.deepcopy(NETWORKS)
    del networks["backbone"]["init_args"]["adanorm_num_embeddings"]
    names = type(make_codec())(WavTokenizerConfig.from_dict(networks)).state_dict()
    assert "backbone.norm.scale.weight" in make_codec().state_dict()
    assert "backbone.norm.weight" in names and "backbone.norm.scale.weight" not in names


def test_yaml_is_read_as_published_and_as_bare_networks(tmp_path):
    config = WavTokenizerConfig.from_dict(NETWORKS)
    assert (config.hop_length, config.token_rate, config.codebook_size) == (HOP, 3000, 16)
    assert WavTokenizerConfig.from_yaml(write_yaml(tmp_path / "x.yaml")) == config
    (tmp_path / "bare.yaml").write_text(yaml.safe_dump(NETWORKS))
    assert WavTokenizerConfig.from_yaml(tmp_path / "bare.yaml") == config


@pytest.mark.parametrize(
    "network, size, value, message",
    [
        ("head", "hop_length", 16, "hop_length is 16; this network needs 8"),
        ("head", "dim", 64, "head.dim is 64; this network needs 32"),
        ("head", "padding", "center", "padding is center"),
        ("head", "n_fft", 6, "n_fft 6 is shorter than the hop 8"),
        ("backbone", "input_channels", 9, "input_channels is 9"),
        ("backbone", "dim", 33, "33"),
        ("feature_extractor", "num_quantizers", 2, "num_quantizers is 2"),
        ("feature_extractor", "vq_bins", None, "vq_bins"),
        ("feature_extractor", "vq_bins", 2**17, "codebook_size 131072 is above 65536"),
        ("feature_extractor", "vq_bins", "many", "codebook_size is 'many'"),
        ("feature_extractor", "dowmsamples", [8, 0], "strides is 0"),
        ("backbone", "num_layers", -1, "num_layers is -1"),
    ],
)
def test_yaml_of_another_network_is_one_line(tmp_path, network, size, value, message):
    networks = copy.deepcopy(NETWORKS)
    if value is None:
        del networks[network]["init_args"][size]
    else:
        networks[network]["init_args"][size] = value
    path = write_yaml(tmp_path / "x.yaml", networks)
    with pytest.raises(UserError) as caught:
        WavTokenizerConfig.from_yaml(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and message in text and "\n" not in text


@pytest.mark.parametrize("text", ["a: [", "just text", "", "- 1", "model: 3", "model:\n  x: 1"])
def test_yaml_that_is_no_codec_is_one_line(tmp_path, text):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(UserError, match="x.yaml: ") as caught:
        WavTokenizerConfig.from_yaml(tmp_path / "x.yaml")
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="missing.yaml: "):
        WavTokenizerConfig.from_yaml(tmp_path / "missing.yaml")
