"""What all embedding networks promise, and musicnn's tags. Figures: test_reference_embeddings."""

from pathlib import Path

import pytest
import torch

from tokenizer_bridge.fad.clips import Clip, read_clip
from tokenizer_bridge.fad.embeddings import Embedding, load_embedding, untrained_embedding
from tokenizer_bridge.fad.musicnn import TAGS

CLIPS = Path(__file__).parents[3] / "tokenizer_bridge/assets/clips"
# As the front ends' constants give them.
SHORTEST_S = {
    "musicnn": 186 * 256 / 16_000,
    "vggish": (95 * 160 + 400) / 16_000,
    "cnn14-16k": 31 * 160 / 16_000,
    "cnn14-32k": 31 * 320 / 32_000,
}
WINDOWS_OF_10_S = {"musicnn": 3, "vggish": 10, "cnn14-16k": 1, "cnn14-32k": 1}


def random_embedding(name: str) -> Embedding:
    torch.manual_seed(0)
    return untrained_embedding(name)


def tags_of(name: str) -> dict[str, float]:
    """Mean probability of every tag over 10 s of a shipped clip."""
    network = load_embedding("musicnn").network
    clip = Clip(CLIPS / f"{name}.ogg", name, None, start_s=7.0, clip_s=10.0)
    audio_1xT = torch.from_numpy(read_clip(clip, network.SAMPLE_RATE))[None]
    with torch.inference_mode():
        probabilities_T = network.tag_probabilities(audio_1xT)[0].mean(0)
    return dict(zip(TAGS, probabilities_T.tolist(), strict=True))


@pytest.mark.parametrize("name", SHORTEST_S)
def test_shapes_and_the_shortest_clip(name):
    embedding = random_embedding(name)
    rate, dim = embedding.info.sample_rate, embedding.info.dim
    assert embedding.min_samples == round(SHORTEST_S[name] * rate)
    audio_BxT = 0.1 * torch.randn(2, 10 * rate)
    vectors = embedding.embed(audio_BxT[:, : embedding.min_samples])
    assert vectors.shape == (2, 1, dim) and vectors.dtype == torch.float32
    assert vectors.isfinite().all() and not torch.equal(vectors[0], vectors[1])
    with pytest.raises(ValueError, match=f"{embedding.min_samples} are needed"):
        embedding.embed(audio_BxT[:, : embedding.min_samples - 1])
    assert embedding.embed(audio_BxT[:1]).shape == (1, WINDOWS_OF_10_S[name], dim)


def test_untrained_principal_components_are_finite():
    """Also where fresh memory holds NaN, as it does for deterministic algorithms."""
    torch.use_deterministic_algorithms(True)
    try:
        embedding = random_embedding("vggish-pca")
    finally:
        torch.use_deterministic_algorithms(False)
    vectors = embedding.embed(0.1 * torch.randn(1, 16_000))
    assert vectors.shape == (1, 1, 128)
    assert ((vectors >= 0) & (vectors <= 255)).all()


@pytest.mark.parametrize("name", ["musicnn", "vggish", "cnn14-16k"])
def test_a_clip_does_not_depend_on_what_rides_with_it(name):
    embedding = random_embedding(name)
    audio_BxT = torch.randn(3, 4 * 16_000) * torch.tensor([[0.1], [1.0], [0.01]])
    together = embedding.embed(audio_BxT)
    for i in range(3):
        alone = embedding.embed(audio_BxT[i : i + 1])[0]
        torch.testing.assert_close(together[i], alone, rtol=1e-4, atol=1e-5)


def test_windows_follow_each_other_without_overlap():
    embedding = load_embedding("musicnn")
    audio_1xT = 0.1 * torch.randn(1, 7 * 16_000)
    changed_1xT = audio_1xT.clone()
    changed_1xT[:, 4 * 16_000 :] *= 0.5  # within the second window, and in what is left over
    before, after = embedding.embed(audio_1xT)[0], embedding.embed(changed_1xT)[0]
    assert before.shape == (2, 200)
    torch.testing.assert_close(before[0], after[0])
    assert (before[1] - after[1]).abs().max() > 0.01
    changed_1xT[:, :-8_000] = audio_1xT[:, :-8_000]
    torch.testing.assert_close(embedding.embed(changed_1xT)[0], before)


def test_the_front_layers_of_musicnn_are_convolution_relu_normalisation_maximum():
    """In that order, on real weights: most of them have normalisations that turn the sign."""
    network = load_embedding("musicnn").network
    image_Nx1xFxM = torch.randn(1, 1, 187, 96)
    for layer, padding in [(network.timbral[0], (3, 3)), (network.temporal[2], (15, 16))]:
        assert (layer.norm.weight < 0).any() and (layer.norm.weight > 0).any()
        with torch.inference_mode():
            padded = torch.nn.functional.pad(image_Nx1xFxM, (0, 0, *padding))
            activity_NxCxFxM = layer.conv(padded).relu()
            normed = layer.norm(activity_NxCxFxM.flatten(2)).view_as(activity_NxCxFxM)
            torch.testing.assert_close(layer(image_Nx1xFxM), normed.amax(3), rtol=0, atol=3e-4)


def test_musicnn_tags_clips_that_are_known():
    """A soundtrack made with synthesisers; the first of the two is calm and has no drums."""
    calm, driving = tags_of("legacy__track10"), tags_of("legacy__track16")
    for tags in (calm, driving):
        assert max(tags, key=tags.get) == "electronic" and tags["electronic"] > 0.4
        assert max(tags[tag] for tag in ("country", "blues", "jazz", "male vocalists")) < 0.05
    assert calm["ambient"] > 0.25 and calm["dance"] < 0.05
    assert driving["dance"] > 0.1 > driving["ambient"]
