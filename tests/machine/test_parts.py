"""Machines of parts: numbers by hand, the ways to write one, and what is wrong with one."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import simulator as moesim
from simulator.data import folder
from simulator.errors import InputError
from simulator.machine.catalogue import KINDS, Gpu, Host, Part, Sourced, catalogue
from simulator.machine.detect import card, closest, detect
from simulator.machine.hardware import HardwareProfile, load_hardware
from simulator.machine.parts import as_text, compose
from tests.command_line import moesim as command
from tests.places import WHOLE_PROFILE

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
    assert machine.links["cpu_to_gpu"].bandwidth.value == 51 * 10**9 // 2  # 16 lanes reach 51 GB/s
    assert machine.links["gpu_to_cpu"].bandwidth.value == machine.links["cpu_to_gpu"].bandwidth.value
    assert machine.links["ssd_to_cpu"].bandwidth.value == 7.27e9
    assert machine.compute.cpu.flops.value == 25 * 10**11  # 8 cores x 4.8 GHz x 64 FLOP a cycle, two digits


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
    assert old.links["cpu_to_gpu"].bandwidth.value == 123 * 10**8
    assert "ssd_to_cpu" not in old.links


def test_every_part_of_the_catalogue_makes_a_machine() -> None:
    for name, gpu in catalogue("gpu").items():
        assert isinstance(gpu, Gpu)
        host = "grace" if gpu.slot == "nvlink-c2c" else "ryzen-9700x"
        assert isinstance(compose(f"gpu={name}, host={host}, memory=64GB"), HardwareProfile)
    for name, host_part in catalogue("host").items():
        assert isinstance(host_part, Host)
        for memory in host_part.memory:
            compose(f"host={name}, memory=64GB {memory}, drive=gen4-nvme")
    for name in catalogue("machine"):
        assert compose(f"machine={name}, drive=gen4-nvme").tiers.names == ("gpu", "ssd")
    for name in catalogue("drive"):
        compose(f"host=ryzen-9700x, memory=64GB, drive={name}")


def numbers_of(part: Part) -> list[Sourced[Any]]:
    return [value for key in type(part).model_fields if isinstance(value := getattr(part, key), Sourced)]


def test_parts_have_names_of_their_own_and_sources() -> None:
    names = [name for kind in KINDS for name in catalogue(kind)]
    assert len(set(names)) == len(names) > 250
    for kind in KINDS:
        for part in catalogue(kind).values():
            assert numbers_of(part)
            for number in numbers_of(part):
                assert len(number.source) > 6
                assert not (number.measured and "recalled" in number.source)


def test_fewer_lanes_have_their_part_of_what_sixteen_reach() -> None:
    """A link's rates are data; the rule that they follow is here."""
    links = yaml.safe_load((folder("hardware_parts") / "links.yaml").read_text())
    for generation in (3, 4, 5):
        full = float(links[f"pcie{generation}-x16"]["bandwidth"].split()[0])
        for lanes in (1, 2, 4, 8):
            rate = links[f"pcie{generation}-x{lanes}"]["bandwidth"]
            assert float(rate.removesuffix(" MB/s")) == pytest.approx(1000 * full * lanes / 16, rel=1e-5)


