"""A tool call that waits for a person: asked at the keyboard where a clause says so and the client can, else out of band.

All of it goes through the one approval store, so that a call that was asked about here can be answered there, and runs at most once.

1. Out of band is the default: the client is told the request's id; the same call, made again, finds the answer.
2. `approvers: [user-at-keyboard]` says that the user of the agent may consent. What comes back from a form in the agent's host is the word
   of that user, and not four-eyes. It counts only where it meets every need of the decision alone.
3. By the protocol of 2026-07-28 the question goes back as `input_required` with sealed state (`mcp_seal`), good once, for this principal,
   server, tool, arguments and policy. By the older ones the client is asked inside the call (`elicitation/create`).
4. What a call brings its server besides its arguments (`requestState`, `inputResponses`) is approved with them. As our sealed state takes
   its place in a client's next call, it is sealed in, and sent from there.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, Protocol

from bylaw.canonical import canonical
from bylaw.govern.approvals import Approvals, Claim
from bylaw.govern.quorum import KEYBOARD, Person
from bylaw.govern.quorum import Refused as NotNow
from bylaw.govern.session import History
from bylaw.govern.wording import cited
from bylaw.serve.mcp_dealing import Dealing, Judged
from bylaw.serve.mcp_seal import BEGINS, MAX_CHARS, Seal, Unsealed
from bylaw.serve.mcp_wire import PARAMS, Rpc
from bylaw.serve.wire import JsonMap
from bylaw.store.approval_rows import Approval
from bylaw.types import Decision

ASKED: Final = "bylaw-approval"  # the name of our question among those of a result
FIELD: Final = "approve"
MAX_SHOWN: Final = 4_000  # characters of arguments in a form: nobody consents to what they do not see
SEALED_FOR: Final = "tools/call"
LOG: Final = logging.getLogger(__name__)


class Client(Protocol):
    """Whoever calls."""

    @property
    def modern(self) -> bool:
        """Whether it speaks the protocol of 2026-07-28."""

    @property
    def forms(self) -> bool:
        """Whether it can put a form before its user."""

    async def ask(self, method: str, params: JsonMap) -> JsonMap:
        """Ask the client something, by the older protocols; its result. Raises Rpc."""

    async def tell(self, message: JsonMap) -> None:
        """Hand a notification on."""


class NotYet(Exception):  # noqa: N818  # becomes a result
    """The call does not run now."""

    def __init__(self, decision: Decision, text: str, approval: str = "") -> None:
        super().__init__(text)
        self.decision = decision
        self.text = text
        self.approval = approval


class Question(Exception):  # noqa: N818  # becomes a result
    """The client is to ask its user, and to come again."""

    def __init__(self, result: JsonMap) -> None:
        super().__init__("input required")
        self.result = result


@dataclass(frozen=True, slots=True)
class Replied:
    """What a client brought along: our sealed state, and its user's answer."""

    state: str = ""
    answer: Any = None


def replied(params: JsonMap) -> Replied:
    """Take our state and the answer to our question out of a call; what belongs to the server stays."""
    state = params.get("requestState")
    if not isinstance(state, str) or not state.startswith(BEGINS):
        return Replied()
    params.pop("requestState")
    answers = params.pop("inputResponses", None)
    return Replied(state, answers.get(ASKED) if isinstance(answers, dict) else None)


