"""``--gpu`` and ``--device``: which device of PyTorch is measured."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.errors import InputError

if TYPE_CHECKING:
    from simulator.calibrate.device import Device


class On(StrEnum):
    """The first CUDA device; or PyTorch's CPU, on which the same lines run in small sizes."""

    cuda = "cuda"
    cpu = "cpu"


DeviceOption = Annotated[
    On, typer.Option("--device", help="with --gpu: cpu rehearses it without a GPU, in small sizes")
]


def asked_device(on: On, *, gpu: bool) -> Device | None:
    """Return the device, None without ``--gpu``. Errors: InputError (no torch, no CUDA, not ``--gpu``)."""
    from simulator.calibrate.device import cuda_device, rehearsal_device

    if not gpu and on is On.cpu:
        raise InputError("--device", "goes with --gpu", "give both or neither")
    if not gpu:
        return None
    return cuda_device() if on is On.cuda else rehearsal_device()
