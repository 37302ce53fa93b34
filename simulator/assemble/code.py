"""The code of an engine on a machine: what launching, seeing, copying and unpacking cost in a run.

docs/timing.md §11 has the rules, ``simulator.machine.software`` the numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from simulator.engine.demand import Launches
from simulator.engine.plan import NS_PER_S, HostPlan, LinkPlan, ceil_div
from simulator.machine.hardware import ComputeUnit, HardwareProfile, scaled
from simulator.machine.software import Issue, Kernels, SoftwareProfile, efficiency

IDEAL = Kernels(
    attention=4, gate=2, shared=3, dense_ffn=3, embedding=1, head=2, experts=0, expert=3, combine=0
)
"""Launches where no software says (assumed: one a matrix product, attention fused with its projections)."""


class Code:
    """What a software profile makes of a machine's units.

    ``absent`` [MoE layers] says which layers lack experts on the main unit's tier. It is settled once the
    caches are divided; until then none does.
    """

    def __init__(self, software: SoftwareProfile, main: ComputeUnit, helper: ComputeUnit | None) -> None:
        self.software, self.main, self.helper = software, main, helper
        self.absent: Sequence[bool] = ()
        self.kernels = software.issue.kernels.value if software.issue else IDEAL

    # -- rates --------------------------------------------------------------------------------------

    def dense_bytes_per_s(self) -> int:
        """Return how fast the main unit reads weights that are no expert's."""
        own = self.software.gpu_kernels
        return (
            scaled(self.main.memory_bandwidth.value, own.dense.value)
            if own
            else self.main.effective_bytes_per_s
        )

    def expert_bytes_per_s(self, precision: str) -> int:
        """Return how fast the main unit reads experts."""
        own = self.software.gpu_kernels
        if own is None:
            return self.main.effective_bytes_per_s
        return scaled(self.main.memory_bandwidth.value, efficiency(own.experts.value, precision))

    def cpu_bytes_per_s(self, precision: str) -> int:
        """Return how fast the CPU reads experts."""
        assert self.helper is not None
        own = self.software.cpu_experts
        if own is None:
            return self.helper.effective_bytes_per_s
        return scaled(self.helper.memory_bandwidth.value, efficiency(own.efficiency.value, precision))

    def cpu_flops_per_s(self) -> int:
        """Return how fast the CPU computes experts."""
        assert self.helper is not None
        own = self.software.cpu_experts
        if own is None or own.compute_efficiency is None:
            return self.helper.effective_flops_per_s
        return scaled(self.helper.flops.value, own.compute_efficiency.value)

    # -- the main unit's time -------------------------------------------------------------------------

    def start_ns(self, n_launches: int, *, decode: bool = True) -> int:
        """Return the main unit's time of so many launches, in passes that decode or others."""
        issue = self.software.issue
        if issue is None:
            return n_launches * self.main.launch.value
        node = issue.node if self._graphs(issue, decode=decode) else None
        return n_launches * (node or issue.start).value

    def unpack_expert_ns(self, n_weights: int, layer: int) -> int:
        """Return the main unit's time to unpack a quantised expert's weights before its product."""
        launches = self._unpackings(layer)
        return 0 if launches is None else self._unpack_ns(n_weights, launches)

    def unpack_dense_ns(self, n_weights: int, *, attention: bool) -> int:
        """Return the main unit's time to unpack quantised weights of no expert."""
        own = self.software.unpack
        if own is None or own.weights == "absent":
            return 0
        return self._unpack_ns(n_weights, own.dense_launches.value if attention else 0)

    def _unpack_ns(self, n_weights: int, launches: int) -> int:
        own = self.software.unpack
        assert own is not None
        n_bytes = int(n_weights * Fraction(str(own.bytes_per_weight.value)))
        return ceil_div(n_bytes * NS_PER_S, self.main.effective_bytes_per_s) + self.start_ns(launches)

    def _unpackings(self, layer: int) -> int | None:
        """Return the launches that unpack one quantised expert of a layer; None where nothing is unpacked."""
        own = self.software.unpack
        return own.launches.value if own and (own.weights == "all" or self.absent[layer]) else None

    def cpu_start_ns(self) -> int:
        """Return the CPU's time of starting one expert; operations on all of them are the group's."""
        assert self.helper is not None
        return 0 if self.software.cpu_experts else 3 * self.helper.launch.value

    # -- the host's time --------------------------------------------------------------------------------

    def host_plan(self) -> HostPlan:
        """Return what the host thread costs beside launches."""
        books, copies, cpu = self.software.books, self.software.copies, self.software.cpu_experts
        return HostPlan(
            round_trip_ns=books.round_trip.value if books else 0,
            lookup_ns=books.lookup.value if books else 0,
            miss_ns=books.miss.value if books else 0,
            evict_ns=books.evict.value if books else 0,
            copy_ns=copies.call.value * copies.calls.value if copies else 0,
            activations_ns=copies.activations.value if copies else 0,
            group_ns=cpu.operation.value * cpu.operations.value if cpu else 0,
            blocking=bool(copies and copies.blocking),
        )

    def write_back_rate(self, links: Sequence[LinkPlan]) -> int:
        """Return the rate at which compute waits for what each load swaps out; 0: it does not."""
        copies = self.software.copies
        if copies is None or copies.write_back == "beside":
            return 0
        return next((link.bytes_per_s for link in links if (link.source, link.target) == (0, 1)), 0)

    def launches(
        self,
        dense_before: Sequence[int],
        dense_after: int,
        *,
        decode: bool,
        early: bool = False,
        shared: bool = False,
        quantised: tuple[bool, bool] = (False, False),
    ) -> Launches | None:
        """Return what launching a pass costs the host; None where no software says.

        ``dense_before`` [MoE layers] and ``dense_after`` count dense layers, before each and after the last.
        ``early``: the router precedes attention. ``shared``: there are shared experts. ``quantised``: the
        experts are, the other weights are.
        """
        issue = self.software.issue
        if issue is None:
            return None
        k, call, absent = self.kernels, issue.call.value, self.absent
        seen = [issue.sees_routing == "always" or (issue.sees_routing == "absent" and a) for a in absent]
        experts = [self._experts(layer) for layer in range(len(absent))]
        start = [self.start_ns(n, decode=decode) for n in experts]
        none = [0] * len(absent)
        if self._graphs(issue, decode=decode):
            after = [call if layer else 0 for layer in seen]
            return Launches(issue.per_pass.value + call, 0, none, after, none, none, none, start, seen)
        unpack = self.software.unpack
        n_attention = k.attention
        if unpack and unpack.weights == "all" and quantised[1]:
            n_attention += unpack.dense_launches.value
        plain = n_attention + k.dense_ffn
        attention = (0, n_attention) if early else (n_attention, 0)
        unpacked = [(self._unpackings(layer) or 0) * quantised[0] for layer in range(len(absent))]
        return Launches(
            prologue_ns=issue.per_pass.value + k.embedding * call,
            epilogue_ns=(dense_after * plain + k.head) * call,
            before_ns=[(dense * plain + k.gate + attention[0]) * call for dense in dense_before],
            after_ns=[(k.shared * shared + attention[1]) * call] * len(absent),
            experts_ns=[n * call for n in experts],
            expert_ns=[(k.expert + n) * call for n in unpacked],
            combine_ns=[k.combine * call] * len(absent),
            experts_start_ns=start,
            seen=seen,
        )

    def _experts(self, layer: int) -> int:
        """Return the launches for all chosen experts of a layer together."""
        k = self.kernels
        return k.absent_experts if self.absent[layer] and k.absent_experts is not None else k.experts

    def _graphs(self, issue: Issue, *, decode: bool) -> bool:
        wanted = issue.graphs == "always" or (decode and issue.graphs == "decode")
        return wanted and (issue.graphs_beside_absent or not any(self.absent))


def as_copied(hardware: HardwareProfile, software: SoftwareProfile) -> HardwareProfile:
    """Return a machine whose GPU links carry what the software copies from pageable memory."""
    copies = software.copies
    if copies is None or copies.memory == "pinned":
        return hardware
    changed = {
        name: link.model_copy(
            update={"host_memory": "pageable", "host_copy_bandwidth": copies.host_copy_bandwidth}
        )
        for name, link in hardware.links.items()
        if name in ("cpu_to_gpu", "gpu_to_cpu") and link.host_memory == "pinned"
    }
    return hardware.model_copy(update={"links": {**hardware.links, **changed}})
