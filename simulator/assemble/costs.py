"""What compute costs: a roofline per operation, in whole nanoseconds (docs/design.md, Costs of compute).

An operation on t tokens takes ``max(flops / rate, bytes / bandwidth)``, each quotient rounded up once, and
what its kernel launches take on the main unit (``code``). Rates are the hardware profile's, or the software's
share of the data sheet's. Weights are read once a pass, whatever t is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, partial

from simulator.assemble.code import Code
from simulator.engine.demand import Launches, PassCosts
from simulator.engine.plan import NS_PER_S, ceil_div, equal_parts
from simulator.machine.hardware import ComputeUnit
from simulator.model.precision import BITS
from simulator.model.spec import ModelSpec
from simulator.trace.sizes import TraceModel

PLAIN = ("fp32", "fp16", "bf16")  # what is computed with as it is stored
NOT_RECORDED = ("gate", "shared", "dense_ffn", "embedding", "head", "combine")
"""Operations that a model has which is known by its bytes only, but which have none of their own there."""
KV_BYTES = 2  # fp16
ACTIVATION_BYTES = 2  # fp16
MIX_BITS = {
    "Q4_K_M": Fraction("4.8944")
}  # whole-file mix of Llama-3.1-8B, llama.cpp tools/quantize/README.md
UNTOLD_TENSORS = 3  # equal ones of an expert whose trace does not tell them: gate, up and down (assumed)
ASSUMED_BITS = Fraction(9, 2)  # of a trace that does not name its precision


def roofline_ns(flops: int, flops_per_s: int, n_bytes: int, bytes_per_s: int) -> int:
    """Return how long an operation takes at the rates that it reaches, once it has started."""
    return max(ceil_div(flops * NS_PER_S, flops_per_s), ceil_div(n_bytes * NS_PER_S, bytes_per_s))


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens of one sequence in a pass: ``n`` of them, from position ``start`` on."""

    start: int
    n: int

    @property
    def context_tokens(self) -> int:
        """Return the sum over the span's tokens of the cached tokens each attends to, itself included."""
        return self.n * self.start + self.n * (self.n + 1) // 2