def test_bundled_machines_of_parts_have_the_numbers_that_they_had_before() -> None:
    """The table was written when each number was spelled out in each profile; ``!`` is measured."""
    with (Path(__file__).parent / "numbers_of_profiles.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            profile = load_hardware(row.pop("profile")).model_dump(mode="json", exclude_none=True)
            for key, was in row.items():
                number: Any = profile
                for step in key.split("."):
                    number = number.get(step, {})
                found = f"{number['value']}{'!' if number['measured'] else ''}" if number else ""
                assert found == was, (profile["name"], key)


def test_a_machine_of_parts_is_the_machine_whose_numbers_are_spelled_out() -> None:
    def bare(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: bare(inner) for key, inner in value.items() if key != "source"}

    whole, parts = load_hardware(str(WHOLE_PROFILE)), load_hardware("rtx4090-pcie4")
    assert bare(whole.model_dump()) == bare(parts.model_dump())


def test_several_cards_are_one_with_the_memory_of_all_and_that_is_said() -> None:
    two = compose(as_text(PARTS | {"gpus": 2}))
    one = compose(as_text(PARTS))
    assert two.tiers.gpu is not None
    assert one.tiers.gpu is not None
    assert two.tiers.gpu.capacity.value == 2 * one.tiers.gpu.capacity.value
    assert two.compute.gpu == one.compute.gpu
    assert one.doubts == []
    assert "layers are split over the cards" in two.doubts[0]


def test_a_file_of_parts_overrides_single_numbers(tmp_path: Path) -> None:
    mine = {"value": "20 GB/s", "source": "bandwidthTest", "measured": True}
    said = {"name": "mine", "title": "Mine", "parts": PARTS, "override": {"links.cpu_to_gpu.bandwidth": mine}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(said))
    machine = load_hardware(str(tmp_path / "mine.yaml"))
    up, down = machine.links["cpu_to_gpu"].bandwidth, machine.links["gpu_to_cpu"].bandwidth
    assert (up.value, up.measured) == (20 * 10**9, True)
    assert (down.value, down.measured) == (20 * 10**9, False)  # as the other way, which nobody measured
    said["override"] = {"links.cpu_to_gpu.bandwith": mine}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(said))
    with pytest.raises(InputError, match="bandwith: unknown key; did you mean"):
        load_hardware(str(tmp_path / "mine.yaml"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"gpu": "rtx-5060-ti"},
            "gpu: unknown part 'rtx-5060-ti'; did you mean rtx-5060-ti-8gb or rtx-5060-ti-16gb?",
        ),
        ({"host": "ryzen-9700"}, "host: unknown part 'ryzen-9700'; did you mean 'ryzen-9700x'?"),
        ({"memory": "64 gigs"}, "memory: '64 gigs' has the unit 'gigs'; allowed: GB, GiB, TB, TiB"),
        ({"memory": "0x32GB DDR5-6000"}, "memory: '0x32GB DDR5-6000'; modules x size, kind and rate"),
        ({"memory": "2x32GB DDR5-60"}, "no DDR5-60 is sold; DDR5 has 3200 to 10000 MT/s"),
        ({"memory": "2x32GB DDR6-6000"}, "has the kind 'DDR6'; did you mean 'DDR5'?"),
        ({"memory": "2x32GB DDR4-3200"}, "memory: ryzen-9700x takes no DDR4; it takes DDR5-5600"),
        ({"link": "pcie6-x16"}, "link: unknown part 'pcie6-x16'; did you mean 'pcie"),
        ({"link": "pcie5-x16"}, "link: is pcie5-x16; rtx-5060-ti-16gb has PCIe 5.0 x8 at most"),
        ({"gpus": 9}, "gpus: is 9; 1 to 8: layers are split over them"),
        ({"machine": "apple-m4"}, "gpu: goes without a machine"),
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
    (root / "sys/block/nvme0n1/device/device").mkdir(parents=True)
    (root / "sys/block/nvme0n1/device/device/current_link_speed").write_text("16.0 GT/s PCIe\n")
    (root / "sys/devices/system/edac/mc/mc0/dimm0").mkdir(parents=True)
    (root / "sys/devices/system/edac/mc/mc0/dimm0/dimm_mem_type").write_text("Unbuffered-DDR5\n")
    found = detect(root, ["NVIDIA GeForce RTX 4060 Ti, 16380, 4, 8"] * 2)
    assert found.parts == {
        "gpu": "rtx-4060-ti-16gb", "gpus": 2, "link": "pcie4-x8", "host": "ryzen-9700x", "drive": "gen4-nvme"
    }  # fmt: skip
    (line,) = found.unknown
    assert line.startswith("memory: 64GB; 1 modules of DDR5; its rate needs root")


def test_what_cannot_be_told_is_said_and_not_guessed(tmp_path: Path) -> None:
    found = detect(tmp_path, [])
    assert found.parts == {}
    assert [line.partition(":")[0] for line in found.unknown] == ["gpu", "host", "memory", "drive"]
    device = tmp_path / "sys/bus/pci/devices/0000:03:00.0"
    device.mkdir(parents=True)
    for name, text in {"class": "0x030000", "vendor": "0x1002", "device": "0x744c",
                       "mem_info_vram_total": str(24 * 2**30), "max_link_speed": "16.0 GT/s PCIe",
                       "max_link_width": "16"}.items():  # fmt: skip
        (device / name).write_text(text + "\n")
    (said,) = [line for line in detect(tmp_path, []).unknown if line.startswith("gpu")]
    assert said.startswith("gpu: AMD card 1002:744c of 24 GB at pcie4-x16; the system does not say its name")


@pytest.mark.parametrize(
    ("name", "mib", "part"),
    [
        ("NVIDIA GeForce RTX 4090", 24564, "rtx-4090"),
        ("NVIDIA GeForce RTX 4090", 49140, "rtx-4090-48gb"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", 16376, "rtx-4090-laptop"),
        ("NVIDIA GeForce RTX 4060 Ti", 8188, "rtx-4060-ti-8gb"),
        ("NVIDIA GeForce GTX 1060", 6144, None),
        ("NVIDIA H200", 143771, "h200"),
        ("NVIDIA H100 80GB HBM3", 81559, "h100-sxm"),
        ("NVIDIA A100-SXM4-80GB", 81920, "a100-80gb-sxm"),
        ("NVIDIA A100-PCIE-40GB", 40960, "a100-40gb"),
        ("Tesla T4", 15360, "t4"),
        ("NVIDIA RTX 6000 Ada Generation", 49140, "rtx-6000-ada"),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", 97887, "rtx-pro-6000"),
    ],
)
def test_cards_by_the_names_that_the_driver_gives(name: str, mib: int, part: str | None) -> None:
    assert card(name, mib) == part


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("13th Gen Intel(R) Core(TM) i9-13900K", "i9-13900k"),
        ("Intel(R) Xeon(R) CPU E5-2650 v4 @ 2.20GHz", "xeon-e5-2650v4"),
        ("INTEL(R) XEON(R) PLATINUM 8592+", "xeon-8592"),
        ("AMD EPYC 9654 96-Core Processor", "epyc-9654"),
        ("Intel(R) Core(TM) Ultra 7 265K", "ultra-7-265k"),
        ("AMD Ryzen AI 9 HX 370 w/ Radeon 890M", "ryzen-ai-9-hx-370"),
        ("Intel(R) Xeon(R) Processor", None),
    ],
)
def test_hosts_by_the_names_that_the_system_gives(name: str, part: str | None) -> None:
    assert closest(name, catalogue("host")) == part


def test_detecting_works_wherever_it_runs(tmp_path: Path) -> None:
    done = command(tmp_path, "hardware", "detect", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout).keys() == {"hardware", "unknown"}
