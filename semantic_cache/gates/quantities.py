"""The quantities of a text as exact values: digits and words, fractions, multiples, percentages, money,
times."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from semantic_cache.gates.remembered import remembered
from semantic_cache.gates.text import Text, stem
from semantic_cache.gates.words import words_in

_ONES = {
    word: value
    for value, word in enumerate(
        words_in(
            "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
            "sixteen seventeen eighteen nineteen"
        )
    )
}
_TENS = {
    word: 20 + 10 * place
    for place, word in enumerate(words_in("twenty thirty forty fifty sixty seventy eighty ninety"))
}
_SCALES = {
    "hundred": 100,
    "thousand": 1000,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "lakh": 10**5,
    "crore": 10**7,
}
_MULTIPLES = {
    "once": 1,
    "twice": 2,
    "thrice": 3,
    "double": 2,
    "doubles": 2,
    "doubled": 2,
    "doubling": 2,
    "triple": 3,
    "triples": 3,
    "tripled": 3,
    "quadruple": 4,
    "quadrupled": 4,
    "dozen": 12,
    "dozens": 12,
    "twofold": 2,
    "threefold": 3,
    "tenfold": 10,
    "decade": 10,
    "decades": 10,
    "quadruples": 4,
    "quintuple": 5,
}
_PARTS = {
    "half": Fraction(1, 2),
    "halves": Fraction(1, 2),
    "halved": Fraction(1, 2),
    "third": Fraction(1, 3),
    "thirds": Fraction(1, 3),
    "quarter": Fraction(1, 4),
    "quarters": Fraction(1, 4),
    "fourth": Fraction(1, 4),
    "fourths": Fraction(1, 4),
    "fifth": Fraction(1, 5),
    "fifths": Fraction(1, 5),
    "sixth": Fraction(1, 6),
    "sixths": Fraction(1, 6),
    "seventh": Fraction(1, 7),
    "sevenths": Fraction(1, 7),
    "eighth": Fraction(1, 8),
    "eighths": Fraction(1, 8),
    "ninth": Fraction(1, 9),
    "ninths": Fraction(1, 9),
    "tenth": Fraction(1, 10),
    "tenths": Fraction(1, 10),
    "twelfth": Fraction(1, 12),
    "hundredth": Fraction(1, 100),
    "hundredths": Fraction(1, 100),
}
_ORDINALS = {
    word: place
    for place, word in enumerate(
        words_in(
            "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth "
            "fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"
        ),
        start=1,
    )
}
_SUFFIX = {"k": 1000, "m": 10**6, "mn": 10**6, "b": 10**9, "bn": 10**9}
_MONEY = {"$": "dollar", "€": "euro", "£": "pound-sterling", "¥": "yen"}
_TOKEN = re.compile(
    r"(?P<time>\b\d{1,2}:\d{2}(?::\d{2})?)"
    r"|(?:(?P<money>[$€£¥])\s?)?(?P<number>(?<![\w.])-?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:(?<=\d)\.\d+|(?<!\d)\.\d+)?(?<=\d))"
    r"(?:\s?/\s?(?P<denominator>\d+)(?![\d/]))?"
    r"(?:(?P<ordinal>st|nd|rd|th)\b|\s?(?P<suffix>k|m|mn|b|bn)\b(?!\w)|(?P<percent>\s?(?:%|percent\b|per\s?cent\b)))?"
    r"|(?P<word>[a-z]+)",
    re.IGNORECASE,
)
_AFTER = re.compile(
    r"[\s-]*(?:of\s+|the\s+|a\s+|an\s+|more\s+|as\s+|many\s+|much\s+)*([a-z%$€£]+)", re.IGNORECASE
)
_AM = re.compile(r"\s?a\.?m\b", re.IGNORECASE)
_RATIO = re.compile(r"\b(?:ratio|proportion|odds|proportioned)\b", re.IGNORECASE)


_DIGIT = re.compile(r"\d")
_LETTERS = re.compile(r"[a-z]+")
_NUMBER_WORDS = frozenset((*_ONES, *_TENS, *_SCALES, *_MULTIPLES, *_PARTS, *_ORDINALS))


@dataclass(frozen=True, slots=True)
class Quantity:
    """A value, the kind of thing it is, and the stem of the word that follows it."""

    value: Fraction
    kind: str
    """`number`, `ordinal`, `time` or `one` (the word, which may be no number at all)."""
    unit: str
    begin: int


@remembered(4096)
def quantities(text: Text) -> tuple[Quantity, ...]:
    """Return a question's quantities, in order; they are remembered."""
    return read_quantities(text)


