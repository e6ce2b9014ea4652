"""What of an export's conversations files was kept, but is no conversation that can be read.

A conversation beyond the largest window, a file that was cut off and text that is no list are
stored exactly; but what cannot be read must not make the conversations in it count as gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from backupd.export.layout import MemberKind, kind_of
from backupd.store.recipe import Begin, Coding, Derived, End, Event, Raw, Ref

_BETWEEN = b"[], \t\r\n"


def unread(events: Iterable[Event]) -> tuple[str, ...]:
    """Return the names of the conversations files of which a part is no conversation."""
    return tuple(name for name, parts in _files(events) if not _is_list(parts))


def _files(events: Iterable[Event]) -> Iterator[tuple[str, list[Raw | Ref | Derived]]]:
    """Yield each conversations file whose content was looked at, with its parts."""
    name, parts = "", list[Raw | Ref | Derived]()
    for event in events:
        if isinstance(event, Begin):
            looked_at = event.coding is not Coding.STREAM
            is_wanted = looked_at and kind_of(event.name) is MemberKind.CONVERSATIONS
            name, parts = event.name if is_wanted else "", []
        elif not isinstance(event, End):
            parts.append(event)
        elif name:
            yield name, parts
            name = ""


def _is_list(parts: list[Raw | Ref | Derived]) -> bool:
    """Say whether the parts are conversations, what stands between them, and the list's end."""
    others = [part for part in parts if not (isinstance(part, Ref) and part.conversation)]
    if not all(isinstance(part, Raw) and not part.data.strip(_BETWEEN) for part in others):
        return False
    last = parts[-1] if parts else None
    return isinstance(last, Raw) and last.data.rstrip().endswith(b"]")
