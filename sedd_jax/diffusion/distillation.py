"""Self-distillation through time: a student that learns to take several of its teacher's steps.

Source: SDTT (Deschenaux & Gulcehre 2025, arXiv 2410.21035), for the absorbing graph. Data are
masked as a sampler of `steps` steps finds them; from there the teacher, a trained model that is
held fixed, takes `teacher_steps` smaller steps through one of the sampler's. The student, which
starts as the teacher, sees the first state alone, and learns to say of each token that the teacher
drew what the teacher said of it in the step that drew it, with more tokens before its eyes.

The loss is a divergence of what both say, in nats:

- "reverse", KL(student || teacher), is the paper's best. It is least where the student says
  exp(mean of log p), normalised, over the teacher's continuations: codes that many of these agree
  on gain, others lose. So draws get narrower, where tokens depend on each other in particular.
- "forward", KL(teacher || student), is least at the mean of p. Of a teacher that knows the data's
  law that mean is what it says at once (what one knows now is what one expects to know later): the
  student learns nothing, and of any teacher, only where its earlier and later words disagree.

With either the student draws the tokens of a step as if they were independent. It can err less than
its teacher does in as few steps, but it cannot draw what depends on each other together; for that
its draws would have to be mixtures (Di4C: Hayakawa et al. 2025, arXiv 2410.08709). And it is no
longer a model of the data's law: a bound on the likelihood computed from it is one, and worse.

Scores need not sum to 1 / expm1(sigma), and their sum is the rate at which masks turn. What the
student's sum is in this unit, Z, costs Z - 1 - log Z more, as it does in score entropy, so that it
keeps its rates; both divergences are those of what is said with Z divided out.

Letters: B batch, L length, K codes, V vocabulary (codes and the mask).
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sedd_jax.diffusion.choices import TRAITS
from sedd_jax.diffusion.graph import Absorbing
from sedd_jax.diffusion.jump import fold_in_rows, make_step, uniform_rows
from sedd_jax.diffusion.loss import LogScoreFn
from sedd_jax.diffusion.noise import Noise, masked_share_sigma
from sedd_jax.diffusion.orders import spread_ranks


class Lesson(NamedTuple):
    """A teacher's words: log p_BxLxK of the tokens that it drew, and where those are."""

    log_p_BxLxK: jax.Array
    is_taught_BxL: jax.Array


@dataclasses.dataclass(frozen=True)
class Distillation:
    """A round of distillation.

    steps: from noise to data, which the student is to sample in; teacher_steps: those that the
    teacher takes for each of them; sampler: one of `STUDENT_SAMPLERS`, whose masks and order both
    see; divergence: one of `DIVERGENCES`. Keys are those of rows; one key gives masks and lesson.
    """

    steps: int
    teacher_steps: int
    sampler: str
    divergence: str

    def masked(
        self, graph: Absorbing, key_B: jax.Array, x0_BxL: jax.Array, t_B: jax.Array
    ) -> jax.Array:
        """Data x0_BxL masked as the sampler's way through them has it at times t, x_BxL."""
        turn_BxL = self._turns(key_B, x0_BxL.shape[1])
        return jnp.where(turn_BxL < self._share(t_B)[:, None], graph.mask_id, x0_BxL)

    def lesson(
        self,
        teacher_fn: LogScoreFn,
        graph: Absorbing,
        noise: Noise,
        key_B: jax.Array,
        x_BxL: jax.Array,
        t_B: jax.Array,
    ) -> Lesson:
        """The teacher's way from x_BxL at times t through one of the student's steps."""
        turn_BxL = self._turns(key_B, x_BxL.shape[1])

        def advance(so_far, index):
            x_BxL, log_p_BxLxK = so_far
            share_B, end_B = (
                self._share(t_B - i / (self.steps * self.teacher_steps)) for i in (index, index + 1)
            )
            is_due_BxL = (turn_BxL < share_B[:, None]) & (turn_BxL >= end_B[:, None])
            sigma_B = masked_share_sigma(noise, share_B)
            log_score_BxLxV = teacher_fn(x_BxL, sigma_B)
            step = make_step(graph.denoise_law, x_BxL, log_score_BxLxV, sigma_B)
            drawn_BxL = step.draw(fold_in_rows(key_B, 1 + index))
            now_BxLxK = jax.nn.log_softmax(log_score_BxLxV[..., : graph.num_codes])
            log_p_BxLxK = jnp.where(is_due_BxL[..., None], now_BxLxK, log_p_BxLxK)
            return (jnp.where(is_due_BxL, drawn_BxL, x_BxL), log_p_BxLxK), None

        nothing_BxLxK = jnp.zeros((*x_BxL.shape, graph.num_codes))
        index_S = jnp.arange(self.teacher_steps)
        (last_BxL, log_p_BxLxK), _ = jax.lax.scan(advance, (x_BxL, nothing_BxLxK), index_S)
        return Lesson(log_p_BxLxK, last_BxL != x_BxL)

    def loss(
        self,
        student_fn: LogScoreFn,
        lesson: Lesson,
        graph: Absorbing,
        noise: Noise,
        x_BxL: jax.Array,
        t_B: jax.Array,
    ) -> jax.Array:
        """The student's divergence from the lesson, (B,) nats.

        Summed over what is taught, times the number of steps: in its mean over t each token counts
        once, as on a sample's whole way from noise to data. Those of the first step count for less,
        by half on average where shares are even, since no time lies before t = 1.
        """
        sigma_B = masked_share_sigma(noise, self._share(t_B))
        log_score_BxLxK = student_fn(x_BxL, sigma_B)[..., : graph.num_codes]
        log_sum_BxL = jax.nn.logsumexp(log_score_BxLxK, axis=-1)
        log_q_BxLxK = log_score_BxLxK - log_sum_BxL[..., None]
        log_z_BxL = log_sum_BxL + jnp.log(jnp.expm1(sigma_B))[:, None]
        more_BxLxK = log_q_BxLxK - lesson.log_p_BxLxK
        if self.divergence == "reverse":
            nats_BxL = (jnp.exp(log_q_BxLxK) * more_BxLxK).sum(-1)
        else:
            nats_BxL = -(jnp.exp(lesson.log_p_BxLxK) * more_BxLxK).sum(-1)
        nats_BxL += jnp.exp(log_z_BxL) - 1 - log_z_BxL
        return self.steps * jnp.where(lesson.is_taught_BxL, nats_BxL, 0.0).sum(-1)

    def _share(self, t_B: jax.Array) -> jax.Array:
        """The share that the sampler's schedule leaves masked at times t, 0 before time 0; (B,)."""
        t_B = jnp.maximum(t_B, 0.0)
        return jnp.sin(jnp.pi / 2 * t_B) if TRAITS[self.sampler].schedule == "cosine" else t_B

    def _turns(self, key_B: jax.Array, length: int) -> jax.Array:
        """The masked share at which each position turns into a code, in [0, 1), (B, L)."""
        key_B = fold_in_rows(key_B, 0)
        if self.sampler == "spread":
            rank_BxL = spread_ranks(key_B, jnp.ones((key_B.shape[0], length), bool))
            return 1 - (rank_BxL + 0.5) / length
        return uniform_rows(key_B, length)
