"""Anything that answers: an embedded or transformers model, an endpoint, our gateway before either, a script.

One protocol for all: `ask` takes a batch of conversations and gives a `Said` for each, in order. A row that got no reply is `missing`
and says why in `fault`; only a target that can answer nobody at all (no such model, nothing listens) is an error. What a target is called
is `models.targets`'s one syntax, and `open_target` opens it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

from bylaw.errors import ModelError
from bylaw.models import loading, targets, transcript
from bylaw.models.endpoint import Heard, Talk
from bylaw.models.manners import USUAL, Manners
from bylaw.types import Completion, Message, Model, Progress, Sampling


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call that a reply asks for. `args` is None where they cannot be read."""

    tool: str
    args: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a target is asked: messages, the tools it may call, and the session it belongs to (the gateway counts by session)."""

    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()  # function schemas as OpenAI writes them
    session: str = ""
    documents: tuple[str, ...] = ()  # apart from the messages, for a target that `takes_documents`


@dataclass(frozen=True, slots=True)
class Said:
    """What a target answered. `disposition`, `clauses` and `record` are the gateway's own words, empty where there is no gateway."""

    text: str
    thinking: str = ""
    tool_calls: tuple[Call, ...] = ()
    disposition: str = ""  # allow | redact | revise | require_approval | block | stop, from `bylaw` in the body or x-bylaw-decision
    clauses: tuple[str, ...] = ()  # that decided, as the gateway says
    record: str = ""  # where the ledger has it
    approval: str = ""  # the id of the request for approval that now waits for people
    fault: str = ""  # why it is missing, or malformed
    missing: bool = False  # no reply at all: neither right nor wrong
    before: tuple[str, ...] = ()  # what it answered to earlier turns of the case, where it was asked turn by turn


class Target(Protocol):
    """Anything that answers conversations."""

    @property
    def name(self) -> str:
        """What to call it in rows and reports."""
        ...

    def ask(self, conversations: Sequence[Conversation], progress: Progress | None = None) -> list[Said]:
        """Answer each conversation once, in order; a row without a reply is missing and never raises."""
        ...


def missing(why: str) -> Said:
    """What stands where a target gave no reply."""
    return Said("", fault=why, missing=True)


# ---- Models as targets -------------------------------------------------------------------------------------------------

_HERE: Final = Path(__file__).parent
_OFFER: Final = (_HERE / "tools_offer.md").read_text(encoding="utf-8")
OPEN: Final = "<tool_call>"
CLOSE: Final = "</tool_call>"
MOST_CALLS: Final = 64  # of one reply of a model without an interface for tools


@dataclass(frozen=True, slots=True)
class ModelTarget:
    """Any model as a target. One behind an endpoint is asked with tools and a session; others are offered tools in words."""

    model: Model
    sampling: Sampling
    called: str = ""  # the name for rows and reports, without the path it was found at; empty: the model's own
    lenient: bool = True  # whether a reply without the thought that was asked for is an answer all the same
    excerpt: str = ""  # the policy in the prompt, if it is to stand there
    worded: Callable[[tuple[Message, ...], str], tuple[Message, ...]] | None = None  # how an excerpt comes into a conversation
    attaches: bool = False  # whether documents go as files, which a bylaw gateway takes for the surface `document`

    @property
    def name(self) -> str:
        """The model's name, and whether the policy stands in its prompt."""
        name = self.called or self.model.name
        return f"{name} + policy" if self.excerpt else name

    @property
    def takes_documents(self) -> bool:
        """Whether documents may come apart from the messages."""
        return self.attaches and isinstance(self.model, Talker)

    def ask(self, conversations: Sequence[Conversation], progress: Progress | None = None) -> list[Said]:
        """Answer each conversation once, in order."""
        framed = [self._framed(one) for one in conversations]
        if isinstance(self.model, Talker):
            talks = [Talk(one.messages, one.tools, one.session, one.documents) for one in framed]
            heard = self.model.converse(talks, self.sampling, progress)
            return [said_by(one, self.sampling.thinking) for one in heard]
        refused = [unaskable(self.model, self._offered(one), self.sampling) for one in framed]
        asked = [self._offered(one) for one, why in zip(framed, refused, strict=True) if not why]
        completions = iter(self.model.generate(asked, self.sampling, progress) if asked else [])
        return [missing(why) if why else self._said(next(completions), one) for one, why in zip(framed, refused, strict=True)]

    def _framed(self, one: Conversation) -> Conversation:
        return replace(one, messages=self.worded(one.messages, self.excerpt)) if self.worded and self.excerpt else one

    def _offered(self, one: Conversation) -> tuple[Message, ...]:
        """The messages with the tools in words, for a model that has no other way to meet them."""
        if not one.tools:
            return one.messages
        offer = _OFFER.replace("{tools}", json.dumps([dict(tool) for tool in one.tools], ensure_ascii=False))
        if one.messages and one.messages[0].role == "system":
            return (Message("system", f"{one.messages[0].content}\n\n{offer}"), *one.messages[1:])
        return (Message("system", offer), *one.messages)

    def _said(self, completion: Completion, one: Conversation) -> Said:
        if completion.finish == "error":
            return missing(completion.fault or "no reply")
        if completion.fault and self.lenient and self.sampling.thinking:
            again = transcript.parse(completion.raw, completion.finish, thinking=False)
            completion = completion if again.fault else again
        text, calls = calls_in(completion.answer) if one.tools else (completion.answer, ())
        cut = completion.raw if completion.finish in ("length", "refused") and self.lenient else ""
        return Said(text or cut, completion.thinking, calls, fault=completion.fault)


