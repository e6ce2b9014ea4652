"""Ancestors in a tree that may be broken: nodes out of order, missing parents, cycles."""

from __future__ import annotations

from collections.abc import Sequence

NONE = -1
_OPEN = -2


def nearest_ancestors(parents: Sequence[int], wanted: Sequence[bool]) -> list[int]:
    """Return, for each node, the index of its nearest ancestor that is wanted, or NONE.

    `parents` holds the index of each node's parent, or NONE. A cycle without a wanted node counts
    as no ancestor. Linear time, no recursion: a conversation may be ten thousand turns deep.
    """
    found = [_OPEN] * len(parents)
    for start in range(len(parents)):
        path: list[int] = []
        node, answer = start, NONE
        while True:
            if found[node] != _OPEN:
                answer = found[node]
                break
            found[node] = NONE  # what a walk that comes back here will see
            path.append(node)
            above = parents[node]
            if above == NONE:
                break
            if wanted[above]:
                answer = above
                break
            node = above
        for passed in path:
            found[passed] = answer
    return found
