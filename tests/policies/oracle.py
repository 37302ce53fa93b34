"""An independent oracle of hit flags: no state but the log of what happened, everything searched anew.

It shares no code with ``policies`` or the engine, and is as slow as it is plain.
"""

from __future__ import annotations

FAR = 10**9


def score(policy, key, log, arrived, events, now):
    """Return what orders the candidates: the lowest goes. ``log`` lists every use so far, in order."""
    last = max((i for i, used in enumerate(log) if used == key), default=-1)
    if policy == "lru":
        return last
    if policy == "fifo":
        return arrived[key]
    if policy == "lfu":
        return (log[arrived[key] :].count(key), last)
    if policy == "perfect-lfu":
        return (log.count(key), last)
    return (-next_use(key, events, now), key)


def next_use(key, events, now):
    for later in range(now + 1, len(events)):
        if key in events[later]:
            return later
    return FAR


def flags(policy, events, layers, pools, sizes, *, after_event=False, bypass=False):
    """Return, for each event, whether each of its keys was found.

    ``policy``: lru, fifo, lfu, perfect-lfu or belady; ``pools``: (capacity, layers); ``sizes`` by
    layer; ``bypass``: a miss enters only in place of one that is needed later.
    """
    logs = [[] for _ in pools]
    residents = [[] for _ in pools]  # (key, size)
    arrivals = [{} for _ in pools]
    answers = []
    for now, (demand, layer) in enumerate(zip(events, layers, strict=True)):
        which = next(i for i, (_, its) in enumerate(pools) if layer in its)
        capacity, log, inside, arrived = pools[which][0], logs[which], residents[which], arrivals[which]
        before = [key for key, _ in inside]
        answers.append([key in before for key in demand])
        if not demand:
            continue
        base = len(log)
        log.extend(demand)
        misses = [key for key in demand if key not in before]
        if bypass:
            misses = sorted(misses, key=lambda key: next_use(key, events, now))
        if after_event:
            for key in misses:
                inside.append((key, sizes[layer]))
                arrived[key] = base + demand.index(key)
        waiting = [] if after_event else list(misses)
        while True:
            room = capacity - sum(size for _, size in inside)
            if not waiting and (room >= 0 or not after_event):
                break
            if waiting and room >= sizes[layer]:
                key = waiting.pop(0)
                inside.append((key, sizes[layer]))
                arrived[key] = base + demand.index(key)
                continue
            going = [key for key, _ in inside if key not in demand]
            if going:
                victim = min(going, key=lambda key: score(policy, key, log, arrived, events, now))
                if not bypass or next_use(waiting[0], events, now) < next_use(victim, events, now):
                    inside[:] = [(key, size) for key, size in inside if key != victim]
                    continue
            if not waiting:
                break
            waiting.pop(0)
    return answers
