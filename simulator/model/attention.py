"""Attention as far as sizes go: weights, KV cache, work per cached token."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(gt=0, strict=True)]
NotNegative = Annotated[int, Field(ge=0, strict=True)]
KV_BYTES_PER_NUMBER = 2  # the cache is fp16


class GroupedQuery(BaseModel):
    """Multi-head or grouped-query attention; biases and norms are left out (below 0.1 %)."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"required": ["kind", "heads", "kv_heads", "head_dim"]},  # a file says which it is
    )

    kind: Literal["gqa"] = "gqa"
    heads: Count
    kv_heads: Count
    head_dim: Count

    def params(self, hidden: int) -> int:
        """Return the weights of the query, key, value and output projections."""
        return 2 * hidden * self.head_dim * (self.heads + self.kv_heads)

    @property
    def kv_bytes_per_token(self) -> int:
        """Return the bytes of one layer's keys and values of one token."""
        return 2 * self.kv_heads * self.head_dim * KV_BYTES_PER_NUMBER

    @property
    def flops_per_context_token(self) -> int:
        """Return the work of one query token against one cached token: scores and values."""
        return 4 * self.heads * self.head_dim


class MultiHeadLatent(BaseModel):
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434); the cache holds the latent vector.

    ``q_lora`` is absent where queries are projected in one step. Work per cached token is that of
    the absorbed form, in which queries meet the latent vectors themselves, as decoding does.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["mla"]
    heads: Count
    kv_lora: Count
    q_lora: Count | None = None
    qk_rope: Count
    qk_nope: Count
    v_head: Count

    def params(self, hidden: int) -> int:
        """Return the weights of all projections, down and up."""
        query = self.heads * (self.qk_nope + self.qk_rope)
        down = hidden * (self.kv_lora + self.qk_rope)
        up = self.kv_lora * self.heads * (self.qk_nope + self.v_head)
        queries = self.q_lora * (hidden + query) if self.q_lora else hidden * query
        return queries + down + up + self.heads * self.v_head * hidden

    @property
    def kv_bytes_per_token(self) -> int:
        """Return the bytes of one layer's latent vector and rotary key of one token."""
        return (self.kv_lora + self.qk_rope) * KV_BYTES_PER_NUMBER

    @property
    def flops_per_context_token(self) -> int:
        """Return the work of one query token against one cached token: scores and values."""
        return 2 * self.heads * (2 * self.kv_lora + self.qk_rope)


class GatedDelta(BaseModel):
    """Gated attention in one layer of ``full_every``, gated DeltaNet (arXiv 2412.06464) in the others.

    Sizes are means over the layers, rounded up. Queries of gated attention are twice as wide, for the gate.
    A DeltaNet layer has no KV cache; its state does not grow, and is left out. So are its convolution and
    the projections of its decay, below 1 %.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["gated-delta"]
    full_every: Count
    heads: Count
    kv_heads: Count
    head_dim: Count
    delta_key_heads: Count
    delta_value_heads: Count
    delta_head_dim: Count

    def params(self, hidden: int) -> int:
        """Return the weights of all projections, the mean over layers."""
        full = hidden * self.head_dim * (3 * self.heads + 2 * self.kv_heads)
        delta = hidden * self.delta_head_dim * (2 * self.delta_key_heads + 3 * self.delta_value_heads)
        return self._mean(full + (self.full_every - 1) * delta)

    @property
    def kv_bytes_per_token(self) -> int:
        """Return the bytes of one token's keys and values, the mean over layers."""
        return self._mean(2 * self.kv_heads * self.head_dim * KV_BYTES_PER_NUMBER)

    @property
    def flops_per_context_token(self) -> int:
        """Return the work of one query token against one cached token, the mean over layers."""
        return self._mean(4 * self.heads * self.head_dim)

    def _mean(self, period: int) -> int:
        return -(-period // self.full_every)


class Mixed(BaseModel):
    """Plain attention in some layers; in others a window, something linear, or nothing at all.

    Sizes are means over the layers, rounded up. ``windowed`` layers weigh what the ``growing`` ones do. A
    window's cache and a state do not grow with the context, and are left out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["mixed"]
    heads: Count
    kv_heads: Count
    head_dim: Count
    growing: NotNegative
    windowed: NotNegative = 0
    linear: NotNegative = 0
    linear_params: NotNegative = 0
    without: NotNegative = 0

    def params(self, hidden: int) -> int:
        """Return the weights of all projections, the mean over layers."""
        plain = 2 * hidden * self.head_dim * (self.heads + self.kv_heads)
        return self._mean((self.growing + self.windowed) * plain + self.linear * self.linear_params)

    @property
    def kv_bytes_per_token(self) -> int:
        """Return the bytes of one token's keys and values, the mean over layers."""
        return self._mean(self.growing * 2 * self.kv_heads * self.head_dim * KV_BYTES_PER_NUMBER)

    @property
    def flops_per_context_token(self) -> int:
        """Return the work of one query token against one cached token, the mean over layers."""
        return self._mean(self.growing * 4 * self.heads * self.head_dim)

    def _mean(self, whole: int) -> int:
        return -(-whole // max(1, self.growing + self.windowed + self.linear + self.without))


Attention = Annotated[GroupedQuery | MultiHeadLatent | GatedDelta | Mixed, Field(discriminator="kind")]
