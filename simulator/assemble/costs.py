"""What compute costs: a roofline per operation, in whole nanoseconds (docs/design.md, Costs of compute).

An operation on t tokens takes ``max(flops / rate, bytes / bandwidth) + launches x launch``, each
quotient rounded up once. Rates are the profile's, efficiencies included. Weights are read once a
pass, whatever t is. The number of kernel launches of each operation is an assumption, the same
for every model: see ``LAUNCHES``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

from simulator.engine.demand import PassCosts
from simulator.engine.plan import NS_PER_S, ceil_div, equal_parts
from simulator.machine.hardware import ComputeUnit
from simulator.model.precision import BITS
from simulator.model.spec import ModelSpec
from simulator.trace.sizes import TraceModel

LAUNCHES = {"attention": 4, "gate": 2, "expert": 3, "shared": 3, "dense_ffn": 3, "embedding": 1, "head": 2}
"""Kernel launches per operation (assumed: one a matrix product, attention fused with its projections)."""

KV_BYTES = 2  # fp16
ACTIVATION_BYTES = 2  # fp16
MIX_BITS = {
    "Q4_K_M": Fraction("4.8944")
}  # whole-file mix of Llama-3.1-8B, llama.cpp tools/quantize/README.md
UNTOLD_TENSORS = 3  # equal ones of an expert whose trace does not tell them: gate, up and down (assumed)
ASSUMED_BITS = Fraction(9, 2)  # of a trace that does not name its precision


def roofline_ns(unit: ComputeUnit, flops: int, n_bytes: int, launches: int) -> int:
    """Return how long an operation takes on a unit."""
    compute = ceil_div(flops * NS_PER_S, unit.effective_flops_per_s)
    memory = ceil_div(n_bytes * NS_PER_S, unit.effective_bytes_per_s)
    return max(compute, memory) + launches * unit.launch.value


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

    def __init__(
        self, spec: ModelSpec, main: ComputeUnit, helper: ComputeUnit | None, precisions: Sequence[str]
    ) -> None:
        self.spec, self.main, self.helper, self.precisions = spec, main, helper, tuple(precisions)
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

    def _expert(self, unit: ComputeUnit, layer: int, version: int, tokens: int) -> int:
        n_bytes = self.sizes[version][layer]
        ns = roofline_ns(unit, 2 * self.spec.expert_params * tokens, n_bytes, LAUNCHES["expert"])
        if unit.dequantise_bandwidth is not None and self.precisions[version] not in ("fp32", "fp16", "bf16"):
            ns += ceil_div(n_bytes * NS_PER_S, unit.dequantise_bandwidth.value)
        return ns

    def _expert_ns(self, layer: int, version: int, tokens: int) -> int:
        """Return the time of one expert on the main unit."""
        return self._expert(self.main, layer, version, tokens)

    def _cpu_expert_ns(self, layer: int, version: int, tokens: int) -> int:
        """Return the time of one expert on the CPU, alone."""
        assert self.helper is not None
        return self._expert(self.helper, layer, version, tokens)

    def _dense(self, params: int, tokens: int, launches: int) -> int:
        if not params:
            return 0
        return roofline_ns(self.main, 2 * params * tokens, self.spec.dense_bytes(params), launches)

    def _attention(self, layer: int, tokens: int, cached: int, attended: int) -> int:
        spec = self.spec
        params = spec.attention_params(layer)
        flops = 2 * params * tokens + spec.attention_flops_per_context_token(layer) * attended
        n_bytes = spec.dense_bytes(params) + spec.kv_bytes_per_token(layer) * cached
        return roofline_ns(self.main, flops, n_bytes, LAUNCHES["attention"])

    def pass_costs(self, spans: Sequence[Span]) -> PassCosts:
        """Return the dense costs of a pass over these spans."""
        spec = self.spec
        tokens = sum(s.n for s in spans)
        cached = sum(s.start + s.n for s in spans)
        attended = sum(s.context_tokens for s in spans)
        attention = self._attention(0, tokens, cached, attended)  # the same in every layer
        first = spec.moe_layers[0]
        gate = self._dense(spec.gate_params(first), tokens, LAUNCHES["gate"])
        shared = self._dense(spec.shared_params(first), tokens, LAUNCHES["shared"])
        plain = attention + self._dense(
            spec.expert_matrices * spec.hidden * spec.dense_ffn, tokens, LAUNCHES["dense_ffn"]
        )
        early = spec.router == "before_attention"
        before = [len(dense) * plain + gate + (0 if early else attention) for dense in self.dense_only_before]
        n = len(before)
        embedding = roofline_ns(self.main, 0, tokens * spec.dense_bytes(spec.hidden), LAUNCHES["embedding"])
        head = roofline_ns(
            self.main,
            2 * spec.lm_head_params * len(spans),
            spec.dense_bytes(spec.lm_head_params),
            LAUNCHES["head"],
        )
        return PassCosts(
            prologue_ns=embedding,
            epilogue_ns=len(self.dense_only_after) * plain + head,
            before_ns=before,
            after_ns=[shared + (attention if early else 0)] * n,
            combine_ns=[0] * n,
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
    not in such a trace and cost nothing (said in the results' notes). ``tensors`` has the bytes of an
    expert's tensors by layer and version.
    """

    def __init__(self, model: TraceModel, main: ComputeUnit) -> None:
        self.model, self.main = model, main
        self.activation_bytes = 0
        self.sizes = (model.expert_bytes_by_layer,)
        tensors = model.expert_tensor_bytes or [equal_parts(n, UNTOLD_TENSORS) for n in self.sizes[0]]
        self.tensors = tuple((tuple(sizes),) for sizes in tensors)
        bits = BITS.get(model.precision) or MIX_BITS.get(model.precision) or ASSUMED_BITS
        self.flops_per_byte = 16 / bits  # 2 flops a weight, 8 bits a byte
        self.expert_ns = cache(self._expert_ns)

    def _read(self, n_bytes: int, tokens: int, launches: int) -> int:
        return roofline_ns(self.main, int(n_bytes * self.flops_per_byte * tokens), n_bytes, launches)

    def _expert_ns(self, layer: int, _version: int, tokens: int) -> int:
        """Return the time of one expert on the main unit."""
        return self._read(self.sizes[0][layer], tokens, LAUNCHES["expert"])

    def cpu_expert_ns(self, layer: int, version: int, tokens: int) -> int:
        """Nothing is computed beside the main unit."""
        raise NotImplementedError

    def pass_costs(self, spans: Sequence[Span]) -> PassCosts:
        """Return the dense costs of a pass over these spans."""
        tokens = sum(s.n for s in spans)
        before = [self._read(b, tokens, LAUNCHES["attention"]) for b in self.model.dense_bytes_by_layer]
        zeros = [0] * len(before)
        return PassCosts(0, 0, before, zeros, zeros)

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
