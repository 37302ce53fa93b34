"""What an engine's code costs on a machine, by hand: launches, seen layers, rates, unpacking, operations."""

from __future__ import annotations

import pytest

from simulator.assemble.code import Code, as_copied
from simulator.assemble.costs import ModelCosts, Span, TraceCosts
from simulator.assemble.machine import machine_plan
from simulator.engine.demand import Launches
from simulator.experiment.schema import Runtime
from simulator.machine.hardware import load_hardware
from simulator.machine.software import SoftwareProfile, load_software
from simulator.model.load import load_model
from simulator.trace.sizes import TraceModel
from tests.machine.engine_code import GRAPHS, profile

US, S = 10**3, 10**9
MACHINE = load_hardware("rtx4090-pcie4")
GPU = 1008 * 10**9  # bytes/s of its data sheet
CPU = 204_800_000_000
NO_UNPACKING = {"unpack": None}


def code(software: SoftwareProfile, *absent: bool) -> Code:
    """Return the code on a 4090, in layers that lack experts on the GPU or do not."""
    made = Code(software, MACHINE.main_unit, MACHINE.compute.cpu)
    made.absent = absent
    return made


def test_launches_are_calls_of_the_host() -> None:
    asked = code(profile(), False, True)
    found = asked.launches([1, 0], 2, shared=True, decode=True, quantised=(True, False))
    assert found == Launches(
        prologue_ns=1000 * US + 1 * 10 * US,
        epilogue_ns=(2 * (4 + 5) + 2) * 10 * US,  # two dense layers and the head
        before_ns=[(4 + 5 + 2 + 4) * 10 * US, (2 + 4) * 10 * US],  # a dense layer before the first
        after_ns=[3 * 10 * US] * 2,
        experts_ns=[6 * 10 * US, 10 * 10 * US],  # more where some are not on the GPU
        expert_ns=[(7 + 9) * 10 * US] * 2,  # with what unpacks an expert
        combine_ns=[8 * 10 * US] * 2,
        experts_start_ns=[6 * 3 * US, 10 * 3 * US],
        seen=[True, True],
    )


def test_what_is_not_quantised_needs_no_launches_to_be_unpacked() -> None:
    def found(*quantised: bool) -> Launches:
        return code(profile(), True).launches([1], 0, decode=True, quantised=quantised)

    plain, experts, dense = found(False, False), found(True, False), found(False, True)
    assert (plain.expert_ns, plain.before_ns) == ([7 * 10 * US], [(4 + 5 + 2 + 4) * 10 * US])
    assert (experts.expert_ns, experts.before_ns) == ([(7 + 9) * 10 * US], plain.before_ns)
    assert (dense.expert_ns, dense.before_ns) == (plain.expert_ns, [(4 + 5 + 2 + 4 + 2 * 5) * 10 * US])


def test_a_router_before_attention_is_launched_first() -> None:
    found = code(profile(), False).launches([0], 0, early=True, shared=True, decode=True)
    assert found is not None
    assert (found.before_ns, found.after_ns) == ([2 * 10 * US], [(3 + 4) * 10 * US])


def test_a_graph_is_one_launch_from_one_seen_layer_to_the_next() -> None:
    changes = GRAPHS | {"issue.sees_routing": "absent"}
    found = code(profile(changes), False, True).launches([1, 0], 2, early=False, shared=True, decode=True)
    none = [0, 0]
    assert found == Launches(
        prologue_ns=1000 * US + 10 * US,
        epilogue_ns=0,
        before_ns=none,
        after_ns=[0, 10 * US],  # the graph after the layer that is seen
        experts_ns=none,
        expert_ns=none,
        combine_ns=none,
        experts_start_ns=[6 * 2 * US, 10 * 2 * US],  # nodes
        seen=[False, True],
    )


def test_graphs_are_for_decoding_or_always_and_not_beside_absent_experts() -> None:
    def graphed(changes: dict[str, object], *absent: bool, decode: bool = True) -> bool:
        found = code(profile(GRAPHS | changes), *absent).launches(
            [0, 0], 0, early=False, shared=True, decode=decode
        )
        assert found is not None
        return found.epilogue_ns == 0

    assert graphed({}, False, True)
    assert not graphed({}, False, True, decode=False)
    assert graphed({"issue.graphs": "always"}, False, True, decode=False)
    assert not graphed({"issue.graphs_beside_absent": False}, False, True)
    assert graphed({"issue.graphs_beside_absent": False}, False, False)


@pytest.mark.parametrize(
    ("sees", "seen"), [("always", [True, True]), ("absent", [False, True]), ("never", [False, False])]
)
def test_which_layers_the_host_sees(sees: str, seen: list[bool]) -> None:
    software = profile({"issue.sees_routing": sees})
    found = code(software, False, True).launches([0, 0], 0, early=False, shared=True, decode=True)
    assert found is not None
    assert found.seen == seen


