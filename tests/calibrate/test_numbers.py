"""Calibration: how measurements become numbers."""

from __future__ import annotations

import os

import numpy as np
import pytest

from simulator.calibrate import measure as measure_module
from simulator.calibrate import system as system_module
from simulator.calibrate.dense import DENSE_MATRICES, dense_layer, products
from simulator.calibrate.dram import measure_dram
from simulator.calibrate.expert import roofline, swiglu
from simulator.calibrate.measure import Plan
from simulator.calibrate.sample import repeat, sample
from simulator.calibrate.system import System, this_system
from tests.calibrate.made_up import KIB, MIB, exactly, made_up
from tests.calibrate.test_scratch import _no_file


def test_sample_has_median_and_quartiles_and_says_when_they_are_far_apart() -> None:
    calm = sample([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (calm.low, calm.median, calm.high, calm.n) == (2, 3, 4, 5)
    assert calm.spread == pytest.approx(2 / 3)
    assert "NOT RELIABLE" in calm.text(1, "s")
    assert exactly(2e-6).text(1e-6, "us") == "2 us, quartiles 2 to 2, 3 repeats"


def test_the_first_measurement_is_thrown_away() -> None:
    values = iter([100.0, 1.0, 2.0, 3.0])
    assert repeat(lambda: next(values), 3).median == 2


def test_swiglu_is_its_definition() -> None:
    rng = np.random.default_rng(0)
    weights, x = rng.standard_normal((3, 5, 4)), rng.standard_normal((4, 2))
    expected = np.zeros((4, 2))
    for token in range(2):
        for f in range(5):
            g, u = weights[0, f] @ x[:, token], weights[1, f] @ x[:, token]
            expected[:, token] += g / (1 + np.exp(-g)) * u * weights[2, f]
    got = swiglu(weights.astype(np.float32), x.astype(np.float32))
    assert np.allclose(got, expected, rtol=1e-4, atol=1e-5)
    assert got.dtype == np.float32
    assert np.allclose(
        swiglu(weights.astype(np.float16), x.astype(np.float32)), expected, rtol=0.05, atol=0.05
    )


def test_the_roofline_is_found_again() -> None:
    rate, flops, fixed = roofline(made_up().experts.float32, 4)
    assert rate == pytest.approx(1e10)
    assert fixed == pytest.approx(30e-6)
    assert flops == pytest.approx(50e9)


def test_a_line_that_starts_below_0_has_no_launches() -> None:
    rate, _, fixed = roofline({(MIB, 1): exactly(1e-4), (2 * MIB, 1): exactly(3e-4)}, 4)
    assert fixed == 0
    assert rate == pytest.approx(np.mean([MIB / 1e-4, 2 * MIB / 3e-4]), rel=0.1)


@pytest.mark.parametrize("larger", [50e-6, 49e-6, 50.1e-6])
def test_an_expert_that_is_all_launches_is_read_no_faster_than_memory_copies(larger: float) -> None:
    times = {(MIB, 1): exactly(50e-6), (2 * MIB, 1): exactly(larger)}
    rate, _, fixed = roofline(times, 2, fastest=4e12)
    assert rate == pytest.approx(4e12)
    assert fixed == pytest.approx(50e-6, rel=0.03)


def test_dram_is_measured_for_each_number_of_threads() -> None:
    found = measure_dram([1, 2], 64 * KIB, repeats=2)
    assert list(found) == [1, 2]
    assert all(s.median > 0 and s.n == 2 for s in found.values())


def test_powers_of_two_and_all_cores() -> None:
    assert [measure_module._powers(n) for n in (1, 2, 6, 8)] == [[1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8]]


def test_copies_take_a_quarter_of_the_free_memory_at_most() -> None:
    system = System("", 64, 2 << 30, 1 << 30, 0)
    assert measure_module._copied(Plan(), system) == (1 << 30) // 512


def test_the_system_says_what_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    here = this_system()
    assert here.cores >= 1
    assert 0 <= here.used_bytes < here.memory_bytes
    monkeypatch.setattr(system_module.Path, "read_text", _no_file)
    monkeypatch.delattr(system_module.os, "sched_getaffinity", raising=False)
    there = this_system()
    assert there.virtual is None
    assert there.used_bytes == 0
    assert there.processor


@pytest.mark.parametrize(
    ("flags", "kind"),
    [
        ("flags: fpu hypervisor sse", "a virtual machine"),
        ("flags: fpu sse", "no virtual machine, as far as the processor says"),
        ("Features: fp asimd", "virtual or not: not known"),
    ],
)
def test_the_processor_says_whether_it_is_virtual(
    monkeypatch: pytest.MonkeyPatch, flags: str, kind: str
) -> None:
    monkeypatch.setattr(system_module.Path, "read_text", lambda *_, **__: flags)
    monkeypatch.setattr(os, "sysconf", lambda _: 1)
    assert this_system().kind == kind


def test_dense_work_is_one_product_after_another_scaled_at_the_end() -> None:
    matrices = np.random.default_rng(0).standard_normal((DENSE_MATRICES, 3, 3))
    x = np.array([[1.0], [2.0], [-1.0]])
    a, b, c, d = matrices
    expected = d @ (c @ (b @ (a @ x)))
    assert np.allclose(products(matrices, x), expected)
    assert np.allclose(dense_layer(matrices, x), expected / np.abs(expected).max())
