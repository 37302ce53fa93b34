"""Machines of parts: a GPU, a host, its memory, the link between them and a drive, as one hardware profile.

A part has the numbers of its data sheet. What software reaches of them is one share for all machines
(hardware_parts/rules.yaml). So nothing of such a machine is measured.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from simulator import data
from simulator.config.yaml_file import read_yaml
from simulator.errors import InputError, did_you_mean
from simulator.machine.hardware import HardwareProfile

KEYS = ("gpu", "host", "memory", "link", "drive", "gpus")
NEEDED = ("gpu", "host", "memory")
SERVER_CHANNELS = 6
"""From so many channels on, experts on the CPU reach a server's share of the memory's bandwidth."""
LANE_GB_PER_S = {3: 0.985, 4: 1.969, 5: 3.938}
"""PCIe: raw rate of a lane one way, by generation, after coding."""
MEMORY = re.compile(
    r"\s*(?:(?P<n>[0-9]{1,2})\s*x\s*)?(?P<size>[0-9]{1,5})\s*(?P<unit>GB|GiB|TB|TiB)?"
    r"\s+(?P<kind>LPDDR[45]X?|DDR[345])[- ]?(?P<rate>[0-9]{3,5})\s*",
    re.IGNORECASE,
)
LINK = re.compile(r"pcie([345])-x(1|4|8|16)")
Positive = Annotated[float, Field(gt=0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Gpu(_Part):
    """A GPU, by its data sheet; ``link`` is the widest and fastest that it has."""

    title: str
    tflops: Positive
    gb_per_s: Positive
    gib: Positive
    link: str


class Host(_Part):
    """A CPU, by its data sheet; ``pcie`` is the generation of its slots."""

    title: str
    cores: Annotated[int, Field(gt=0)]
    ghz: Positive
    flop_per_cycle: Annotated[int, Field(gt=0)]
    channels: Annotated[int, Field(gt=0)]
    pcie: Annotated[int, Field(ge=3, le=5)]


class Drive(_Part):
    """A drive: sequential reads, and the delay of one."""

    title: str
    gb_per_s: Positive
    us: Positive
    tb: Positive
    source: str


class Rule(_Part):
    """A number that holds for all machines of parts."""

    value: float
    source: str


@cache
def catalogue(kind: str, part: type[_Part]) -> dict[str, Any]:
    """Return the parts of a file of hardware_parts/ by name."""
    document = read_yaml(data.folder("hardware_parts") / f"{kind}.yaml")
    return TypeAdapter(dict[str, part]).validate_python(document.data)  # type: ignore[valid-type]  # a class


def gpus() -> dict[str, Gpu]:
    """Return all GPUs by name."""
    return catalogue("gpus", Gpu)


def hosts() -> dict[str, Host]:
    """Return all hosts by name."""
    return catalogue("hosts", Host)


def drives() -> dict[str, Drive]:
    """Return all drives by name."""
    return catalogue("drives", Drive)


def as_text(parts: Mapping[str, Any], where: str = "hardware") -> str:
    """Return parts as the one text that names the machine: ``gpu=..., host=..., memory=...``.

    Errors: InputError (a part that is unknown, or missing).
    """
    for key, value in parts.items():
        if key not in KEYS:
            raise InputError(f"{where}.{key}", "unknown part", did_you_mean(str(key), KEYS))
        if isinstance(value, bool) or not isinstance(value, (str, int)) or not str(value).strip():
            raise InputError(
                f"{where}.{key}", f"is {value!r:.60}", "a name of moesim list parts, or as 2x32GB DDR5-6000"
            )
    text = ", ".join(f"{key}={parts[key]}" for key in KEYS if key in parts)
    compose(text, where)
    return text


def is_parts(text: str) -> bool:
    """Return whether a text names a machine by its parts."""
    return bool(re.match(rf"\s*({'|'.join(KEYS)})\s*=", text))


def compose(text: str, where: str = "hardware") -> HardwareProfile:
    """Return the machine that ``gpu=NAME, host=NAME, memory=2x32GB DDR5-6000, ...`` names.

    ``link`` is the GPU's own, as far as the host has it, and ``drive`` may be left out. Errors: InputError.
    """
    parts = _split(text, where)
    for key in NEEDED:
        if key not in parts:
            raise InputError(f"{where}.{key}", "missing", "a machine of parts has gpu, host and memory")
    if parts.get("gpus", "1") != "1":
        raise InputError(
            f"{where}.gpus", f"is {parts['gpus']}", "1: experts on several GPUs are not modelled"
        )
    gpu, host = _named(gpus(), parts["gpu"], f"{where}.gpu"), _named(hosts(), parts["host"], f"{where}.host")
    memory = _memory(parts["memory"], host, f"{where}.memory")
    link = _link(parts.get("link"), gpu, host, f"{where}.link")
    drive = _named(drives(), parts["drive"], f"{where}.drive") if "drive" in parts else None
    return HardwareProfile.model_validate(_profile(text, parts, gpu, host, memory, link, drive))


def _split(text: str, where: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    for piece in text.split(","):
        key, equals, value = piece.partition("=")
        key = key.strip()
        if not equals or key not in KEYS or not value.strip():
            hint = did_you_mean(key, KEYS) if equals else "gpu=NAME, host=NAME, memory=2x32GB DDR5-6000"
            raise InputError(where, f"'{piece.strip()[:60]}' is no part", hint)
        if key in parts:
            raise InputError(f"{where}.{key}", "twice", "each part once")
        parts[key] = value.strip()
    return parts


def _named(parts: Mapping[str, Any], name: str, where: str) -> Any:
    sizes = [part for part in parts if part.startswith(f"{name.lower()}-")]
    if name.lower() not in parts and sizes:
        raise InputError(where, f"unknown part '{name[:60]}'", f"did you mean {' or '.join(sizes[:4])}?")
    if name.lower() not in parts:
        raise InputError(
            where, f"unknown part '{name[:60]}'", f"{did_you_mean(name.lower(), parts)} (moesim list parts)"
        )
    return parts[name.lower()]


def _memory(text: str, host: Host, where: str) -> dict[str, Any]:
    """Return capacity (GiB), channels and bandwidth (GB/s) of memory such as ``2x32GB DDR5-6000``."""
    match = MEMORY.fullmatch(text)
    if match is None:
        raise InputError(
            where, f"'{text[:60]}'", "modules x size, kind and rate: 2x32GB DDR5-6000, or 64GB DDR4-3200"
        )
    modules = int(match["n"]) if match["n"] else 0
    size = int(match["size"]) * (1024 if (match["unit"] or "GB").upper().startswith("T") else 1)
    rate = int(match["rate"])
    if not 800 <= rate <= 12800 or size == 0 or match["n"] == "0":
        raise InputError(where, f"'{text[:60]}'", "a rate from 800 to 12800 MT/s, and some memory")
    channels = min(host.channels, modules) if modules else host.channels
    return {
        "gib": size * (modules or 1),
        "channels": channels,
        "gb_per_s": channels * 8 * rate / 1000,
        "kind": f"{match['kind'].upper()}-{rate}",
    }


def _link(text: str | None, gpu: Gpu, host: Host, where: str) -> tuple[int, int]:
    """Return generation and lanes: as said, else the GPU's own as far as the host has it."""
    match = LINK.fullmatch((text or gpu.link).lower())
    if match is None:
        raise InputError(where, f"'{text}'", "pcie3, pcie4 or pcie5 and lanes, such as pcie4-x16")
    generation, lanes = int(match[1]), int(match[2])
    return (generation, lanes) if text else (min(generation, host.pcie), lanes)


