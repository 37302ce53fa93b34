"""A machine of parts: the profile that follows from a graphics card, a host, memory, a link and a drive.

docs/guides/machine.md says by which rules; hardware_parts/ has the parts, and constants that hold for all.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from pydantic import Field

from simulator.config.yaml_file import validate_mapping
from simulator.errors import InputError
from simulator.machine.catalogue import Drive, Gpu, Host, Part, Unified, Wire, part, rules
from simulator.machine.hardware import Count, HardwareProfile, Sourced, _Strict, scaled
from simulator.machine.memory import at_host, parse_memory

MOST_GPUS = 8
Data = dict[str, Any]


class Composition(_Strict):
    """The names of a machine's parts. Without a link, it is the best that both card and host have."""

    gpu: str | None = None
    gpus: Count = 1
    host: str | None = None
    machine: str | None = None
    memory: str | None = None
    link: str | None = None
    drive: str | None = None

    @property
    def name(self) -> str:
        """Return what tables call the machine."""
        gpu = f"{self.gpus}x {self.gpu}" if self.gpus > 1 else self.gpu
        parts = (gpu, self.host, self.machine, self.memory, self.link, self.drive)
        return " + ".join(part for part in parts if part)


class Described(_Strict):
    """A profile's file that names parts; ``override`` has the numbers that differ, by their dotted keys."""

    name: str
    title: str
    notes: str = ""
    parts: Composition
    override: dict[str, Any] = Field(default_factory=dict)


def composed(parts: Composition, where: str) -> HardwareProfile:
    """Return the profile of parts. Errors: InputError at ``where``."""
    return described(Described(name=parts.name, title=_title(parts, where), parts=parts), where)


def described(said: Described, where: str) -> HardwareProfile:
    """Return the profile of a file that names parts. Errors: InputError."""
    made = _machine(said.parts, where)
    down: Data = {}
    for key, value in said.override.items():
        _put(down if key.startswith("links.gpu_to_cpu.") else made, key, value)
    if "cpu_to_gpu" in made["links"]:
        up = made["links"]["cpu_to_gpu"]
        same = {
            "bandwidth": {
                **up["bandwidth"],
                "source": "assumed: as fast as the other direction",
                "measured": False,
            }
        }
        made["links"]["gpu_to_cpu"] = up | same | down.get("links", {}).get("gpu_to_cpu", {})
    notes = "\n".join(line for line in (said.notes.strip(), _several(said)) if line)
    whole = {"name": said.name, "title": said.title, "notes": notes, **made}
    return validate_mapping(whole, HardwareProfile, where)


def _several(said: Described) -> str:
    """Return what a reader has to know of several cards, where a file does not say it."""
    if said.parts.gpus == 1 or said.notes:
        return ""
    return (
        "WARNING: layers are split over the cards, so one computes at a time: one GPU with the memory of all."
    )


def _machine(parts: Composition, where: str) -> Data:
    """Return tiers, units and links."""
    _check(parts, where)
    made: Data = {"compute": {}, "tiers": {}, "links": {}}
    host = part(parts.host, Host, where) if parts.host is not None else None
    if parts.machine is not None:
        _unified(made, part(parts.machine, Unified, where), parts, where)
    if host is not None:
        _host(made, host, parts, where)
    if parts.gpu is not None:
        _gpu(made, part(parts.gpu, Gpu, where), parts, host, where)
    if parts.drive is not None:
        _drive(made, part(parts.drive, Drive, where), "cpu" if host is not None else "gpu")
    return {"main": "gpu" if "gpu" in made["tiers"] else "cpu", **made}


