"""A model folder of Hugging Face transformers: the model in memory, the trace's header."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

from simulator import __version__
from simulator.errors import InputError
from simulator.trace.core import TraceHeader
from simulator.trace.recorders.gates import Gates


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in memory; ``stop`` are the tokens that end a text, ``context`` its longest text."""

    name: str
    module: nn.Module
    tokenizer: Any
    n_layers: int
    context: int | None
    stop: frozenset[int]


def check_device(device: str) -> None:
    """Raise InputError where torch does not know a device, or the machine does not have it."""
    try:
        torch.ones(1, device=device).item()
    except Exception as fault:  # each device raises its own kind
        said = str(fault).strip().split("\n")[0] or type(fault).__name__
        raise InputError("--device", f"'{device}' does not work here: {said}", "cpu, or cuda") from fault


def load(folder: Path, *, device: str = "cpu", dtype: str = "float32") -> LoadedModel:
    """Return the causal language model of a folder; nothing is downloaded.

    Raises InputError where the folder has no model or no tokenizer, or the device is absent.
    """
    if not (folder / "config.json").is_file():
        raise InputError(
            str(folder),
            "is no model folder",
            "it needs config.json, weights and a tokenizer, as hf download --local-dir leaves them",
        )
    check_device(device)
    library: Any = transformers  # its annotations do not stand strict checking
    library.utils.logging.disable_progress_bar()
    try:
        tokenizer = library.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        module = library.AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, dtype=getattr(torch, dtype)
        ).to(device)
    except Exception as fault:  # each file format and device raises its own kind
        said = str(fault).strip().split("\n")[0] or type(fault).__name__
        raise InputError(str(folder), f"cannot load the model: {said}") from fault
    config = module.config.get_text_config()
    end = module.generation_config.eos_token_id
    return LoadedModel(
        name=folder.resolve().name,
        module=module.eval(),
        tokenizer=tokenizer,
        n_layers=config.num_hidden_layers,
        context=getattr(config, "max_position_embeddings", None),
        stop=frozenset(() if end is None else (end,) if isinstance(end, int) else end),
    )


def identity(folder: Path, device: str) -> dict[str, Any]:
    """Return what decides a recording beside its settings: the model's files, and what computes.

    Weights are known by name, size and time; the threads of a CPU decide how it rounds.
    """
    files = sorted((file.name, file.stat()) for file in folder.iterdir() if file.is_file())
    listed = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in files]
    return {
        "model folder": str(folder.resolve()),
        "digest of its files": hashlib.sha256(repr(listed).encode()).hexdigest()[:16],
        "device": device,
        "threads": torch.get_num_threads(),
    }


def make_header(
    model: LoadedModel,
    gates: Gates,
    *,
    dtype: str,
    prompt_source: str | None = None,
    licence: str | None = None,
    notes: str = "",
) -> TraceHeader:
    """Return the header of a recording of ``model``; bytes are those of the weights as loaded."""
    how = f"gate_top_p: {gates.scoring} of the router's logits; ids and weights as the router returned them"
    return TraceHeader(
        model=model.name,
        n_layers=len(gates.routers),
        n_experts=gates.n_experts,
        top_k=gates.top_k,
        moe_layers=gates.moe_layers,
        n_model_layers=model.n_layers,
        weights=gates.weights,
        expert_bytes=gates.expert_bytes,
        dense_bytes=gates.dense_bytes,
        precision=dtype,
        recorder="moesim trace record",
        recorder_version=recorder_version(),
        prompt_source=prompt_source,
        licence=licence,
        notes=". ".join(note for note in (notes.strip().rstrip("."), how) if note),
    )


def recorder_version() -> str:
    """Return the versions that decide what a recording holds."""
    return f"moesim {__version__}, transformers {transformers.__version__}, torch {torch.__version__}"
