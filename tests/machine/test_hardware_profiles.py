"""Every profile loads, says where its numbers are from, and stays within what is physically sensible."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from simulator.config.yaml_file import read_yaml, validate_mapping
from simulator.data import folder, names
from simulator.errors import InputError
from simulator.machine.hardware import HardwareProfile, Sourced, load_hardware
from tests.places import SHARED, WHOLE_PROFILE

GB = 10**9
WANTED = [
    "a100-80gb-pcie4",
    "a5000-pcie4",
    "a6000-pcie4",
    "a6000-xeon5220r-pcie3",
    "h200-pcie5",
    "i9-14900k-ssd",
    "jetson-agx-orin-32gb",
    "jetson-tx2-ssd",
    "l4-pcie3",
    "mi210x2",
    "oneplus-15r",
    "quadro-rtx6000-pcie3",
    "rtx2080-i9-10900x-pcie3",
    "rtx2080ti-pcie3",
    "rtx3060-12gb-pcie4",
    "rtx3060-e5-2650v4-pcie3",
    "rtx3080-mobile-pcie4",
    "rtx3090-i5-12400f-x4",
    "rtx3090-pcie4",
    "rtx3090x2-one-channel-pcie4",
    "rtx3090x2-pcie4",
    "rtx4070-5600x-pcie4",
    "rtx4070-wsl2",
    "rtx4090-64gb-pcie4",
    "rtx4090-7950x-pcie4",
    "rtx4090-i9-14900k-pcie4",
    "rtx4090-pcie4",
    "rtx5090-9850x3d-ssd",
    "rtx5090-epyc9355-pcie5",
    "rtx5090-pcie5",
    "rtx6000ada-i5-12400f-pcie4",
    "rtx6000ada-x2-pcie4",
    "rtx6000ada-xeon8480-pcie4",
    "rx7900xtx-pcie4",
    "ryzen-5700g-40gb",
    "strix-halo-128gb",
    "t4-pcie3",
]


def numbers(part: object) -> Iterator[Sourced[Any]]:
    if isinstance(part, Sourced):
        yield part
    elif isinstance(part, BaseModel):
        for name in type(part).model_fields:
            yield from numbers(getattr(part, name))
    elif isinstance(part, dict):
        for value in part.values():
            yield from numbers(value)


def test_all_profiles_are_there() -> None:
    assert list(names("hardware_profiles")) == WANTED


@pytest.mark.parametrize("name", WANTED)
def test_profile_is_complete_and_sensible(name: str) -> None:
    profile = load_hardware(name)
    assert profile.name == name
    sourced = list(numbers(profile))
    assert len(sourced) >= 11
    assert all(len(number.source) >= 7 for number in sourced)
    unit = profile.main_unit
    assert 0.1 < unit.effective_flops_per_s / 1e12 < 2000
    assert 5 * GB <= unit.effective_bytes_per_s <= unit.memory_bandwidth.value <= 5000 * GB
    assert unit.launch.value <= 50_000
    for link in profile.links.values():
        assert GB / 2 <= link.bandwidth.value <= 60 * GB
        assert link.latency.value <= 1_000_000
    if profile.tiers.cpu is not None and profile.tiers.gpu is not None:
        assert profile.compute.cpu is not None
        assert profile.compute.cpu.effective_bytes_per_s <= profile.tiers.cpu.bandwidth.value
        assert profile.tiers.cpu.capacity.value > profile.tiers.gpu.capacity.value


def test_pcie_generations() -> None:
    limits = {"pcie3": (11, 13.1), "pcie4": (23, 26.5), "pcie5": (48, 54)}
    for name in WANTED:
        for generation, (low, high) in limits.items():
            if name.endswith(generation):
                assert low * GB <= load_hardware(name).links["cpu_to_gpu"].bandwidth.value <= high * GB


def test_only_what_was_measured_says_so() -> None:
    measured = {name for name in WANTED if any(number.measured for number in numbers(load_hardware(name)))}
    assert measured == {"oneplus-15r", "rtx5090-pcie5", "strix-halo-128gb"}


def test_tiers_and_main_units() -> None:
    assert load_hardware("rtx4090-pcie4").tiers.names == ("gpu", "cpu", "ssd")
    assert load_hardware("jetson-agx-orin-32gb").tiers.names == ("gpu", "ssd")
    phone = load_hardware("oneplus-15r")
    assert (phone.tiers.names, phone.main) == (("cpu", "ssd"), "cpu")


def test_the_phone_computes_a_qwen_token_in_the_time_that_was_recorded() -> None:
    path = SHARED / "traces" / "bigmoe" / "qwen.route.csv"
    if not path.exists():
        pytest.skip(f"{path} is not here: it is not shipped (licence and size)")
    rows = re.findall(r"expert_bytes=(\d+) dense_bytes=(\d+)", path.read_text()[:20_000])
    n_bytes = sum(int(dense) + 6 * int(expert) for expert, dense in rows)
    assert n_bytes == 1_390_067_712
    assert n_bytes / load_hardware("oneplus-15r").main_unit.effective_bytes_per_s == pytest.approx(
        0.114, rel=1e-5
    )


def test_efficiencies_are_exact() -> None:
    unit = load_hardware("rtx4090-pcie4").main_unit
    assert unit.effective_flops_per_s == 82_600_000_000_000
    assert unit.effective_bytes_per_s == 806_400_000_000


def test_a_profile_survives_being_written() -> None:
    profile = load_hardware("oneplus-15r")
    assert (
        validate_mapping(profile.model_dump(mode="json", exclude_none=True), HardwareProfile, "again")
        == profile
    )


Data = dict[str, Any]


def number(value: object) -> Data:
    return {"value": value, "source": "a test", "measured": False}


def rename(data: Data) -> None:
    data["links"]["ssd_to_gpu"] = data["links"].pop("ssd_to_cpu")


FAULTS: list[tuple[Callable[[Data], object], str]] = [
    (
        lambda d: d["links"]["cpu_to_gpu"].update(bandwith=1),
        "links.cpu_to_gpu.bandwith: unknown key; did you mean",
    ),
    (
        lambda d: d["links"]["cpu_to_gpu"]["bandwidth"].update(value="25 GB"),
        "wrong unit 'GB' ('25 GB'); did you mean",
    ),
    (lambda d: d["links"]["cpu_to_gpu"]["bandwidth"].update(value="0 GB/s"), "cpu_to_gpu: bandwidth is 0"),
    (
        lambda d: d["links"]["cpu_to_gpu"].update(bandwidth="25 GB/s"),
        "not a mapping ('25 GB/s'); its keys: measured",
    ),
    (lambda d: d["links"]["cpu_to_gpu"]["bandwidth"].pop("source"), "bandwidth.source: missing key"),
    (lambda d: d["links"]["cpu_to_gpu"]["latency"].pop("measured"), "latency.measured: missing key"),
    (
        lambda d: d["links"]["cpu_to_gpu"].update(lane_bandwidth=number("99 GB/s")),
        "lane_bandwidth is above bandwidth",
    ),
    (
        lambda d: d["links"]["cpu_to_gpu"].update(lanes=number(0)),
        "lanes.value: input should be greater than 0",
    ),
    (
        lambda d: d["links"]["cpu_to_gpu"].update(host_memory="pageable"),
        "host_copy_bandwidth and host_memory disagree",
    ),
    (lambda d: d["links"]["cpu_to_gpu"].update(host_memory="pined"), "did you mean 'pinned'?"),
    (lambda d: d["links"]["cpu_to_gpu"].update(table=number([])), "table is empty"),
    (
        lambda d: d["links"].pop("gpu_to_cpu"),
        "link gpu_to_cpu is missing; links are cpu_to_gpu, gpu_to_cpu, ssd_to_cpu",
    ),
    (lambda d: d["links"].update(cpu_to_ssd={}), "links.cpu_to_ssd: not allowed"),
    (rename, "link ssd_to_gpu joins no neighbouring tiers of gpu, cpu, ssd"),
    (lambda d: d.update(main="cpu"), "tiers are gpu, cpu, ssd and main is cpu"),
    (lambda d: d["compute"].pop("cpu"), "compute.cpu and tiers.cpu go together"),
    (lambda d: d["tiers"]["gpu"]["reserved"].update(value="24 GiB"), "tiers.gpu: reserved"),
    (
        lambda d: d["tiers"]["gpu"]["capacity"].update(value="-1 GiB"),
        "negative ('-1 GiB'); a size is 0 or more",
    ),
    (lambda d: d["compute"]["gpu"]["compute_efficiency"].update(value=1.5), "less than or equal to 1 (1.5)"),
]


@pytest.mark.parametrize(("change", "says"), FAULTS, ids=[says for _, says in FAULTS])
def test_faults(change: Callable[[Data], object], says: str) -> None:
    document = read_yaml(WHOLE_PROFILE)
    data = copy.deepcopy(document.data)
    change(data)
    with pytest.raises(InputError) as caught:
        validate_mapping(data, HardwareProfile, "p.yaml", document.lines)
    assert says in str(caught.value)


def test_a_measured_table_is_read() -> None:
    data = read_yaml(folder("hardware_profiles") / "oneplus-15r.yaml").data
    rows = [
        {"block": "128 KiB", "lanes": 2, "bandwidth": "0.95 GiB/s"},
        {"block": "4 MiB", "lanes": 2, "bandwidth": "2.46 GiB/s"},
    ]
    data["links"]["ssd_to_cpu"]["table"] = number(rows)
    table = validate_mapping(data, HardwareProfile, "p").links["ssd_to_cpu"].table
    assert table is not None
    assert table.value[1].bandwidth == 2_641_404_887