@dataclass(slots=True)
class Asking:
    """One call that a person has to decide on."""

    dealing: Dealing
    judged: Judged
    approvals: Approvals | None
    seal: Seal | None
    beside: JsonMap = field(default_factory=dict)  # what the call brings its server besides its arguments, once it may run

    @property
    def what(self) -> dict[str, Any]:
        """What is approved: exactly this call. The session is no part of it, so that a call made after a restart finds its answer."""
        return {"server": self.dealing.server, "tool": self.judged.event.tool, "args": dict(self.judged.event.args), **self.beside}

    async def claimed(self, client: Client, brought: Replied) -> Claim:
        """The right to run the call, given once; raises NotYet, Question, Rpc."""
        dealing, decision = self.dealing, self.judged.decision
        if self.approvals is None:
            raise NotYet(decision, self._words("and there are no approvals here"))
        if brought.state:
            approval = await self._answered(self.approvals, brought)
        else:
            asked = await asyncio.to_thread(self.approvals.request, self.what, dealing.who.principal, decision)
            if isinstance(asked, NotNow):
                raise NotYet(decision, self._words(f"and cannot wait for one now: {asked.text}"))
            approval = asked
        if approval.state == "pending":
            await self._counts(self._held)
            if not brought.state and client.forms and at_keyboard(decision) and len(self._shown()) <= MAX_SHOWN:
                approval = await self._form(client, self.approvals, approval)
        if approval.state == "pending":
            raise NotYet(decision, waiting(self._because(), approval.id), approval.id)
        if approval.state == "approved":
            return await self._claim(self.approvals, approval)
        await self._counts(lambda history: history.given_back(self.judged.ref))
        raise NotYet(replace(decision, effect="block", needs=()), self._words(f"and its approval is {approval.state}"))

    async def _claim(self, approvals: Approvals, approval: Approval) -> Claim:
        dealing, event, ref = self.dealing, self.judged.event, self.judged.ref

        def rejudge() -> Decision:
            now = replace(dealing, law=dealing.gate.laws(dealing.who.principal))
            return now.law.now(replace(event, session=now.known(dealing.session.history.given_back(ref)), env=dealing.env()))

        def stops() -> Any:
            asked = dealing.gate.stops_now or dealing.gate.stops
            return asked(dealing.who.principal, event.tool)

        policy = dealing.law.digest
        claimed = asyncio.to_thread(approvals.claim, approval.id, self.what, dealing.who.principal, policy, rejudge, stops)
        claiming = asyncio.ensure_future(claimed)
        try:
            found = await asyncio.shield(claiming)
            if isinstance(found, Claim):
                await self._counts(lambda history: history.kept(ref, event))
                return found
        except BaseException:  # whoever asked is gone, or the session cannot take it: a claim that is given all the same runs nothing
            claiming.add_done_callback(partial(_unused, approvals))
            raise
        await self._counts(lambda history: history.given_back(ref))
        raise NotYet(replace(self.judged.decision, effect="block", needs=()), self._words(f"and {found.text}"))

    # ---- At the keyboard ----------------------------------------------------------------------------------------------

    async def _form(self, client: Client, approvals: Approvals, approval: Approval) -> Approval:
        question = {"mode": "form", "message": self._message(), "requestedSchema": FORM}
        if not client.modern:
            return await self._decided(approvals, approval, await client.ask("elicitation/create", question))
        if self.seal is None:
            return approval
        ttl_s = min(need.ttl_s for need in self.judged.decision.needs)
        beside = {"beside": self.beside} if self.beside else {}
        try:
            state = self.seal.closed(SEALED_FOR, {**self._bound(), **beside, "approval": approval.id}, ttl_s)
        except TypeError:  # half a surrogate pair cannot be sealed in
            return approval
        if len(state) > MAX_CHARS:
            return approval
        asked = {ASKED: {"method": "elicitation/create", "params": question}}
        raise Question({"resultType": "input_required", "inputRequests": asked, "requestState": state})

    async def _answered(self, approvals: Approvals, brought: Replied) -> Approval:
        if self.seal is None or not at_keyboard(self.judged.decision):
            raise Rpc(PARAMS, "requestState is refused: nothing here was asked at the keyboard")
        try:
            said = self.seal.opened(SEALED_FOR, brought.state, self._bound())
        except Unsealed as error:
            raise Rpc(PARAMS, f"requestState is refused: {error}; make the call again without it") from error
        self.beside = dict(said.get("beside") or {})
        if not await asyncio.to_thread(self.seal.used, said["nonce"]):
            raise Rpc(PARAMS, "requestState is refused: it was used before; make the call again without it")
        approval = await asyncio.to_thread(approvals.get, str(said["approval"]))
        if approval is None:
            raise Rpc(PARAMS, "requestState is refused: its request is not there")
        return await self._decided(approvals, approval, brought.answer) if approval.state == "pending" else approval

    async def _decided(self, approvals: Approvals, approval: Approval, answer: Any) -> Approval:
        yes = consent(answer)
        if yes is None:
            return approval
        who = self.dealing.who
        person = Person(f"{who.id} (at the keyboard)"[:200], (KEYBOARD,), str(who.principal.get("tenant") or ""))
        decided = await asyncio.to_thread(approvals.decide, approval.id, person, yes, "answered a form in the agent's host")
        if isinstance(decided, NotNow):
            found = await asyncio.to_thread(approvals.get, approval.id)
            return found or approval
        made: Approval = decided
        return made

    def _bound(self) -> dict[str, str]:
        """What an answer is good for."""
        dealing, event = self.dealing, self.judged.event
        place = str(dealing.who.principal.get("jurisdiction") or "")
        return {
            "principal": dealing.who.owner,
            "place": place,
            "server": dealing.server,
            "tool": event.tool,
            "arguments": self.judged.ref,
            "policy": dealing.law.digest,
        }

    # ---- Words --------------------------------------------------------------------------------------------------------

    def _message(self) -> str:
        tool = self.judged.event.tool
        return f"Do you consent to exactly this call? It needs a person under {self._because()}.\n{tool} {self._shown()}"

    def _shown(self) -> str:
        """What is approved of a call, as a person reads it: what hides or turns the direction of writing stands as an escape."""
        said = [canonical(dict(self.judged.event.args)).decode(), *(f"{key} {canonical(self.beside[key]).decode()}" for key in self.beside)]
        return "\n".join("".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in one) for one in said)

    def _because(self) -> str:
        decision = self.judged.decision
        return cited(decision, self.dealing.law.book.policy) or f"the default of tool calls ({decision.reason})"

    def _words(self, why: str) -> str:
        return f"{self.judged.event.tool} was not called: a person decides first, under {self._because()}, {why}."

    def _held(self, history: History) -> History:
        ref = self.judged.ref
        return history if ref in history.held else history.after(self.judged.event, self.judged.decision, ref)

    async def _counts(self, work: Callable[[History], History]) -> None:
        await self.dealing.session.change(work, self.dealing.law.reads_session)


