"""Machines of parts: numbers by hand, the ways to write one, and what is wrong with one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import simulator as moesim
from simulator.errors import InputError
from simulator.machine.detect import closest, detect
from simulator.machine.hardware import HardwareProfile
from simulator.machine.parts import LINK, as_text, compose, drives, gpus, hosts
from tests.command_line import moesim as command

PARTS = {"gpu": "rtx-5060-ti-16gb", "gpus": 1, "host": "ryzen-9700x", "memory": "2x32GB DDR5-6000",
         "link": "pcie5-x8", "drive": "gen4-nvme"}  # fmt: skip
RUN: dict[str, Any] = {"name": "t", "model": "olmoe-1b-7b", "trace": "olmoe-mini", "software": "ideal",
                       "workload": {"max_sequences": 1, "max_decode_tokens": 3},
                       "memory": {"gpu_expert_cache": {"fraction": 0.5}}}  # fmt: skip


def test_numbers_by_hand() -> None:
    machine = compose(as_text(PARTS))
    assert machine.compute.gpu is not None
    assert machine.compute.cpu is not None
    assert machine.tiers.gpu is not None
    assert machine.tiers.cpu is not None
    assert machine.compute.gpu.memory_bandwidth.value == 448 * 10**9
    assert machine.tiers.gpu.capacity.value == 16 * 2**30
    assert machine.tiers.cpu.capacity.value == 64 * 2**30
    assert machine.compute.cpu.memory_bandwidth.value == 2 * 8 * 6000 * 10**6  # two channels of eight bytes
    assert machine.tiers.cpu.bandwidth.value == 2 * 8 * 6000 * 10**6 * 3 // 4
    assert machine.links["cpu_to_gpu"].bandwidth.value == pytest.approx(8 * 3.938e9 * 0.797)
    assert machine.links["ssd_to_cpu"].bandwidth.value == 7.27e9
    assert machine.compute.cpu.flops.value == pytest.approx(8 * 5.3e9 * 64)


def test_no_number_of_parts_is_measured_and_each_has_a_source() -> None:
    profile = compose(as_text(PARTS)).model_dump()

    def numbers(value: Any) -> list[dict[str, Any]]:
        if not isinstance(value, dict):
            return []
        return [value] if "measured" in value else [n for inner in value.values() for n in numbers(inner)]

    assert len(numbers(profile)) > 20
    assert not any(number["measured"] for number in numbers(profile))
    assert all(len(number["source"]) > 6 for number in numbers(profile))


@pytest.mark.parametrize(
    ("text", "gib", "channels"),
    [
        ("2x32GB DDR5-6000", 64, 2),
        ("64GB DDR5-6000", 64, 2),
        ("1x16 GB DDR5-6000", 16, 1),
        ("4x16GiB ddr5 6000", 64, 2),
    ],
)
def test_memory_in_any_dress(text: str, gib: int, channels: int) -> None:
    machine = compose(as_text(PARTS | {"memory": text}))
    assert machine.tiers.cpu is not None
    assert machine.compute.cpu is not None
    assert machine.tiers.cpu.capacity.value == gib * 2**30
    assert machine.compute.cpu.memory_bandwidth.value == channels * 48 * 10**9


def test_a_link_is_what_gpu_and_host_both_have() -> None:
    old = compose("gpu=rtx-5090, host=xeon-e5-2650v4, memory=4x16GB DDR4-2400")
    assert old.links["cpu_to_gpu"].bandwidth.value == pytest.approx(16 * 0.985e9 * 0.797)
    assert "ssd_to_cpu" not in old.links


def test_every_part_of_the_catalogue_makes_a_machine() -> None:
    for gpu in gpus():
        assert LINK.fullmatch(gpus()[gpu].link)
        assert isinstance(compose(f"gpu={gpu}, host=ryzen-9700x, memory=64GB DDR5-6000"), HardwareProfile)
    for host in hosts():
        compose(f"gpu=rtx-4090, host={host}, memory=64GB DDR5-6000")
    for drive in drives():
        compose(f"gpu=rtx-4090, host=ryzen-9700x, memory=64GB DDR5-6000, drive={drive}")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"gpu": "rtx-5060-ti"},
            "gpu: unknown part 'rtx-5060-ti'; did you mean rtx-5060-ti-8gb or rtx-5060-ti-16gb?",
        ),
        ({"host": "ryzen-9700"}, "host: unknown part 'ryzen-9700'; did you mean 'ryzen-9700x'?"),
        ({"memory": "64 gigs"}, "memory: '64 gigs'; modules x size, kind and rate: 2x32GB DDR5-6000"),
        ({"memory": "0x32GB DDR5-6000"}, "memory: '0x32GB DDR5-6000'"),
        ({"memory": "2x32GB DDR5-60"}, "memory: '2x32GB DDR5-60'"),
        ({"link": "pcie6-x16"}, "link: 'pcie6-x16'; pcie3, pcie4 or pcie5 and lanes"),
        ({"gpus": 2}, "gpus: is 2; 1: experts on several GPUs are not modelled"),
        ({"drive": "floppy"}, "drive: unknown part 'floppy'"),
        ({"cpu": "x"}, "cpu: unknown part"),
        ({"gpu": None}, "gpu: is None"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(change: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        moesim.load_experiment(RUN | {"hardware": PARTS | change})
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_machine_of_parts_is_swept_like_any_other(tmp_path: Path) -> None:
    both = RUN | {"sweep": {"grid": {"hardware": ["rtx4090-pcie4", PARTS]}}}
    found = moesim.sweep(both, out=tmp_path / "a", progress=False).summary
    name = "rtx-5060-ti-16gb + ryzen-9700x + 2x32GB DDR5-6000 + pcie5-x8 + gen4-nvme"
    assert list(found["hardware"]) == ["rtx4090-pcie4", name]
    assert list(found["hardware_measured"]) == ["false", "false"]
    again = yaml.safe_load_all((tmp_path / "a" / "config.resolved.yaml").read_text())
    config = [*again][1]
    assert moesim.run(config).summary["tokens_per_second"].item() == found["tokens_per_second"][1]


def test_a_machine_can_be_shown_and_used_as_a_file(tmp_path: Path) -> None:
    done = command(tmp_path, "hardware", "show", "gpu=rtx-4070, host=ryzen-7600, memory=2x32GB DDR5-6000")
    assert done.returncode == 0, done.stderr
    (tmp_path / "mine.yaml").write_text(done.stdout)
    text = "gpu=rtx-4070, host=ryzen-7600, memory=2x32GB DDR5-6000"
    speeds = [
        moesim.run(RUN | {"hardware": h}).summary["tokens_per_second"].item()
        for h in (str(tmp_path / "mine.yaml"), text)
    ]
    assert speeds[0] == speeds[1]


def system(root: Path, cpu: str, kib: int, block: str) -> Path:
    (root / "proc").mkdir()
    (root / "sys/block" / block).mkdir(parents=True)
    (root / "proc/cpuinfo").write_text(f"processor\t: 0\nmodel name\t: {cpu}\n")
    (root / "proc/meminfo").write_text(f"MemTotal:       {kib} kB\n")
    return root


def test_the_parts_of_a_machine_are_detected(tmp_path: Path) -> None:
    root = system(tmp_path, "AMD Ryzen 7 9700X 8-Core Processor", 64 * 2**20 - 900_000, "nvme0n1")
    found = detect(root, ["NVIDIA GeForce RTX 4060 Ti, 4, 8"])
    assert found.parts["host"] == "ryzen-9700x"
    assert found.parts["link"] == "pcie4-x8"
    assert any("memory: 64GB; its kind and rate need root" in line for line in found.unknown)
    assert any("drive: an NVMe drive" in line for line in found.unknown)


def test_what_cannot_be_told_is_said_and_not_guessed(tmp_path: Path) -> None:
    found = detect(tmp_path, [])
    assert found.parts == {}
    assert [line.partition(":")[0] for line in found.unknown] == ["gpu", "host", "memory", "drive"]
    names = {key: gpu.title for key, gpu in gpus().items()}
    assert closest("NVIDIA GeForce RTX 4090", names) == "rtx-4090"
    assert closest("NVIDIA GeForce RTX 4090 Laptop GPU", names) == "rtx-4090-laptop"
    assert closest("NVIDIA GeForce GTX 1060", names) is None
    assert closest("NVIDIA H200", names) == "h200"


def test_detecting_works_wherever_it_runs(tmp_path: Path) -> None:
    done = command(tmp_path, "hardware", "detect", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout).keys() == {"hardware", "unknown"}
