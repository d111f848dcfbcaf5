"""Songs edited by whatever can sample given known tokens. N samples, T codes of a song."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from sedd_jax.errors import UserError
from sedd_jax.sampling import editing


class CanSample(Protocol):
    """A model as an object, such as `sedd_jax.Model`."""

    @property
    def codec(self) -> Mapping[str, Any]: ...

    def sample(self, num_samples: int, **sampling: Any) -> np.ndarray: ...


class Editable:
    """The edits that the command `launch.edit` makes, and the same of the same settings.

    tokens are the codes (T,) of one song, integers, of any length. sampling: all that `sample`
    takes but the length. Sample i depends on `seed`, i and the edit alone.

    Raises as `sample`, and UserError where the song or what is asked for makes no sense.
    """

    def continue_(
        self: CanSample,
        tokens: np.ndarray,
        seconds: float = 20.0,
        num_samples: int = 1,
        **sampling: Any,
    ) -> np.ndarray:
        """The song, and so many seconds after it, (N, T') uint16."""
        song_T = _song(tokens, self.codec)
        edit = editing.continued(
            song_T, editing.num_tokens(seconds, editing.token_rate(self.codec))
        )
        return _draw(self, edit, num_samples, **sampling)

    def replace(
        self: CanSample,
        tokens: np.ndarray,
        stretches: Sequence[tuple[float, float]],
        num_samples: int = 1,
        **sampling: Any,
    ) -> np.ndarray:
        """The song with other music from `start` to `stop`, in seconds, of each stretch, (N, T)."""
        song_T = _song(tokens, self.codec)
        found = editing.token_stretches(stretches, editing.token_rate(self.codec), len(song_T))
        return _draw(self, editing.replaced(song_T, found), num_samples, **sampling)

    def vary(
        self: CanSample,
        tokens: np.ndarray,
        keep: float = 0.4,
        num_samples: int = 1,
        seed: int = 0,
        **sampling: Any,
    ) -> np.ndarray:
        """The song with a share of its codes, 0 <= keep < 1, kept at random, (N, T) uint16."""
        edit = editing.varied(_song(tokens, self.codec), keep, num_samples, seed)
        return _draw(self, edit, num_samples, seed=seed, **sampling)

    def keep_every(
        self: CanSample, tokens: np.ndarray, every: int, num_samples: int = 1, **sampling: Any
    ) -> np.ndarray:
        """The song with one code in `every` kept, (N, T) uint16."""
        edit = editing.thinned(_song(tokens, self.codec), every)
        return _draw(self, edit, num_samples, **sampling)


def _draw(model: CanSample, edit: editing.Edit, num_samples: int, **sampling: Any) -> np.ndarray:
    is_kept_NxT = np.broadcast_to(edit.is_kept_NxT, (num_samples, len(edit.tokens_T)))
    return model.sample(num_samples, known=edit.tokens_T, is_known=is_kept_NxT, **sampling)


def _song(tokens: np.ndarray, codec: Mapping[str, Any]) -> np.ndarray:
    """The codes (T,) uint16 of a song. Raises UserError."""
    song_T, size = np.asarray(tokens), codec["codebook_size"]
    if song_T.ndim != 1 or not song_T.size or song_T.dtype.kind not in "iu":
        raise UserError(
            f"a song is a row of codes, integers (T,), not {song_T.dtype} {song_T.shape}"
        )
    if song_T.min() < 0 or song_T.max() >= size:
        raise UserError(
            f"the song's codes go from {song_T.min()} to {song_T.max()}, the codec's from 0 to "
            f"{size - 1}"
        )
    return song_T.astype(np.uint16)
