"""Hooks on the routers of a model: what one pass routed, as arrays.

Life cycle: enter, run a pass, ``take`` its rows, run the next pass, ..., leave. The predictions
call the next layers' ``forward``, not the modules themselves, so that they fire no hook: neither
these nor those of transformers' own output capture.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from simulator.trace.core import MISSING
from simulator.trace.recorders.gates import Gates

Rows = dict[str, npt.NDArray[Any]]
"""Fields of a trace by name, each [rows, L, width]; ``predicted_1`` and so on by distance."""


class RouterHooks:
    """Writes down the routing of each pass; a row is one (sequence, position) of the padded batch."""

    def __init__(self, gates: Gates, predict: int) -> None:
        self.gates, self.predict = gates, predict
        self._layers: dict[int, dict[str, torch.Tensor]] = {}
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> Self:
        """Install the hooks."""
        for layer, router in enumerate(self.gates.routers):

            def hook(_module: nn.Module, args: Any, kwargs: Any, output: Any, layer: int = layer) -> None:
                self._record(layer, args, kwargs, output)

            self._handles.append(router.module.register_forward_hook(hook, with_kwargs=True))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def take(self) -> Rows:
        """Return the rows of the pass that has just run, and forget them.

        ``experts``, ``weights``, ``predicted_d``, ``predicted_weights_d`` are [rows, L, k];
        ``gate_top``, ``gate_top_p`` are [rows, L, 2k]. Ids are int16, the rest float16.
        """
        layers = [self._layers.pop(layer) for layer in range(len(self.gates.routers))]
        return {
            name: torch.stack([layer[name] for layer in layers], dim=1).cpu().numpy() for name in layers[0]
        }

    def _record(self, layer: int, args: Any, kwargs: Any, output: Any) -> None:
        """Keep one router's output, and what the next routers say of its input."""
        if layer in self._layers:
            message = f"router {layer} ran twice in one pass"
            raise RuntimeError(message)
        logits, scores, indices = self.gates.routers[layer].seen(args, kwargs, output)
        kept = {"experts": indices.to(torch.int16), "weights": scores.to(torch.float16)}
        kept["gate_top"], kept["gate_top_p"] = self._gate_top(logits)
        for distance in range(1, self.predict + 1):
            ids, weights = torch.full_like(kept["experts"], MISSING), torch.zeros_like(kept["weights"])
            if layer + distance < len(self.gates.routers):
                _, scores, indices = self.gates.routers[layer + distance].asked(args, kwargs)
                ids, weights = indices.to(torch.int16), scores.to(torch.float16)
            kept[f"predicted_{distance}"], kept[f"predicted_weights_{distance}"] = ids, weights
        self._layers[layer] = kept

    def _gate_top(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ids and values of the 2k best gate probabilities, -1 and 0 beyond the E experts."""
        width = 2 * self.gates.top_k
        best = self.gates.probabilities(logits).topk(min(width, self.gates.n_experts), dim=-1)
        beyond = (0, width - best.values.shape[-1])
        ids = nn.functional.pad(best.indices.to(torch.int16), beyond, value=MISSING)
        return ids, nn.functional.pad(best.values.to(torch.float16), beyond, value=0.0)


def join(parts: list[Rows]) -> Rows:
    """Return the rows of several passes, one after the other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
