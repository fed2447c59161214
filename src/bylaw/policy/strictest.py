"""Of several effects, the strictest: block > require_approval > revise > redact > allow."""

from collections.abc import Iterable
from typing import Final, get_args

from bylaw.types import Effect

ORDER: Final[tuple[Effect, ...]] = get_args(Effect)  # weakest first, as the vocabulary lists them


def strictest(effects: Iterable[Effect]) -> Effect:
    """The strictest effect; of none, or of a word that is no effect, `block`."""
    ranks = [ORDER.index(effect) if effect in ORDER else len(ORDER) - 1 for effect in effects]
    return ORDER[max(ranks, default=len(ORDER) - 1)]
