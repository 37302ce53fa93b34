"""What ``moesim validate reference`` runs, on what, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from simulator.calibrate.device import Device
from simulator.calibrate.marks import threads_of
from simulator.calibrate.measure import QUICK, Measured, Plan, measure
from simulator.calibrate.scratch import check_folder, scratch_file
from simulator.calibrate.system import this_system
from simulator.config.units import format_bytes
from simulator.errors import InputError
from simulator.machine.hardware import HardwareProfile
from simulator.trace.core import Trace
from simulator.validate.reference.gpu import GpuMachine
from simulator.validate.reference.machine import CpuMachine, Machine, Shape
from simulator.validate.reference.run import Settings
from simulator.validate.reference.simulate import LINK

SHAPE = Shape(256, 512)


def gpu_shape(device: Device) -> Shape:
    """Return experts that suit a device, in float16."""
    return Shape(*device.sizes.expert, 2)


@dataclass(frozen=True, slots=True)
class Setup:
    """What is run: ``sizes`` are shares of all experts; ``profile`` None calibrates while it runs.

    With ``gpu`` experts are in host memory and ``folder`` is not used.
    """

    folder: Path
    trace: Trace
    sizes: Sequence[float] = (0.25, 0.5, 0.75)
    tokens: int = 256
    shape: Shape = SHAPE
    lanes: int = 2
    repeats: int = 1
    profile: HardwareProfile | None = None
    gpu: Device | None = None

    @property
    def n_experts(self) -> int:
        """Return the experts of all layers."""
        return self.trace.header.n_layers * self.trace.header.n_experts

    @property
    def all_bytes(self) -> int:
        """Return the bytes of all experts."""
        return self.n_experts * self.shape.expert_bytes

    def runs(self) -> Iterator[tuple[str, str, Settings]]:
        """Yield title, file name and settings: each cache without prefetch and with, then all again."""
        for i in range(1, self.repeats + 1):
            for size in self.sizes:
                for on in (False, True):
                    how = "prefetch" if on else "on demand"
                    share = f"{100 * size:g}"
                    title, name = f"cache {share}%, {how}", f"cache-{share}-{how.replace(' ', '-')}"
                    if self.repeats > 1:
                        title, name = f"{title} #{i}", f"{name}-{i}"
                    yield title, name, Settings(int(self.n_experts * size), self.lanes, on)

    def check(self) -> None:
        """Refuse what cannot be run. Errors: InputError."""
        header = self.trace.header
        if not self.trace.predicted:
            raise InputError("--trace", f"{header.model} has no recorded predictions", "use olmoe-mini")
        least = (header.top_k + self.lanes) / self.n_experts
        for size in self.sizes:
            if not least <= size <= 1:
                raise InputError(
                    "--sizes", f"{size:g} of all experts", f"from {least:.3g} (a step) to 1 (all)"
                )
        shares = [f"{100 * size:g}%" for size in self.sizes]
        if twice := [share for share in shares if shares.count(share) > 1]:
            raise InputError("--sizes", f"{twice[0]} of all experts is there twice", "--repeats runs again")
        if self.profile is not None:
            self._check_profile(self.profile)
        system = this_system()
        free, cache = system.memory_bytes - system.used_bytes, int(max(self.sizes) * self.all_bytes)
        if self.gpu is None:
            if cache > free:
                raise InputError("--sizes", f"{format_bytes(cache)} of memory are not free", "smaller caches")
            check_folder(self.folder, self.all_bytes)
            return
        beside = self.gpu.sizes.beside
        if self.all_bytes + beside > free:
            raise InputError(
                "--trace", f"{format_bytes(self.all_bytes)} of memory are not free", "a smaller model"
            )
        if cache + beside > self.gpu.memory()[0]:
            what = f"{format_bytes(cache)} and {format_bytes(beside)} besides are not free on the GPU"
            raise InputError("--sizes", what, "smaller caches")

    def _check_profile(self, profile: HardwareProfile) -> None:
        """Refuse a profile of another kind of machine, or of more threads than the run computes with."""
        main, threads = "cpu" if self.gpu is None else "gpu", threads_of(profile)
        if profile.main != main or LINK[main] not in profile.links:
            where = "a CPU beside a drive" if self.gpu is None else "a GPU beside host memory"
            raise InputError("--profile", f"{profile.name} does not compute on {where}", "calibrate")
        if self.gpu is None and threads not in {None, 1}:
            raise InputError(
                "--profile",
                f"{profile.name} has experts measured on {threads} threads, and the run computes on 1",
                "measure with moesim calibrate --threads 1",
            )

    @contextmanager
    def machine(self) -> Iterator[Machine]:
        """Give the machine, with all experts in its slow memory."""
        sizes = self.shape, self.trace.header.n_layers, self.n_experts
        if self.gpu is not None:
            yield GpuMachine(self.gpu, *sizes, self.lanes)
        else:
            with scratch_file(self.folder, self.all_bytes) as fd:
                yield CpuMachine(fd, *sizes)

    def calibrate(self) -> Measured:
        """Measure what the probe leaves out: experts with several tokens, memory; little of all else."""
        return measure(self.plan(), None if self.gpu else self.folder, device=self.gpu)

    def plan(self) -> Plan:
        """Return how that is measured."""
        shape = self.shape
        shapes = ((shape.hidden, shape.ffn // 2), (shape.hidden, shape.ffn))
        return replace(
            QUICK,
            blocks=(shape.expert_bytes,),
            lanes=(1, self.lanes) if self.lanes > 1 else (1,),
            shapes=shapes,
            gpu_shapes=shapes,
            threads=1,
        )