def _profile(
    text: str,
    parts: Mapping[str, str],
    gpu: Gpu,
    host: Host,
    memory: Mapping[str, Any],
    link: tuple[int, int],
    drive: Drive | None,
) -> dict[str, Any]:
    rules: dict[str, Rule] = catalogue("rules", Rule)

    def ruled(name: str, unit: str = "", factor: float = 1) -> dict[str, Any]:
        value = rules[name].value * factor
        return {
            "value": f"{value:g} {unit}" if unit else value,
            "source": rules[name].source,
            "measured": False,
        }

    def said(value: float, unit: str, source: str) -> dict[str, Any]:
        return {"value": f"{value:.10g} {unit}", "source": source, "measured": False}

    sheet = "data sheet, recalled (hardware_parts)"
    flops = host.cores * host.ghz * host.flop_per_cycle
    of_host = f"{host.cores} cores x {host.ghz:g} GHz x {host.flop_per_cycle} fp32 FLOP a cycle"
    of_memory = f"derived: {memory['channels']} channels of {memory['kind']}"
    expert = "server_expert_efficiency" if host.channels >= SERVER_CHANNELS else "cpu_expert_efficiency"
    share = rules["link_share"].value
    rate = LANE_GB_PER_S[link[0]] * link[1] * share
    wire = {
        "bandwidth": said(
            rate, "GB/s", f"derived: {share:g} of PCIe {link[0]}.0 x{link[1]}; {rules['link_share'].source}"
        ),
        "latency": ruled("link_us", "us"),
        "chunk": said(1, "MiB", "assumed: how much is handed to the copy engine at once"),
        "host_memory": "pinned",
        "reads_dram": True,
    }
    tiers: dict[str, Any] = {
        "gpu": {"capacity": said(gpu.gib, "GiB", sheet), "reserved": ruled("gpu_reserved_gib", "GiB")},
        "cpu": {
            "capacity": said(memory["gib"], "GiB", f"as said: {parts['memory']}"),
            "reserved": ruled("cpu_reserved_gib", "GiB"),
            "bandwidth": said(
                memory["gb_per_s"] * rules["dram_share"].value, "GB/s", rules["dram_share"].source
            ),
        },
    }
    links: dict[str, Any] = {"cpu_to_gpu": wire, "gpu_to_cpu": wire}
    if drive is not None:
        tiers["ssd"] = {"capacity": said(drive.tb, "TB", "assumed")}
        links["ssd_to_cpu"] = {
            "bandwidth": said(drive.gb_per_s, "GB/s", drive.source),
            "latency": said(drive.us, "us", drive.source),
            "chunk": said(4, "MiB", "the block size at which the bandwidth holds"),
            "reads_dram": True,
        }
    return {
        "name": " + ".join(value for key, value in parts.items() if key != "gpus"),
        "title": f"{gpu.title} in a {host.title} with {parts['memory']}, PCIe {link[0]}.0 x{link[1]}"
        + (f", {drive.title}" if drive else ""),
        "notes": f"Made of parts ({text}); no number was measured.",
        "main": "gpu",
        "compute": {
            "gpu": {
                "flops": said(gpu.tflops, "TFLOP/s", sheet),
                "memory_bandwidth": said(gpu.gb_per_s, "GB/s", sheet),
                "compute_efficiency": ruled("gpu_compute_efficiency"),
                "bandwidth_efficiency": ruled("gpu_bandwidth_efficiency"),
                "launch": ruled("gpu_launch_us", "us"),
            },
            "cpu": {
                "flops": said(flops, "GFLOP/s", f"derived: {of_host}"),
                "memory_bandwidth": said(memory["gb_per_s"], "GB/s", of_memory),
                "compute_efficiency": ruled("cpu_compute_efficiency"),
                "bandwidth_efficiency": ruled(expert),
                "launch": ruled("cpu_launch_us", "us"),
            },
        },
        "tiers": tiers,
        "links": links,
    }
