"""What of a text becomes searchable words. Pure; the same for what is stored and what is asked.

SQLite's unicode61 makes words of letters and digits between spaces, which fails for scripts that
write none and for emoji. So every character of such a script, and every emoji, is set apart here
as a word of its own; a run of them that is asked for becomes a phrase. A trigram index would find
parts of all words, but none of fewer than three characters (most Chinese and Japanese words have
two), and takes six times the room: measured, see docs/measurements.md.

Emoji are no letters to SQLite, whose table knows only older ones: each becomes a character of the
private use area. What stood there before becomes a space: exports put marks of citations there.
"""

from __future__ import annotations

import re
import unicodedata

TOKENIZER = "unicode61 remove_diacritics 2 categories 'L* N* Co Mn Mc'"
_PRIVATE = re.compile("[\ue000-\uf8ff]")
# Thai, Lao, Myanmar, Khmer; kana, bopomofo, ideographs, Hangul, half-width kana.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3031-\u3035\u3041-\u318f"
    "\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f"
    "\U00020000-\U0003ffff"
)
_ALONE = re.compile(f"([{_UNSPACED}])")
# (first, last, first of the private use area)
_EMOJI = ((0x1F000, 0x1FAFF, 0xE000), (0x2300, 0x23FF, 0xEB00), (0x2600, 0x27BF, 0xEC00),
          (0x2B00, 0x2BFF, 0xEE00))  # fmt: skip
_PICTURE = re.compile(f"[{''.join(f'{chr(first)}-{chr(last)}' for first, last, _ in _EMOJI)}]")


def searchable(text: str) -> str:
    """Return what is given to the tokenizer in place of `text`."""
    if text.isascii():
        return text
    text = _PRIVATE.sub(" ", text)
    text = unicodedata.normalize("NFKC", text.encode("utf-8", "replace").decode())
    return _PICTURE.sub(_named, _ALONE.sub(r" \1 ", text))


def has_words(text: str) -> bool:
    """Tell whether anything of `text` can be searched for."""
    return any(_is_word(character) for character in searchable(text))


def fold(text: str) -> str:
    """Return `text` in lower case and without accents, as long as it was."""
    if text.isascii():
        return text.lower()
    return "".join(map(_folded, text))


def pattern(text: str, *, prefix: bool) -> re.Pattern[str]:
    """Return what finds a word or phrase in a text that was folded, to show where it is."""
    words = re.findall(f"[{_UNSPACED}]|{_PICTURE.pattern}|[^\\W_{_UNSPACED}]+", fold(text))
    if not words:
        return re.compile(r"(?!)")
    begin = r"(?<![^\W_])" if _is_spaced(words[0]) else ""
    end = r"(?![^\W_])" if _is_spaced(words[-1]) and not prefix else ""
    rest = r"[^\W_]*" if prefix else ""
    return re.compile(begin + r"[\W_]*".join(map(re.escape, words)) + rest + end)


def _named(found: re.Match[str]) -> str:
    code = ord(found[0])
    place = next(to + code - first for first, last, to in _EMOJI if first <= code <= last)
    return f" {chr(place)} "


def _is_word(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] in "LN" or category in ("Co", "Mn", "Mc")


def _is_spaced(word: str) -> bool:
    return not (_ALONE.match(word) or _PICTURE.match(word))


def _folded(character: str) -> str:
    if character.isascii():
        return character.lower()
    bare = unicodedata.normalize("NFD", character)[:1].lower()
    return bare if len(bare) == 1 else character