class ModelCosts:
    """Costs of a described model on a machine; ``precisions`` are the experts' versions, main first.

    ``tensors`` has the bytes of an expert's tensors by layer and version.
    """

    def __init__(self, spec: ModelSpec, code: Code, precisions: Sequence[str]) -> None:
        self.spec, self.code, self.precisions = spec, code, tuple(precisions)
        self.activation_bytes = spec.hidden * ACTIVATION_BYTES
        self.sizes = tuple(spec.expert_bytes_by_layer(p) for p in precisions)
        self.tensors = tuple(zip(*(spec.expert_tensor_bytes(p) for p in precisions), strict=True))
        self.expert_ns = cache(self._expert_ns)
        self.cpu_expert_ns = cache(self._cpu_expert_ns)
        moe = set(spec.moe_layers)
        last = -1
        self.dense_only_before: list[list[int]] = []
        for layer in spec.moe_layers:
            self.dense_only_before.append([i for i in range(last + 1, layer) if i not in moe])
            last = layer
        self.dense_only_after = list(range(last + 1, spec.n_model_layers))

    def _expert(self, unit: ComputeUnit, rates: tuple[int, int], at: tuple[int, int], tokens: int) -> int:
        """Return the time of an expert at ``rates`` (flops/s, bytes/s); ``at`` is its layer and version."""
        layer, version = at
        n_bytes, flops = self.sizes[version][layer], 2 * self.spec.expert_params * tokens
        ns = roofline_ns(flops, rates[0], n_bytes, rates[1])
        if unit.dequantise_bandwidth is not None and self.precisions[version] not in PLAIN:
            ns += ceil_div(n_bytes * NS_PER_S, unit.dequantise_bandwidth.value)
        return ns

    def _expert_ns(self, layer: int, version: int, tokens: int) -> int:
        """Return the time of one expert on the main unit."""
        precision, code = self.precisions[version], self.code
        rates = code.main.effective_flops_per_s, code.expert_bytes_per_s(precision)
        ns = self._expert(code.main, rates, (layer, version), tokens)
        if precision not in PLAIN:
            ns += code.unpack_expert_ns(self.spec.expert_params, layer)
        return ns + code.start_ns(code.kernels.expert)

    def _cpu_expert_ns(self, layer: int, version: int, tokens: int) -> int:
        """Return the time of one expert on the CPU, alone."""
        code = self.code
        assert code.helper is not None
        rates = code.cpu_flops_per_s(), code.cpu_bytes_per_s(self.precisions[version])
        return self._expert(code.helper, rates, (layer, version), tokens) + code.cpu_start_ns()

    def _dense(self, params: int, tokens: int, launches: int, *, decode: bool) -> int:
        if not params:
            return 0
        ns = self._read(2 * params * tokens, self.spec.dense_bytes(params), launches, decode=decode)
        return ns + self._unpack_ns(params, attention=False)

    def _read(self, flops: int, n_bytes: int, launches: int, *, decode: bool) -> int:
        code = self.code
        ns = roofline_ns(flops, code.main.effective_flops_per_s, n_bytes, code.dense_bytes_per_s())
        return ns + code.start_ns(launches, decode=decode)

    def _attention(self, layer: int, tokens: int, cached: int, attended: int, *, decode: bool) -> int:
        spec = self.spec
        params = spec.attention_params(layer)
        flops = 2 * params * tokens + spec.attention_flops_per_context_token(layer) * attended
        n_bytes = spec.dense_bytes(params) + spec.kv_bytes_per_token(layer) * cached
        ns = self._read(flops, n_bytes, self.code.kernels.attention, decode=decode)
        return ns + self._unpack_ns(params, attention=True)

    def _unpack_ns(self, params: int, *, attention: bool) -> int:
        plain = self.spec.dense_precision in PLAIN
        return 0 if plain else self.code.unpack_dense_ns(params, attention=attention)

    def pass_costs(self, spans: Sequence[Span], *, decode: bool = True) -> PassCosts:
        """Return the dense costs of a pass over these spans, which decodes or has prompts."""
        spec = self.spec
        dense, read = partial(self._dense, decode=decode), partial(self._read, decode=decode)
        tokens = sum(s.n for s in spans)
        cached = sum(s.start + s.n for s in spans)
        attended = sum(s.context_tokens for s in spans)
        attention = self._attention(0, tokens, cached, attended, decode=decode)  # the same in every layer
        first, kernels = spec.moe_layers[0], self.code.kernels
        gate = dense(spec.gate_params(first), tokens, kernels.gate)
        shared = dense(spec.shared_params(first), tokens, kernels.shared)
        ffn = spec.expert_matrices * spec.hidden * spec.dense_ffn
        plain = attention + dense(ffn, tokens, kernels.dense_ffn)
        early = spec.router == "before_attention"
        before = [
            len(without) * plain + gate + (0 if early else attention) for without in self.dense_only_before
        ]
        n = len(before)
        embedding = read(0, tokens * spec.dense_bytes(spec.hidden), kernels.embedding)
        n_head = spec.lm_head_params
        head = read(2 * n_head * len(spans), spec.dense_bytes(n_head), kernels.head)
        return PassCosts(
            prologue_ns=embedding,
            epilogue_ns=len(self.dense_only_after) * plain + head,
            before_ns=before,
            after_ns=[shared + (attention if early else 0)] * n,
            combine_ns=[self.code.start_ns(kernels.combine, decode=decode)] * n,
        )

    def launches(self, *, decode: bool) -> Launches | None:
        """Return what launching a pass costs the host; None where no software says."""
        return self.code.launches(
            [len(dense) for dense in self.dense_only_before],
            len(self.dense_only_after),
            early=self.spec.router == "before_attention",
            shared=self.spec.shared_ffn > 0,
            quantised=(self.precisions[0] not in PLAIN, self.spec.dense_precision not in PLAIN),
            decode=decode,
        )

    def kv_bytes(self, context_tokens: int) -> int:
        """Return the size of a KV cache that holds so many tokens."""
        spec = self.spec
        return context_tokens * sum(spec.kv_bytes_per_token(i) for i in range(spec.n_model_layers))

    def non_expert_bytes(self) -> int:
        """Return the bytes of all weights but the routed experts'."""
        return self.spec.non_expert_bytes()

    def working_bytes(self, tokens: int) -> int:
        """Return the activations of a pass: hidden state in and out, FFN intermediate, a row of logits."""
        spec = self.spec
        widest = max(spec.expert_ffn * spec.top_k, spec.dense_ffn, spec.shared_ffn)
        return ACTIVATION_BYTES * (tokens * (2 * spec.hidden + widest) + spec.vocab)