def _unused(approvals: Approvals, claiming: "asyncio.Future[Claim | NotNow]") -> None:
    """End a claim that was given to nobody."""
    if not claiming.cancelled() and claiming.exception() is None and isinstance(found := claiming.result(), Claim):
        ended = asyncio.get_running_loop().run_in_executor(None, approvals.finish, found, "failed")
        ended.add_done_callback(_told)


def _told(ended: "asyncio.Future[Any]") -> None:
    if not ended.cancelled() and (error := ended.exception()) is not None:
        LOG.error("an approval that was not used could not be ended yet: %s", error)


FORM: Final = {
    "type": "object",
    "properties": {FIELD: {"type": "boolean", "title": "Approve exactly this call", "description": "Yes: it runs once, as it is shown."}},
    "required": [FIELD],
}


def at_keyboard(decision: Decision) -> bool:
    """Whether the consent of the agent's user meets every need of a decision."""
    return bool(decision.needs) and all(KEYBOARD in need.approvers and need.quorum <= 1 for need in decision.needs)


def consent(answer: Any) -> bool | None:
    """What a user answered; None where nobody did. A form that was sent without the yes in it is a no."""
    action = answer.get("action") if isinstance(answer, dict) else None
    if action == "accept":
        content = answer.get("content")
        return isinstance(content, dict) and content.get(FIELD) is True
    return False if action == "decline" else None


def waiting(because: str, approval: str) -> str:
    """What is said while people decide."""
    return f"pending approval {approval}; retry the same call. Nothing was done; a person decides first, under {because}."
