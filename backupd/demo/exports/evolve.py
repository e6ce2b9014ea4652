"""What a week does to an account: new, continued, edited, deleted, retitled, flipped, and noise.

The conversations that meet a fate are drawn apart from each other, so that the truth about each
is one word. Noise falls on unchanged conversations only.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from backupd.demo.exports.conversations import Scribe, Style, branch, new_conversation
from backupd.demo.exports.dice import Dice
from backupd.demo.exports.values import Churn, Conversation, TextChange, Truth, Turn

WEEK = 7 * 86_400.0
_VISIBLE = ("user", "assistant")


@dataclass(frozen=True, slots=True)
class Step:
    """The state of an account at one export and what led there."""

    conversations: tuple[Conversation, ...]
    truth: Truth


def first_step(dice: Dice, style: Style, count: int, when: float) -> Step:
    """Return an account of `count` conversations begun in the two years before `when`."""
    made = [_begin(dice, style, when, span=104 * WEEK) for _ in range(count)]
    ids = frozenset(conversation.id for conversation in made)
    nothing: frozenset[str] = frozenset()
    return Step(tuple(made), Truth(ids, nothing, nothing, nothing, nothing))


def next_step(before: Step, dice: Dice, style: Style, churn: Churn, when: float) -> Step:
    """Return the account a week later; `when` is the moment of the export."""
    week = _Week(dice, style, when, {item.id: item for item in before.conversations})
    deck = dice.sample(before.conversations, len(before.conversations))
    for count, act in (
        (churn.deleted, week.delete),
        (churn.continued, week.carry_on),
        (churn.edited, week.edit),
        (churn.rewritten, week.rewrite),
        (churn.retitled, week.retitle),
        (churn.flipped if style.rich else 0, week.flip),
        (int(len(deck) * churn.noisy), week.disturb),
    ):
        for _ in range(min(count, max(0, len(deck) - 1))):
            act(deck.pop())
    for _ in range(churn.new):
        week.begin()
    return week.step(frozenset(item.id for item in before.conversations))


@dataclass(slots=True)
class _Week:
    """The account while a week happens to it."""

    dice: Dice
    style: Style
    when: float
    state: dict[str, Conversation]
    new: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)
    metadata: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    added: list[TextChange] = field(default_factory=list)
    removed: list[TextChange] = field(default_factory=list)

    def step(self, known: frozenset[str]) -> Step:
        """Return the week's result; `known` are the ids of the export before."""
        unchanged = known - self.gone - self.changed - self.metadata
        truth = Truth(
            frozenset(self.new),
            frozenset(self.changed),
            frozenset(self.metadata),
            unchanged,
            frozenset(self.gone),
            tuple(self.added),
            tuple(self.removed),
        )
        return Step(tuple(self.state.values()), truth)

    def begin(self) -> None:
        """Begin a conversation some time in this week."""
        made = _begin(self.dice, self.style, self.when, span=WEEK)
        self.state[made.id] = made
        self.new.add(made.id)
        self._note(made.id, made.turns, self.added)

    def delete(self, old: Conversation) -> None:
        """Delete a conversation."""
        del self.state[old.id]
        self.gone.add(old.id)
        self._note(old.id, old.turns, self.removed)

    def carry_on(self, old: Conversation) -> None:
        """Append one to three exchanges to the current branch."""
        scribe = Scribe(self.dice, self.style)
        turns = list(old.turns)
        parent, when = old.current, self._moment()
        for _ in range(self.dice.between(1, 3)):
            turns += scribe.exchange(parent, when)
            parent, when = turns[-1].id, when + 60
        self._rewritten(old, turns)

    def edit(self, old: Conversation) -> None:
        """Ask one question differently: a new branch beside the old wording."""
        scribe = Scribe(self.dice, self.style)
        self._rewritten(old, branch(scribe, list(old.turns), self._moment()))

    def rewrite(self, old: Conversation) -> None:
        """Ask the last question differently, and lose the old wording and its answer."""
        asked = [turn for turn in old.turns if turn.word][-1]
        lost = _below(old.turns, asked.id)
        kept = [turn for turn in old.turns if turn.id not in lost]
        scribe = Scribe(self.dice, self.style)
        self._rewritten(old, kept + scribe.exchange(asked.parent, self._moment()))

    def retitle(self, old: Conversation) -> None:
        """Give a conversation another title."""
        title = f"{Scribe(self.dice, self.style).prose.title()} {self.dice.word()}"
        self.state[old.id] = replace(old, title=title)
        self.metadata.add(old.id)

    def flip(self, old: Conversation) -> None:
        """Archive or star a conversation, or take that back."""
        if self.dice.chance(0.5):
            self.state[old.id] = replace(old, archived=not old.archived)
        else:
            self.state[old.id] = replace(old, starred=not old.starred)
        self.metadata.add(old.id)

    def disturb(self, old: Conversation) -> None:
        """Let the exporter write an unchanged conversation differently."""
        updated = self._moment() if self.dice.chance(0.1) else old.updated
        if self.dice.chance(0.1):
            updated = float(int(updated))
        self.state[old.id] = replace(old, noise=old.noise + 1, updated=updated)

    def _rewritten(self, old: Conversation, turns: list[Turn]) -> None:
        before = {turn.id for turn in old.turns}
        after = {turn.id for turn in turns}
        # Now and then the exporter forgets to move the time of the last update.
        updated = old.updated if self.dice.chance(0.1) else turns[-1].created
        self.state[old.id] = replace(old, turns=tuple(turns), current=turns[-1].id, updated=updated)
        self.changed.add(old.id)
        self._note(old.id, [turn for turn in turns if turn.id not in before], self.added)
        self._note(old.id, [turn for turn in old.turns if turn.id not in after], self.removed)

    def _moment(self) -> float:
        return self.when - WEEK * (0.02 + 0.9 * self.dice.random())

    @staticmethod
    def _note(
        conversation: str, turns: tuple[Turn, ...] | list[Turn], changes: list[TextChange]
    ) -> None:
        changes.extend(
            TextChange(conversation, turn.id, turn.body, turn.word)
            for turn in turns
            if turn.role in _VISIBLE and turn.kind in ("text", "cited", "image") and turn.body
        )


def _begin(dice: Dice, style: Style, when: float, span: float) -> Conversation:
    # Recent weeks see more new conversations than those two years ago.
    age = span * (0.01 + 0.98 * dice.random() * (0.4 + 0.6 * dice.random()))
    created = round(when - age, 6)
    return new_conversation(Dice(dice.hex(16)), style, created, when - span * 0.005)


def _below(turns: tuple[Turn, ...], top: str) -> set[str]:
    """Return the ids of `top` and of every turn that follows from it."""
    found = {top}
    for turn in turns:  # parents come before their children
        if turn.parent in found:
            found.add(turn.id)
    return found