class TraceCosts:
    """Costs of a model known by its bytes only: each dense block and expert is read once a pass.

    Flops follow from bytes and the precision's bits per weight; KV cache, embedding and LM head are
    not in such a trace and cost nothing (said in the results' notes), nor does launching them. ``tensors``
    has the bytes of an expert's tensors by layer and version.
    """

    def __init__(self, model: TraceModel, code: Code) -> None:
        self.model, self.code = model, code
        code.kernels = code.kernels.model_copy(update=dict.fromkeys(NOT_RECORDED, 0))
        self.activation_bytes = 0
        self.sizes = (model.expert_bytes_by_layer,)
        tensors = model.expert_tensor_bytes or [equal_parts(n, UNTOLD_TENSORS) for n in self.sizes[0]]
        self.tensors = tuple((tuple(sizes),) for sizes in tensors)
        bits = BITS.get(model.precision) or MIX_BITS.get(model.precision) or ASSUMED_BITS
        self.flops_per_byte = 16 / bits  # 2 flops a weight, 8 bits a byte
        self.expert_ns = cache(self._expert_ns)

    def _read(self, n_bytes: int, bytes_per_s: int, tokens: int) -> int:
        flops = int(n_bytes * self.flops_per_byte * tokens)
        return roofline_ns(flops, self.code.main.effective_flops_per_s, n_bytes, bytes_per_s)

    def _expert_ns(self, layer: int, _version: int, tokens: int) -> int:
        """Return the time of one expert on the main unit."""
        code = self.code
        rate = code.expert_bytes_per_s(self.model.precision)
        return self._read(self.sizes[0][layer], rate, tokens) + code.start_ns(code.kernels.expert)

    def cpu_expert_ns(self, layer: int, version: int, tokens: int) -> int:
        """Nothing is computed beside the main unit."""
        raise NotImplementedError

    def pass_costs(self, spans: Sequence[Span], *, decode: bool = True) -> PassCosts:
        """Return the dense costs of a pass over these spans, which decodes or has prompts."""
        tokens, code = sum(s.n for s in spans), self.code
        start, rate = code.start_ns(code.kernels.attention, decode=decode), code.dense_bytes_per_s()
        before = [self._read(n_bytes, rate, tokens) + start for n_bytes in self.model.dense_bytes_by_layer]
        zeros = [0] * len(before)
        return PassCosts(0, 0, before, zeros, zeros)

    def launches(self, *, decode: bool) -> Launches | None:
        """Return what launching a pass costs the host; None where no software says."""
        return self.code.launches([0] * len(self.sizes[0]), 0, decode=decode)

    def kv_bytes(self, context_tokens: int) -> int:
        """Return 0: the trace does not tell."""
        del context_tokens
        return 0

    def non_expert_bytes(self) -> int:
        """Return the bytes of the recorded dense blocks."""
        return self.model.non_expert_bytes

    def working_bytes(self, tokens: int) -> int:
        """Return 0: the trace does not tell."""
        del tokens
        return 0


Costs = ModelCosts | TraceCosts
