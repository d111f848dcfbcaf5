"""The network as an autoregressive model: each token given those before it.

B batch, L length, V vocabulary with mask, K codes: the entries before the mask.

A causal transformer reads the sequence moved by one place, behind a token that begins it; for that
the vocabulary's entry of the mask serves. It is told no noise level: nothing is hidden.
"""

import jax
import jax.numpy as jnp

from sedd_jax.network import transformer


def log_probs(
    config: transformer.NetworkConfig,
    params: dict,
    tokens_BxL: jax.Array,
    *,
    dropout_key_B: jax.Array | None = None,
    condition: dict | None = None,
) -> jax.Array:
    """log p(code | the tokens before) at every position, (B, L, K) fp32; K = V - 1.

    tokens_BxL: codes, of which the last one is not looked at; the mask's entry K stands for one
    that is unknown. dropout_key_B, condition: as of `transformer.output`.
    """
    num_codes = config.vocab_size - 1
    before_BxL = jnp.pad(tokens_BxL[:, :-1], ((0, 0), (1, 0)), constant_values=num_codes)
    output_BxLxV = transformer.output(
        config,
        params,
        before_BxL,
        jnp.zeros(tokens_BxL.shape[0]),
        dropout_key_B=dropout_key_B,
        condition=condition,
    )
    return jax.nn.log_softmax(output_BxLxV[..., :num_codes])


def nats(
    config: transformer.NetworkConfig, params: dict, tokens_BxL: jax.Array, **options
) -> jax.Array:
    """−log p of every token given those before it, (B, L) fp32; 0 for the mask's entry.

    Arguments as of `log_probs`. Summed over positions it is exact: no bound.
    """
    log_prob_BxLxK = log_probs(config, params, tokens_BxL, **options)
    code_K = jnp.arange(log_prob_BxLxK.shape[-1])
    is_token_BxLxK = code_K[None, None, :] == tokens_BxL[..., None]
    return -jnp.where(is_token_BxLxK, log_prob_BxLxK, 0.0).sum(-1)
