"""The gaps that are measured: in milliseconds within clips, or in tokens between contexts."""

from dataclasses import dataclass

CONTEXT_TOKENS = 96  # on each side of a transition, as in Craftic/audio-transition-inpainting


@dataclass(frozen=True)
class Case:
    """A gap in the middle of clips, in samples of the codec's rate.

    name: for the report; clip, begin, end: samples, the clip's a multiple of the codec's hop.
    """

    name: str
    clip: int
    begin: int
    end: int

    def tokens(self, hop_length: int) -> tuple[int, int]:
        """First and one-past-last token that the gap touches."""
        return self.begin // hop_length, -(-self.end // hop_length)


def gap_case(gap_ms: float, clip_s: float, sample_rate: int, hop_length: int) -> Case:
    """A gap of so many milliseconds in the middle of clips of `clip_s`, as AIDD repairs them."""
    clip = round(clip_s * sample_rate / hop_length) * hop_length
    gap = round(gap_ms / 1_000 * sample_rate)
    begin = (clip - gap) // 2
    return Case(f"{gap_ms:g} ms", clip, begin, begin + gap)


def transition_case(num_tokens: int, hop_length: int) -> Case:
    """A transition of so many tokens between contexts of CONTEXT_TOKENS."""
    begin, end = CONTEXT_TOKENS, CONTEXT_TOKENS + num_tokens
    clip = (end + CONTEXT_TOKENS) * hop_length
    return Case(f"{num_tokens} tokens", clip, begin * hop_length, end * hop_length)
