"""What is measured of eager PyTorch on a GPU and its host: the numbers of a software profile."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.calibrate.device import Device
from simulator.calibrate.eager_bench import LAYER_LAUNCHES, EagerBench, layer
from simulator.calibrate.sample import Sample
from simulator.calibrate.unpack import PER_WORD


@dataclass(frozen=True, slots=True)
class Eager:
    """What was measured, in seconds.

    ``tiny`` is the host's time of launching an addition of one number, ``modules`` that of a launch within
    modules; ``start`` the device's time of a launch queued in time, ``node`` of a graph's node, None
    where it has no graphs; ``round_trip`` a kernel, a wait, and the read of one number; ``copy_call`` the
    host's time of a copy; ``unpacking`` a weight to float16, by bits; ``fused`` and ``apart`` a token's
    ``chosen`` experts of (hidden, ffn) ``expert``, in batched products and one by one.
    """

    tiny: Sample
    modules: Sample
    start: Sample
    node: Sample | None
    round_trip: Sample
    copy_call: Sample
    unpacking: dict[int, Sample]
    fused: Sample
    apart: Sample
    chosen: int
    expert: tuple[int, int]

    def samples(self) -> dict[str, Sample]:
        """Return the samples by what was measured, for warnings."""
        return {
            "launches on the host": self.tiny,
            "launches within modules": self.modules,
            "launches on the GPU": self.start,
            **({"nodes of a graph": self.node} if self.node else {}),
            "round trips": self.round_trip,
            "calls of a copy": self.copy_call,
            **{f"unpacking {bits} bits": s for bits, s in self.unpacking.items()},
            "experts in batched products": self.fused,
            "experts one by one": self.apart,
        }


def measure_eager(device: Device, *, repeats: int) -> Eager:
    """Measure eager PyTorch on a device that has the memory (``measure_gpu`` looks)."""
    bench = EagerBench(device, repeats)
    bench.warm_up(device.sizes.expert)
    fused, apart = bench.chosen_experts()
    return Eager(
        tiny=bench.issue(bench.tiny(), 1),
        modules=bench.issue(layer(device.torch, device.device), LAYER_LAUNCHES),
        start=bench.start(),
        node=bench.node(),
        round_trip=bench.round_trip(),
        copy_call=bench.copy_call(),
        unpacking={bits: bench.unpacking(bits) for bits in sorted(PER_WORD)},
        fused=fused,
        apart=apart,
        chosen=device.sizes.chosen,
        expert=device.sizes.expert,
    )
