"""How one conversation comes to be: its first exchanges and every later one.

Which kinds of turn occur depends on when they are written: until 2023 there is only text; later
exchanges may hold pictures, recordings, tool calls, thoughts and citations.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from backupd.demo.exports.assets import make_asset
from backupd.demo.exports.dice import Dice
from backupd.demo.exports.text import Prose
from backupd.demo.exports.values import Conversation, Kind, Options, Role, Turn

# Conversation ids begin with the time of creation in hexadecimal since about this moment.
_TIMED_IDS_SINCE = 1_704_067_200.0
_MODELS_2023 = ("text-davinci-002-render-sha", "gpt-4", "gpt-4-browsing")
_MODELS = ("gpt-4o", "gpt-5", "gpt-5-thinking", "o3", "gpt-4-1-mini")
_CITATION = "\ue200cite\ue202turn0search{}\ue201"


@dataclass(frozen=True, slots=True)
class Style:
    """What an exchange may hold: `rich` is everything since 2024."""

    rich: bool
    options: Options


class Scribe:
    """Writes the turns of one conversation; a new one continues where the old one stopped."""

    def __init__(self, dice: Dice, style: Style) -> None:
        self.dice = dice
        self.prose = Prose(dice)
        self._style = style
        self._last_code = ""

    def exchange(self, parent: str, when: float) -> list[Turn]:
        """Return a question with all that leads to its answer; `parent` is the node before it."""
        asked = self._question(parent, when)
        turns = [asked]
        if self._style.rich:
            turns += self._detour(asked.id, when + 2)
        turns.append(self.reply(turns[-1].id, when + 5 + 30 * self.dice.random()))
        return turns

    def reply(self, parent: str, when: float) -> Turn:
        """Return an assistant's answer."""
        dice = self.dice
        if dice.chance(0.01):
            return self._turn(parent, "assistant", "aborted", "", when)
        body = self.prose.answer()
        if dice.chance(0.3):
            body = f"{body}\n\n{self._code()}\n\n{self.prose.paragraph(2)}"
        if dice.chance(self._style.options.hostile):
            body = f"{body}\n\n{self.prose.awkward()}"
        if self._style.rich and dice.chance(0.06):
            body = f"{body} {_CITATION.format(dice.below(9))} {self.prose.sentence()}"
            return self._turn(parent, "assistant", "cited", body, when)
        return self._turn(parent, "assistant", "text", body, when)

    def system(self, parent: str, when: float) -> Turn:
        """Return the hidden, empty turn every conversation begins with."""
        return self._turn(parent, "system", "text", "", when)

    def context(self, parent: str, when: float) -> Turn:
        """Return the hidden turn that carries the person's custom instructions."""
        return self._turn(parent, "user", "context", self.prose.paragraph(2), when)

    def _question(self, parent: str, when: float) -> Turn:
        dice = self.dice
        word = dice.word()
        body = self.prose.prompt(word)
        if dice.chance(self._style.options.hostile):
            body = f"{body} {self.prose.awkward()}"
        if self._style.rich and dice.chance(self._style.options.asset_share):
            form = dice.random()
            kind: Kind = "audio" if form < 0.25 else "image"
            asset = make_asset(
                dice, "audio" if kind == "audio" else "upload", self._style.options.asset_size
            )
            return replace(self._turn(parent, "user", kind, body, when), word=word, asset=asset)
        return replace(self._turn(parent, "user", "text", body, when), word=word)

    def _detour(self, parent: str, when: float) -> list[Turn]:
        """Return what happens between question and answer: thoughts, tool calls, pictures."""
        form = self.dice.random()
        if form < 0.07:
            thought = self._turn(parent, "assistant", "thoughts", self.prose.paragraph(4), when)
            seconds = self.dice.between(2, 90)
            recap = f"Thought for {seconds}s"
            return [thought, self._turn(thought.id, "assistant", "recap", recap, when + seconds)]
        if form < 0.12:
            call = self._turn(parent, "assistant", "code", self.prose.code(), when)
            output = self._turn(call.id, "tool", "output", self.prose.paragraph(2), when + 1)
            return [call, output]
        if form < 0.14:
            return [self._turn(parent, "tool", "quote", self.prose.paragraph(3), when)]
        if form < 0.14 + self._style.options.asset_share / 2:
            kind = "dalle" if self.dice.chance(0.5) else "made"
            asset = make_asset(self.dice, "dalle" if kind == "dalle" else "made",
                               self._style.options.asset_size)  # fmt: skip
            made = self._turn(parent, "tool", "image", self.prose.sentence(), when)
            return [replace(made, asset=asset)]
        return []

    def _code(self) -> str:
        if self._last_code and self.dice.chance(0.3):
            self._last_code = self.prose.requote(self._last_code)
        else:
            self._last_code = self.prose.code()
        return self._last_code

    def _turn(self, parent: str, role: Role, kind: Kind, body: str, when: float) -> Turn:
        dice = self.dice
        return Turn(dice.uuid(), parent, role, kind, body, round(when, 6), dice.uuid())


def new_conversation(dice: Dice, style: Style, created: float, latest: float) -> Conversation:
    """Return a conversation begun at `created` whose last turn is not after `latest`."""
    scribe = Scribe(dice, style)
    root = "client-created-root" if style.rich and dice.chance(0.5) else dice.uuid()
    turns = [scribe.system(root, created)]
    if style.rich and dice.chance(0.2):
        turns.append(scribe.context(turns[-1].id, created))
    exchanges = _exchange_count(dice)
    step = min(86_400.0, max(1.0, (latest - created) / (exchanges + 1)))
    when = created
    for _ in range(exchanges):
        turns += scribe.exchange(turns[-1].id, when)
        when += step * dice.random()
    if exchanges > 1 and dice.chance(0.12):
        turns = branch(scribe, turns, when)
    return Conversation(
        id=_conversation_id(dice, created),
        title=None if dice.chance(0.02) else _title(scribe),
        created=created,
        updated=max(turn.created for turn in turns),
        root=root,
        turns=tuple(turns),
        current=turns[-1].id,
        model=dice.pick(_MODELS if style.rich else _MODELS_2023),
        archived=style.rich and dice.chance(0.05),
        starred=style.rich and dice.chance(0.02),
    )


def branch(scribe: Scribe, turns: list[Turn], when: float) -> list[Turn]:
    """Return `turns` with one question asked differently, beside the old one, and answered."""
    asked = scribe.dice.pick([turn for turn in turns if turn.word])
    return turns + scribe.exchange(asked.parent, when)


def _exchange_count(dice: Dice) -> int:
    """Return how many exchanges a conversation has: few, in rare cases very many."""
    if dice.chance(0.01):
        return dice.between(40, 120)
    return 1 + int(27 * dice.random() * dice.random())


def _title(scribe: Scribe) -> str:
    if scribe.dice.chance(0.03):
        return f"{scribe.prose.title()} {scribe.prose.awkward()}"
    return scribe.prose.title()


def _conversation_id(dice: Dice, created: float) -> str:
    plain = dice.uuid()
    if created < _TIMED_IDS_SINCE:
        return plain
    return f"{int(created):08x}{plain[8:]}"