@runtime_checkable
class Talker(Protocol):
    """A model that takes tools and sessions, and tells what a gateway said: `models.remote`."""

    def converse(self, talks: Sequence[Talk], sampling: Sampling, progress: Progress | None = None) -> list[Heard]:
        """Hear each talk once, in order."""
        ...


def said_by(heard: Heard, thinking: bool) -> Said:
    """A reply over the wire as a Said: what a gateway withholds is no fault of the reply."""
    reply = heard.reply
    if reply is None:
        return missing(heard.why)
    calls = tuple(Call(name, args) for name, args in reply.tool_calls)
    ruling = reply.ruling
    found = transcript.parse(transcript.render(reply.reasoning, reply.text), "stop", thinking=thinking)
    if found.fault:  # no thought was written, or none is shown: what is there is the answer
        found = transcript.parse(reply.text, "stop", thinking=False)
    text, fault = (found.answer, "") if not found.fault else (reply.text, found.fault)
    if not text.strip() and not calls and not ruling.decision:
        fault = fault or "an empty reply"
    elif not reply.text.strip():
        fault = ""  # a call needs no words, nor does a refusal of the gateway
    cut = "cut off" if reply.finish == "length" else fault
    thinks = found.thinking or reply.reasoning
    return Said(text, thinks, calls, ruling.decision, ruling.clauses, ruling.record, ruling.approval, cut)


def calls_in(answer: str) -> tuple[str, tuple[Call, ...]]:
    """An answer without the tool calls written in it, and those calls (`<tool_call>{"name": …, "arguments": {…}}</tool_call>`)."""
    kept: list[str] = []
    calls: list[Call] = []
    rest = answer
    while len(calls) < MOST_CALLS:
        before, opened, after = rest.partition(OPEN)
        inside, closed, behind = after.partition(CLOSE)
        if not opened or not closed:  # nothing more that is whole; what is not whole stays text
            break
        kept.append(before)
        calls.append(_call(inside))
        rest = behind
    return "".join((*kept, rest)).strip(), tuple(calls)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands there twice")  # two readers would read two different calls
    return found


def _call(written: str) -> Call:
    try:
        value = json.loads(written, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        value = None
    name, args = (value.get("name"), value.get("arguments", {})) if isinstance(value, dict) else ("", None)
    return Call(name if isinstance(name, str) else "", args if isinstance(args, dict) else None)


def unaskable(model: Model, messages: Sequence[Message], sampling: Sampling) -> str:
    """Why a model in this process cannot be asked this; empty where it can, and for whoever knows its own limits."""
    context = getattr(model, "context", None)
    if context is None:
        return ""
    from bylaw.models.local import LocalModel, prompt_ids, render_prompt  # noqa: PLC0415  # torch, which only weights need

    if not isinstance(model, LocalModel):
        return ""
    try:
        length = len(prompt_ids(model.tokenizer, render_prompt(model.tokenizer, messages, sampling.thinking)))
    except ModelError as error:  # its template does not take such a conversation
        return error.what
    fits = length + sampling.max_new_tokens <= context
    return "" if fits else f"the prompt and {sampling.max_new_tokens} tokens to answer do not fit the context of {context}"


USUAL_SAMPLING: Final = Sampling(max_new_tokens=1024)


def open_target(name: str, sampling: Sampling = USUAL_SAMPLING, manners: Manners = USUAL) -> Target:
    """Open what a person named; raises ModelError in one line where it cannot be. `scripted:FILE` may hold tool calls and dispositions."""
    target = targets.parse(name)
    if target.kind == "scripted":
        from bylaw.evals import scripted_target  # noqa: PLC0415  # it builds on this module

        return scripted_target.load(Path(target.where))
    model = loading.open_model(target, manners)
    trained = target.kind == "local" and bool(target.arm)  # by us: its form is part of what it was taught
    return ModelTarget(model, replace(sampling, thinking=target.thinks), shown_name(target), lenient=not trained)


def shown_name(target: targets.Target) -> str:
    """What to call a target where no path may stand: a run's folder and arm, a model's folder, or what the person wrote."""
    if target.kind != "local" or target.embedded:
        return target.text
    folder = Path(target.where)
    return f"{folder.parent.parent.name}:{target.arm}" if target.arm else folder.name
