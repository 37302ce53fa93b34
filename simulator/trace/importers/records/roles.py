"""What the columns of foreign records are, told by the names that producers use."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from simulator.errors import InputError, did_you_mean
from simulator.trace.importers.limits import brief

ROLES: dict[str, tuple[str, ...]] = {
    "experts": (
        "topk_ids", "top_k_ids", "topk_idx", "topk_index", "topk_indices", "top_k_indices", "topk_experts",
        "top_k_experts", "top_experts", "router_topk", "router_topk_ids", "selected_experts",
        "selected_expert_ids", "routed_experts", "activated_experts", "activated_expert_ids",
        "active_experts", "chosen_experts", "experts", "expert_ids", "expert_indices", "expert_idxs",
        "experts_selected", "experts_chosen", "router_indices", "gate_topk", "gate_indices", "expert_list",
    ),
    "expert": ("expert", "expert_id", "expert_idx", "expert_index", "selected_expert"),
    "weights": (
        "topk_weights", "top_k_weights", "topk_probs", "top_k_probs", "topk_scores", "topk_values",
        "topk_vals", "selected_probabilities", "selected_probs", "selected_weights", "gating_probs",
        "gate_probs", "gate_weights", "router_weights", "router_probs", "router_scores", "routing_weights",
        "routing_scores", "expert_weights", "expert_probs", "expert_scores", "weights", "probs",
        "probabilities", "scores",
    ),
    "weight": ("weight", "prob", "probability", "score", "gate_weight", "router_weight", "gate"),
    "slot": ("slot", "rank", "k", "topk_rank", "expert_rank", "choice", "top_k_rank", "k_idx", "slot_idx"),
    "layer": (
        "layer", "layer_id", "layer_idx", "layer_index", "layer_num", "layer_number", "moe_layer",
        "moe_layer_id", "moe_layer_idx", "layer_name", "module", "module_name", "block", "block_id",
    ),
    "position": (
        "position", "positions", "pos", "token_idx", "token_index", "token_pos", "token_position", "tok_idx",
        "tok_pos", "token_num", "token_number", "position_id", "seq_pos",
    ),
    "sequence": (
        "sequence", "sequence_id", "seq", "seq_id", "seq_idx", "req_id", "request_id", "request", "rid",
        "prompt_id", "prompt_idx", "prompt_index", "problem_id", "sample_id", "sample_idx", "sample",
        "example_id", "conversation_id", "doc_id", "question_id", "session_id",
    ),
    "pass": (
        "step", "step_id", "iteration", "iter", "forward_pass", "forward_pass_id", "forward_id", "pass_id",
        "batch", "batch_id", "batch_idx", "batch_number", "batch_index", "decode_step", "generation_step",
    ),
    "phase": ("phase", "stage", "is_prefill", "is_decode", "is_prompt", "is_generated"),
    "token_id": ("token_id", "token_ids", "tok_id", "input_id", "input_ids", "vocab_id"),
}  # fmt: skip
"""Our word for a column, and the names that it has elsewhere, in small letters with ``_`` between words."""
NEEDED = ("layer", "experts")
NUMBERED = re.compile(
    r"(top_?k|topk_id|topk_expert|experts?|expert_id|exp|e|choice|top|)_?([0-9]{1,4})(?:_(?:id|idx|index))?"
)
NUMBERED_WEIGHT = re.compile(
    r"(topk_weight|weight|expert_weight|prob|score|w|p|gate_weight|topk_prob)_?([0-9]{1,4})"
    r"|(?:expert|top|choice|e)_?([0-9]{1,4})_(?:weight|prob|score|gate|w|p)"
)


@dataclass(frozen=True, slots=True)
class Columns:
    """The file's name of each of our columns; ``ids`` and ``weights`` are columns numbered from 0 or 1.

    ``wide``: there is an id column for each expert of a layer, with its weight or 0.
    """

    names: Mapping[str, str]
    ids: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    wide: bool = False


def plain(name: str) -> str:
    """Return a name in small letters, its last part alone, with ``_`` between words."""
    return re.sub(r"[^0-9a-z]+", "_", name.rpartition(".")[2].strip().lower()).strip("_")


def tell(where: str, names: Iterable[str], given: Mapping[str, str]) -> Columns:
    """Return what each column is; ``given`` says it for some.

    Errors: InputError (a name that is not there, two columns that may be the same thing).
    """
    there = list(names)
    for ours, theirs in given.items():
        if ours not in ROLES:
            raise InputError("--column", f"unknown '{brief(ours)}'", did_you_mean(ours, ROLES))
        if theirs not in there:
            raise InputError(where, f"no column '{brief(theirs)}'", did_you_mean(theirs, map(brief, there)))
    found = dict(given)
    words = {name: plain(name) for name in there if name not in given.values()}
    for ours, known in ROLES.items():
        if ours in found:
            continue
        same = [name for name, word in words.items() if word in known]
        if len(same) > 1:
            which = " or ".join(f"'{brief(name)}'" for name in same)
            raise InputError(where, f"{ours} is {which}", f"say which with --column {ours}=NAME")
        if same:
            found[ours] = same[0]
    ids, weights = _numbered(words, NUMBERED), _numbered(words, NUMBERED_WEIGHT)
    if "experts" in found or "expert" in found:
        ids = ()
    if "weights" in found or "weight" in found:
        weights = ()
    used = {*found.values(), *ids, *weights}
    return Columns(found, ids, weights, tuple(name for name in there if name not in used))


def _numbered(words: Mapping[str, str], pattern: re.Pattern[str]) -> tuple[str, ...]:
    """Return the names of columns that are numbered without a gap, in order of their numbers."""
    by_stem: dict[str, dict[int, str]] = {}
    for name, word in words.items():
        if match := pattern.fullmatch(word):
            stem, number = match[1] or "", match[2] or match[match.lastindex or 0]
            by_stem.setdefault(stem, {})[int(number)] = name
    for numbered in sorted(by_stem.values(), key=len, reverse=True):
        order = sorted(numbered)
        if len(order) > 1 and order[0] in (0, 1) and order == list(range(order[0], order[0] + len(order))):
            return tuple(numbered[number] for number in order)
    return ()
