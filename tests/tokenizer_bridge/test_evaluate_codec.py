"""The codec's round trip of clips."""

import torch

from tokenizer_bridge.jobs.evaluate_codec import round_trip


def test_a_clip_uses_one_core_and_comes_out_as_if_alone(codec, monkeypatch):
    seen = set()
    encode = codec.encode

    def watched(audio_BxT):
        seen.add(torch.get_num_threads())
        return encode(audio_BxT)

    monkeypatch.setattr(codec, "encode", watched)
    clips = 0.1 * torch.randn((5, 2404), generator=torch.Generator().manual_seed(0))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        decoded, codes = round_trip(codec, clips, "toy")
    finally:
        torch.set_num_threads(before)
    assert seen == {1}
    assert decoded.shape == clips.shape and codes.shape == (5, 301)
    with torch.inference_mode():
        for i in range(5):
            torch.testing.assert_close(codes[i : i + 1], encode(clips[i : i + 1]))
