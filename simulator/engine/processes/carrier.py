"""Carrying: transfers are cut into pieces, queued, forwarded, and land (docs/timing.md §5, §7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from simulator.engine.plan import RuntimePlan, equal_parts
from simulator.engine.processes.links import Link
from simulator.engine.processes.staging import Staging
from simulator.engine.processes.tiers import Tier
from simulator.engine.processes.transfers import Fate, Job, Piece, Transfer


class Carrier:
    """Queues transfers on links, and is told by the lanes what has moved.

    ``up`` leads into tier 0, ``read`` from tier 2 into tier 1, ``down`` from tier 0 to tier 1.
    ``written_back`` has what is in flight into tier 1 where that is the last tier, which keeps no account.
    """

    def __init__(self, runtime: RuntimePlan, tiers: Sequence[Tier]) -> None:
        self.runtime = runtime
        self.top, self.host = tiers[0], tiers[1] if len(tiers) > 1 else None
        self.up: Link
        self.read: Link | None = None
        self.down: Link | None = None
        self.staging: Staging
        self.look: Callable[[], None]
        self.news: Callable[[], None]
        self.written_back: dict[int, Transfer] = {}
        self.numbers = self.landings = 0

    # -- queueing (§5) ----------------------------------------------------------------------------

    def queue(self, transfers: Sequence[Transfer]) -> None:
        """Queue transfers of experts at this moment, together: piece 0 of all, then piece 1, and so on."""
        self._number([transfer for transfer in transfers if self._finds_its_source(transfer)])

    def send(self, key: int, n_bytes: int, link: Link | None, on_landed: Callable[[], None]) -> None:
        """Queue a write-back (of a key) or activations (-1) as one piece; 0 bytes take no time (§5, §9)."""
        self.send_prepared(Transfer(key, on_landed=on_landed), n_bytes, link)

    def send_prepared(self, transfer: Transfer, n_bytes: int, link: Link | None) -> None:
        """Queue one piece over one link."""
        if not n_bytes:
            assert transfer.on_landed is not None
            transfer.on_landed()
            return
        assert link is not None
        transfer.hops = (link,)
        self._cut(transfer, [n_bytes])
        self._number([transfer])

    def _finds_its_source(self, transfer: Transfer) -> bool:
        """Settle from which tier an expert comes; False where it waits for an entry in flight (§7)."""
        transfer.hops = (self.up,)
        host, key = self.host, transfer.key
        bringing = self.written_back.get(key) if host is None else host.bringing(key)
        if bringing is not None and bringing is not transfer:
            transfer.waits_for = bringing
            bringing.waiters.append(transfer)
            return False
        if host is not None and key not in host:
            assert self.read is not None
            transfer.hops = (self.read, self.up)
            transfer.staged = not transfer.speculative and not transfer.into_host
        self._cut_expert(transfer)
        return True

    def _cut_expert(self, transfer: Transfer) -> None:
        """Cut an expert into pieces: parts, or what its first link makes of it (§5)."""
        runtime, plan = self.runtime, transfer.hops[0].plan
        key, top = transfer.key, self.top
        size = top.size_of(key)
        layer, version = key // top.keys_per_layer, key % top.n_versions
        if runtime.parts_order == "matrix" or runtime.tensors or (plan.split and runtime.parts > 1):
            parts = runtime.part_bytes(layer, version, size)
        else:
            parts = equal_parts(size, plan.lanes if plan.split else 1)
        self._cut(transfer, parts)

    def _cut(self, transfer: Transfer, parts: Sequence[int]) -> None:
        plan = transfer.hops[0].plan
        transfer.pieces = [
            Piece(transfer, stage, plan.read_bytes(size)) for stage, size in enumerate(parts) if size
        ]
        transfer.left = transfer.left_on_first = len(transfer.pieces)

    def _number(self, transfers: Sequence[Transfer]) -> None:
        """Number the pieces as they are queued, over all links: stage by stage (§5)."""
        pieces = [piece for transfer in transfers for piece in transfer.pieces]
        for piece in sorted(pieces, key=lambda piece: piece.stage):
            piece.number = self.numbers
            self.numbers += 1
            link = piece.transfer.hops[0]
            link.put(Job(piece, link, piece.n_bytes))
        self.look()

    # -- what lanes tell (§5, §7) -------------------------------------------------------------------

    def chunk_moved(self, job: Job, mark: int) -> None:
        """A job reached a chunk boundary: on a first hop, the chunk is queued on the second (§7)."""
        if job.reads_ahead:
            self._forward(job, mark)
        self.look()

    def ended(self, job: Job) -> None:
        """A job ended, its copy included: its piece has left the first hop, or has landed in part (§7)."""
        self.look()
        piece, transfer = job.piece, job.transfer
        if job.reads_ahead:
            self._forward(job, job.n_bytes)
            piece.left_first = True
            transfer.left_on_first -= 1
            if not transfer.left_on_first and transfer.into_host and transfer.fate is not Fate.STOPPED:
                self.landed_below(transfer)
        else:
            self.free_slot(job)
            piece.arrived += job.n_bytes
            if piece.arrived == piece.n_bytes:
                self.landings += 1
                piece.landed = self.landings
                transfer.left -= 1
                if not transfer.left and transfer.fate is Fate.GOES_ON:
                    self._landed(transfer)
        self.news()

    def _forward(self, job: Job, mark: int) -> None:
        """Queue what was moved since the last chunk on the second hop, with its slot (§7)."""
        piece = job.piece
        if job.transfer.fate is not Fate.GOES_ON:
            self.free_slot(job)
            return
        chunk = Job(piece, self.up, mark - piece.forwarded, piece.chunks, second_hop=True, slot=job.slot)
        job.slot = False
        piece.forwarded = mark
        piece.chunks += 1
        self.up.put(chunk)

    def free_slot(self, job: Job) -> None:
        """Return a job's slot of host staging, if it holds one (§7)."""
        if job.slot:
            job.slot = False
            self.staging.give_back(speculative=job.transfer.speculative)

    def landed_below(self, transfer: Transfer) -> None:
        """An entry landed in tier 1: those that wait for it are queued on the second hop now (§7)."""
        if self.host is None:
            del self.written_back[transfer.key]
        else:
            self.host.land(transfer.key)
        for waiter in transfer.waiters:
            waiter.waits_for = None
            self._cut_expert(waiter)
            self._number([waiter])
        transfer.waiters.clear()
        self.news()

    def _landed(self, transfer: Transfer) -> None:
        """All of a transfer has landed: its entry is there, and its source is free (§4.5, §8)."""
        transfer.landed = True
        if transfer.on_landed is not None:
            transfer.on_landed()
            return
        if transfer.kept:
            self.top.land(transfer.key)
        if self.host is None:
            return
        self.host.unpin(transfer.key)
        if transfer.kept and self.runtime.exclusive and transfer.key in self.host:
            self.host.remove(transfer.key)