def test_ideal_launches_nothing_and_starts_what_the_hardware_says() -> None:
    ideal = code(load_software("ideal"), True)
    assert ideal.launches([0], 0, early=False, shared=True, decode=True) is None
    assert ideal.start_ns(3) == 3 * 5 * US
    assert ideal.cpu_start_ns() == 3 * 21 * US
    assert ideal.host_plan() == type(ideal.host_plan())()


def test_pageable_memory_is_copied_by_the_cpu_first() -> None:
    links = {
        link.name: link.bytes_per_s
        for link in machine_plan(as_copied(MACHINE, profile()), ("gpu", "cpu", "ssd"), Runtime()).links
    }
    pageable = int(25.1 * 10 / (25.1 + 10) * 10**9)
    assert links == {
        "cpu_to_gpu": pytest.approx(pageable, abs=1),
        "gpu_to_cpu": pytest.approx(pageable, abs=1),
        "ssd_to_cpu": 7_270_000_000,  # what a file is read into is no copy's
    }
    pinned = profile({"copies.memory": "pinned", "copies.host_copy_bandwidth": None})
    assert as_copied(MACHINE, pinned) is MACHINE


def test_an_expert_runs_at_the_rate_of_its_precision_and_is_unpacked_first() -> None:
    model = load_model("mixtral-8x7b")
    weights = 3 * 4096 * 14336
    q4 = weights // 32 * 18  # a block of 32 weights is 18 bytes
    plain = ModelCosts(model, code(profile(NO_UNPACKING), True), ["fp16", "Q4_0"])
    assert plain.expert_ns(0, 0, 1) == -(-2 * weights * S // (GPU // 2)) + 7 * 3 * US
    assert plain.expert_ns(0, 1, 1) == -(-q4 * S // (GPU // 4)) + 7 * 3 * US
    whole = ModelCosts(model, code(profile(), True), ["fp16", "Q4_0"])
    moved = -(-weights * 5 // 2 * S // (GPU * 8 // 10))  # at what the hardware profile's kernels reach
    assert whole.expert_ns(0, 1, 1) - plain.expert_ns(0, 1, 1) == moved + 9 * 3 * US
    assert whole.expert_ns(0, 0, 1) == plain.expert_ns(0, 0, 1)  # fp16 is not packed


def test_dense_weights_are_read_at_their_own_rate() -> None:
    costs = ModelCosts(load_model("mixtral-8x7b"), code(profile(), True), ["fp16"])
    one = costs.pass_costs([Span(0, 1)])
    assert one.epilogue_ns == -(-2 * 4096 * 32000 * S // (GPU * 6 // 10)) + 2 * 3 * US
    assert one.combine_ns == [8 * 3 * US] * 32


def test_operations_on_the_cpu_are_a_layers_and_not_an_experts() -> None:
    costs = ModelCosts(load_model("mixtral-8x7b"), code(profile(), True), ["fp16", "Q4_0"])
    weights = 3 * 4096 * 14336
    assert costs.cpu_expert_ns(0, 0, 1) == -(-2 * weights * S // (CPU // 5))
    assert costs.cpu_expert_ns(0, 1, 1) == -(-weights // 32 * 18 * S // (CPU // 10))
    assert costs.code.host_plan().group_ns == 3 * 50 * US


def test_what_the_host_does_beside_launches() -> None:
    plan = code(profile(), True).host_plan()
    assert (plan.round_trip_ns, plan.lookup_ns, plan.miss_ns, plan.evict_ns) == (20 * US, US, 2 * US, 4 * US)
    assert (plan.copy_ns, plan.activations_ns, plan.blocking) == (3 * 30 * US, 40 * US, True)


def test_a_model_known_by_its_bytes_launches_only_what_it_has() -> None:
    sizes = TraceModel("m", 2, (0, 1), 4, 2, (1000, 1000), (500, 500), "fp16")
    found = TraceCosts(sizes, code(profile(), True, True)).launches(decode=True)
    assert found is not None
    assert (found.prologue_ns, found.epilogue_ns, found.combine_ns) == (1000 * US, 0, [0, 0])
    assert found.before_ns == [4 * 10 * US] * 2  # the dense block: attention
    assert found.expert_ns == [7 * 10 * US] * 2  # nothing is unpacked
    assert found.experts_ns == [10 * 10 * US] * 2


def test_prompts_are_launched_kernel_by_kernel_where_graphs_are_for_decoding() -> None:
    costs = ModelCosts(load_model("mixtral-8x7b"), code(profile(GRAPHS), True), ["fp16"])
    decoded, prompt = (costs.pass_costs([Span(0, 1)], decode=decode) for decode in (True, False))
    assert (decoded.combine_ns, prompt.combine_ns) == ([8 * 2 * US] * 32, [8 * 3 * US] * 32)
    assert prompt.epilogue_ns - decoded.epilogue_ns == 2 * 1 * US  # the head's two