def read_quantities(text: Text) -> tuple[Quantity, ...]:
    """Return the quantities of a text of any length, in order."""
    # Most questions have none, which is soon seen: no digit, and no word that could be one.
    if _DIGIT.search(text.raw) is None and _NUMBER_WORDS.isdisjoint(_LETTERS.findall(text.raw.lower())):
        return ()
    return tuple(_Reader(text.raw).read())


class _Reader:
    """Reads left to right, putting number words together."""

    def __init__(self, raw: str) -> None:
        self.raw = raw
        self.tokens = [match for match in _TOKEN.finditer(raw) if match.group().strip()]
        self.out: list[Quantity] = []

    def read(self) -> list[Quantity]:
        place = 0
        while place < len(self.tokens):
            token = self.tokens[place]
            if token["time"] and _RATIO.search(self.raw, max(0, token.start() - 40), token.start()):
                for part in token["time"].split(":"):
                    self._add(Fraction(part), "number", token.start(), token.end(), "")
                place += 1
            elif token["time"]:
                hours, minutes = token["time"].split(":")[:2]
                end = token.end()
                hour = int(hours) % 12 if self._am(end) or self._pm(end) else int(hours)
                minute = (hour + 12 * self._pm(end)) * 60 + int(minutes)
                self._add(Fraction(minute), "time", token.start(), end)
                place += 1
            elif token["number"]:
                place = self._digits(place)
            else:
                place = self._words(place)
        return self.out

    def _pm(self, end: int) -> bool:
        return self.raw[end : end + 6].lower().replace(".", "").replace(" ", "").startswith("pm")

    def _am(self, end: int) -> bool:
        return bool(_AM.match(self.raw, end))

    def _digits(self, place: int) -> int:
        token = self.tokens[place]
        value = Fraction(token["number"].replace(",", ""))
        if (bottom := token["denominator"]) and int(bottom):
            value /= int(bottom)
            whole = self.out[-1] if self.out else None
            if (
                whole
                and value < 1
                and whole.value.denominator == 1
                and whole.kind == "number"
                and not self.raw[whole.begin : token.start()].lstrip("0123456789,").strip(" -")
            ):
                value += self.out.pop().value
        if token["suffix"]:
            value *= _SUFFIX[token["suffix"].lower()]
        if token["percent"]:
            value /= 100
        kind = "ordinal" if token["ordinal"] else "number"
        end, place = token.end(), place + 1
        while kind == "number" and place < len(self.tokens) and self._joined(end, place):
            scale = _SCALES.get(self.tokens[place].group().lower()) or _MULTIPLES_AFTER.get(
                self.tokens[place].group().lower()
            )
            if scale is None:
                break
            value, end, place = value * scale, self.tokens[place].end(), place + 1
        if kind == "number" and self._pm(end) and value <= 12:
            self._add(value % 12 * 60 + 720, "time", token.start(), end)
        elif kind == "number" and self._am(end) and value <= 12:
            self._add(value % 12 * 60, "time", token.start(), end)
        else:
            self._add(value, kind, token.start(), end, _MONEY.get(token["money"] or ""))
        return place

    def _joined(self, end: int, place: int) -> bool:
        return not self.raw[end : self.tokens[place].start()].strip(" -")

    def _words(self, place: int) -> int:
        token = self.tokens[place]
        word = token.group().lower()
        begin, end = token.start(), token.end()
        if word in _ONES or word in _TENS or (word in _SCALES and word[-1] != "s"):
            return self._cardinal(place)
        if word in _MULTIPLES:
            self._add(Fraction(_MULTIPLES[word]), "one" if word == "once" else "number", begin, end, "")
        elif word in _PARTS and (word not in _ORDINALS or self._fraction_context(place)):
            self._add(_PARTS[word], "number", begin, end, "")
        elif word in _ORDINALS and not (word == "second" and self._after_article_of_time(place)):
            self._add(Fraction(_ORDINALS[word]), "ordinal", begin, end)
        return place + 1

    def _cardinal(self, place: int) -> int:
        begin = self.tokens[place].start()
        total, group, end, first = 0, 0, self.tokens[place].start(), True
        last = ""
        while place < len(self.tokens):
            token = self.tokens[place]
            word = token.group().lower()
            gap = self.raw[end : token.start()].strip(" -")
            if not first and gap:
                break
            if word in _TENS and (first or last in _SCALES or last == "and"):
                group += _TENS[word]
            elif word in _ONES and (
                first or last in _SCALES or last == "and" or (last in _TENS and 0 < _ONES[word] < 10)
            ):
                group += _ONES[word]
            elif word in _SCALES and (not first or word):
                scale = _SCALES[word]
                if scale == 100:
                    group = max(group, 1) * 100
                else:
                    total, group = total + max(group, 1) * scale, 0
            elif word == "and" and last in _SCALES and self._number_word(place + 1):
                pass
            else:
                break
            end, last, first, place = token.end(), word, False, place + 1
        value = Fraction(total + group)
        if place < len(self.tokens) and self._joined(end, place):
            word = self.tokens[place].group().lower()
            if word in _MULTIPLES_AFTER:
                value, end, place = value * _MULTIPLES_AFTER[word], self.tokens[place].end(), place + 1
            elif word in _PARTS and word not in ("second",) and (word.endswith("s") or value == 1):
                value, end, place = value * _PARTS[word], self.tokens[place].end(), place + 1
                self._add(value, "number", begin, end)
                return place
            elif word == "percent":
                value, end, place = value / 100, self.tokens[place].end(), place + 1
        if self._pm(end):
            self._add(value % 12 * 60 + 720, "time", begin, end)
            return place
        written_one = value == 1 and last == "one"
        self._add(value, "one" if written_one else "number", begin, end)
        return place

    def _number_word(self, place: int) -> bool:
        if place >= len(self.tokens):
            return False
        word = self.tokens[place].group().lower()
        return word in _ONES or word in _TENS

    def _fraction_context(self, place: int) -> bool:
        """ "A third of", "one-fourth the": but "the third day" is an ordinal."""
        token = self.tokens[place]
        after = self.raw[token.end() : token.end() + 12].lower()
        before = self.raw[max(0, token.start() - 8) : token.start()].lower()
        return bool(re.match(r"\s+(of|as|the|that|more|less)\b", after)) and bool(
            re.search(r"\b(a|an|one)[\s-]$", before)
        )

    def _after_article_of_time(self, place: int) -> bool:
        """ "A second", "per second", "every second" are times."""
        token = self.tokens[place]
        before = self.raw[max(0, token.start() - 6) : token.start()].lower()
        return bool(re.search(r"\b(per|a|each)\s$", before))

    def _add(self, value: Fraction, kind: str, begin: int, end: int, unit: str | None = None) -> None:
        if unit is None:
            match = _AFTER.match(self.raw, end)
            unit = stem(match.group(1).lower()) if match else ""
        self.out.append(Quantity(value, kind, unit, begin))


_MULTIPLES_AFTER = {"dozen": 12, "dozens": 12, "hundred": 100, "score": 20}
