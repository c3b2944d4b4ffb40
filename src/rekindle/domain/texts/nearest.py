"""Which known word was probably meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_CUTOFF = 0.6
_LISTED = 12
_COMPARED = 4_000


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is closest to `word`, or None when none is close. Case counts only between equals."""
    candidates = list(dict.fromkeys(known))
    folded: dict[str, str] = {}
    for candidate in candidates:
        folded.setdefault(candidate.casefold(), candidate)
    wanted = word.casefold()
    if wanted in folded:
        return folded[wanted]
    close = get_close_matches(wanted, _comparable(wanted, folded), n=1, cutoff=_CUTOFF)
    return folded[close[0]] if close else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint: "did you mean `needs`?", else "known: a, b, c", or "" when nothing is known at all."""
    candidates = list(dict.fromkeys(known))
    if not candidates:
        return ""
    close = nearest(word, candidates)
    if close is not None:
        return f"did you mean `{close}`?"
    listed = ", ".join(candidates[:_LISTED])
    return f"known: {listed}" + (", …" if len(candidates) > _LISTED else "")


def _comparable(wanted: str, folded: Iterable[str]) -> list[str]:
    """What is worth comparing: all of a short list; of a long one (job names) what begins alike, up to a bound."""
    candidates = list(folded)
    if len(candidates) <= _COMPARED:
        return candidates
    alike = (c for c in candidates if c[:1] == wanted[:1] and abs(len(c) - len(wanted)) <= max(3, len(wanted) // 3))
    return [candidate for candidate, _ in zip(alike, range(_COMPARED), strict=False)]