def _check(parts: Composition, where: str) -> None:
    """Refuse parts that are missing, or that do not go together."""
    alone = [key for key in ("gpu", "host", "link") if getattr(parts, key) is not None]
    if parts.machine is not None and alone:
        raise InputError(
            f"{where}.{alone[0]}", "goes without a machine", "a machine has its own; name its drive"
        )
    if parts.machine is None and parts.host is None and (parts.gpu is None or parts.memory or parts.link):
        raise InputError(f"{where}.host", "missing", "a host with its memory, or a machine of unified memory")
    if parts.host is not None and parts.memory is None:
        raise InputError(f"{where}.memory", "missing", "such as 2x32GB DDR5-6000")
    if parts.gpu is None and (parts.gpus > 1 or parts.link):
        raise InputError(f"{where}.gpu", "missing", "gpus and link go with a gpu")
    if parts.gpus > MOST_GPUS:
        raise InputError(
            f"{where}.gpus",
            f"is {parts.gpus}",
            f"1 to {MOST_GPUS}: layers are split over them; no tensors are",
        )
    if parts.drive is None and (parts.gpu is None or parts.host is None):
        raise InputError(f"{where}.drive", "missing", "experts have to be somewhere; such as gen4-nvme")


def _gpu(made: Data, gpu: Gpu, parts: Composition, host: Host | None, where: str) -> None:
    constants = rules()
    reserved = constants.gpu_reserved if gpu.display else constants.gpu_reserved_without_display
    each = f", {parts.gpus} cards" if parts.gpus > 1 else ""
    made["compute"]["gpu"] = {
        "flops": _plain(gpu.flops),
        "memory_bandwidth": _plain(gpu.bandwidth),
        "compute_efficiency": _plain(constants.gpu_compute_efficiency),
        "bandwidth_efficiency": _plain(constants.gpu_bandwidth_efficiency),
        "launch": _plain(constants.gpu_launch),
    }
    made["tiers"]["gpu"] = {
        "capacity": _number(f"{parts.gpus * gpu.memory.value} B", gpu.memory.source + each),
        "reserved": _number(f"{parts.gpus * reserved.value} B", reserved.source + each),
    }
    if host is not None:
        made["links"]["cpu_to_gpu"] = {
            "bandwidth": _link_rate(gpu, host, parts, where),
            "latency": _plain(constants.link_latency),
            "chunk": _plain(constants.link_chunk),
            "host_memory": "pinned",
            "reads_dram": True,
        }


def _link_rate(gpu: Gpu, host: Host, parts: Composition, where: str) -> Data:
    """Return the rate of copies: what was reached with this card over as many lanes, else with any."""
    slot, other = part(gpu.slot, Wire, where), part(host.slot, Wire, where)
    best = _best(slot, other) if slot is not other else gpu.slot
    if parts.link is None and best is None:
        raise InputError(
            f"{where}.link", f"{parts.gpu} has {gpu.slot}, and {parts.host} has {host.slot}", "name one"
        )
    wire = part(parts.link or best or "", Wire, where)
    for end, owner in ((slot, parts.gpu), (other, parts.host)):
        if (wire.generation or 0) > (end.generation or 0) or (wire.lanes or 0) > (end.lanes or 0):
            raise InputError(
                f"{where}.link", f"is {parts.link}; {owner} has {end.title} at most", f"{best} is what fits"
            )
    if gpu.copies and wire.lanes and slot.lanes and wire.generation == slot.generation:
        rate = scaled(gpu.copies.value, float(Fraction(wire.lanes, slot.lanes)))
        fewer = f"; {wire.lanes} of {slot.lanes} lanes" if wire.lanes < slot.lanes else ""
        return _number(f"{rate} B/s", gpu.copies.source + fewer, measured=gpu.copies.measured and not fewer)
    return _plain(wire.bandwidth)


def _best(slot: Wire, other: Wire) -> str | None:
    """Return the name of the fastest PCIe that both ends have; None where one has none."""
    if not (slot.generation and slot.lanes and other.generation and other.lanes):
        return None
    return f"pcie{min(slot.generation, other.generation)}-x{min(slot.lanes, other.lanes)}"


