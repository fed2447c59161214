"""What the commands of reviewers share: who answers, which states are listed, and a step that was not taken."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from bylaw.cli.saying import ERROR, FINDINGS, failed, say_json
from bylaw.errors import StoreError

if TYPE_CHECKING:  # commands import what they need when they run
    from bylaw.govern.quorum import Person
    from bylaw.store.database import Store

As = Annotated[str, typer.Option("--as", metavar="PERSON", help="Who you are, as your key has it.", show_default=False)]
Secret = Annotated[
    str, typer.Option("--key", envvar="BYLAW_KEY", help="Your API key; better in BYLAW_KEY, which others cannot see.", show_default=False)
]
Everything = Annotated[bool, typer.Option("--all", help="In any state.")]
OfTenant = Annotated[str | None, typer.Option(help="Of one tenant.", show_default=False)]

S = TypeVar("S", bound=str)


def in_state(usual: str) -> Any:
    """The option for the states that a list shows; `usual` says which ones it shows without."""
    return typer.Option(help="In this state; repeat for several.", show_default=usual)


def wanted(known: Sequence[S], asked: Sequence[str] | None, usual: Sequence[str], everything: bool, whose: str) -> list[S]:
    """The states to list; raises StoreError for one that there is not."""
    if unknown := set(asked or ()) - set(known):
        raise StoreError(f"{min(unknown)!r} is no state of {whose}", f"There are: {', '.join(known)}.")
    return [one for one in known if everything or one in (asked or usual)]


def holder(store: "Store", secret: str, claimed: str) -> "Person":
    """Who shows this key; raises StoreError where it is nobody's, or not theirs who claim it."""
    from bylaw.govern import keys  # noqa: PLC0415  # see `cli`

    if not secret:
        raise StoreError("who answers must show who they are", "Put your API key into BYLAW_KEY; `bylaw keys create` makes one.")
    key = keys.holder(store, secret)
    if key is None:
        raise StoreError("this key is not known, or no longer good", "See `bylaw keys list`.")
    if claimed and claimed != key.grant.principal:
        raise StoreError(f"this key is {key.grant.principal}'s, not {claimed}'s", "Use your own key.")
    return key.person()


def not_taken(why: str, text: str, hint: str, as_json: bool, of: Mapping[str, str] | None = None) -> typer.Exit:
    """Say why a step was not taken; what to exit with. `of` names what it was about, for machines."""
    if as_json:
        say_json({"refused": why, "text": text, **(of or {})})
    else:
        failed(text, hint)
    # what cannot be meant so is an error; what may not be, or not any more, is a finding
    return typer.Exit(ERROR if why in ("unknown_id", "wrong") else FINDINGS)