def _host(made: Data, host: Host, parts: Composition, where: str) -> None:
    constants, text, where = rules(), parts.memory or "", f"{where}.memory"
    memory = at_host(parse_memory(text, where), host.memory, parts.host or "", where)
    channels = memory.channels(host.channels.value)
    peak = memory.peak_bytes_per_s(channels)
    kind = f"{channels} channels x 8 B x {memory.rate} MT/s ({memory.kind})"
    exact = host.cores.value * host.clock.value * host.flops_per_cycle.value
    flops = (
        f"{host.cores.value} cores x {host.clock.value} MHz x {host.flops_per_cycle.value} fp32 FLOP a cycle"
    )
    alone = parts.gpu is None
    share = constants.dram_share
    reserved, kernels = constants.cpu_reserved, constants.cpu_bandwidth_efficiency
    if host.server:
        reserved, kernels = constants.cpu_reserved_of_server, constants.cpu_bandwidth_efficiency_of_server
    made["compute"]["cpu"] = {
        "flops": _number(
            f"{float(f'{exact:.1e}'):.0f} MFLOP/s", f"derived: {flops}, two digits; {host.source}"
        ),
        "memory_bandwidth": _number(f"{peak} B/s", f"derived: {kind}"),
        "compute_efficiency": _plain(constants.cpu_compute_efficiency),
        "bandwidth_efficiency": _plain(host.bandwidth_efficiency or kernels),
        "launch": _plain(constants.cpu_launch_alone if alone else constants.cpu_launch),
    }
    made["tiers"]["cpu"] = {
        "capacity": _number(f"{memory.capacity} B", f"as named: {text}"),
        "reserved": _plain(reserved),
        "bandwidth": _number(f"{scaled(peak, share.value)} B/s", f"{share.source}; of {kind}"),
    }


def _unified(made: Data, one: Unified, parts: Composition, where: str) -> None:
    constants = rules()
    capacity = _plain(one.memory)
    if parts.memory is not None:
        memory = parse_memory(parts.memory, f"{where}.memory")
        if memory.kind:
            raise InputError(
                f"{where}.memory", f"{parts.machine} has its own kind", "a size alone, such as 64GB"
            )
        capacity = _number(f"{memory.capacity} B", f"as named: {parts.memory}")
    made["compute"]["gpu"] = {
        "flops": _plain(one.flops),
        "memory_bandwidth": _plain(one.bandwidth),
        "compute_efficiency": _plain(constants.gpu_compute_efficiency),
        "bandwidth_efficiency": _plain(one.bandwidth_efficiency or constants.unified_bandwidth_efficiency),
        "launch": _plain(one.launch or constants.gpu_launch),
    }
    made["tiers"]["gpu"] = {
        "capacity": capacity,
        "reserved": _plain(one.reserved or constants.unified_reserved),
    }


def _drive(made: Data, drive: Drive, to: str) -> None:
    constants = rules()
    made["tiers"]["ssd"] = {"capacity": _plain(constants.drive_capacity)}
    link = {
        "bandwidth": _plain(drive.bandwidth),
        "latency": _plain(drive.latency or constants.drive_latency),
        "chunk": _plain(constants.drive_chunk),
        "reads_dram": True,
    }
    link |= {key: _plain(found) for key in ("lanes", "table") if (found := getattr(drive, key)) is not None}
    made["links"][f"ssd_to_{to}"] = link


def _plain(number: Sourced[Any]) -> Data:
    found: Data = number.model_dump(mode="json")
    return found


def _number(value: object, source: str, *, measured: bool = False) -> Data:
    return {"value": value, "source": source, "measured": measured}


def _put(made: Data, key: str, value: Any) -> None:
    *path, last = key.split(".")
    for step in path:
        made = made.setdefault(step, {})
    made[last] = value


def _title(parts: Composition, where: str) -> str:
    named: tuple[tuple[str | None, type[Part]], ...] = (
        (parts.gpu, Gpu),
        (parts.host, Host),
        (parts.machine, Unified),
    )
    titles = [part(name, model, where).title for name, model in named if name is not None]
    several = f"{parts.gpus} x " if parts.gpus > 1 else ""
    return several + ", ".join([*titles, *([parts.memory] if parts.memory else [])])
