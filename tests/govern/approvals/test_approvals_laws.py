"""No sequence of calls by any mix of actors makes an approval do what it must not: held against a small model written apart.

The model knows nothing of stores and compare-and-swap. It remembers, for each request, what it is bound to and who has said yes, and from
that alone says whether a claim or a release may succeed.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule, run_state_machine_as_test

from bylaw.govern.approvals import Approvals, Claim, Released
from bylaw.govern.quorum import Person, Refused
from bylaw.store import database
from bylaw.store.approval_rows import Approval
from bylaw.store.clock import Clock
from bylaw.types import Decision, Need
from tests.govern.approvals.scene import LEAD, NEXT_POLICY, POLICY, RISK, Ledger
from tests.store import postgres

CALLS: Final = [{"tool": "refund", "args": {"amount": amount}} for amount in (1, 2)]
PRINCIPALS: Final = [{"id": "agent", "tenant": ""}, {"id": "ann", "tenant": ""}]
PEOPLE: Final = [
    Person("ann", ("support-lead",)),
    Person("Ann ", ("support-lead", "risk")),  # the same person, with another key
    Person("bob", ("support-lead",)),
    Person("ria", ("risk", "support-lead")),
    Person("agent", ("support-lead", "risk")),
    Person("guest", ("agent",)),
]
NEEDS: Final = [(LEAD,), (replace(LEAD, quorum=2),), (LEAD, RISK)]
POLICIES: Final = [POLICY, NEXT_POLICY]
PACES_S: Final = [1, 100, 299, 301, 650]


COUNTS: Final[Counter[str]] = Counter()


def who(name: str) -> str:
    return name.strip().lower()


@dataclass
class Model:
    """What one request is, as plainly as it can be said."""

    call: dict[str, Any]
    principal: dict[str, Any]
    policy: str
    needs: tuple[Need, ...]
    route: str
    ends: float
    yes: dict[str, set[str]] = field(default_factory=dict)  # person -> roles
    no: bool = False
    used: bool = False

    def enough(self, needs: tuple[Need, ...]) -> bool:
        people = {person: roles for person, roles in self.yes.items() if person != who(self.principal["id"])}
        return all(sum(bool(roles & set(need.approvers)) for roles in people.values()) >= need.quorum for need in needs)


class Machine(RuleBasedStateMachine):
    requests = Bundle("requests")

    @initialize(target=requests, needs=st.lists(st.sampled_from(NEEDS), min_size=4, max_size=4))
    def begin(self, needs: list[tuple[Need, ...]]) -> Any:
        self.folder = TemporaryDirectory(prefix="bylaw-", dir=postgres.MEMORY)
        self.store = database.open(f"{self.folder.name}/store.sqlite")
        self.ledger = Ledger()
        self.wall, self.steady = 1_000_000.0, 0.0  # what the clock shows, and how much time has really passed
        self.processes = [self.process(), self.process()]
        self.models: dict[str, Model] = {}
        self.claims: list[Claim] = []
        self.stopped = False
        self.now_policy = POLICY
        self.clock_was_set = False
        kinds = [(call, route) for call in CALLS for route in ("run", "release")]
        asked = [self.ask(call, PRINCIPALS[0], need, route, 0) for (call, route), need in zip(kinds, needs, strict=True)]
        for one in asked[:3]:  # as on an ordinary day: else hardly a sequence would come as far as a use
            self.everybody_says_yes(one, PEOPLE, 0)
        return multiple(*asked)

    def process(self) -> Approvals:
        return Approvals(self.store, self.ledger, Clock(lambda: self.wall, lambda: self.steady))

    def teardown(self) -> None:
        if hasattr(self, "store"):
            for one in self.processes:
                one.close()
            self.store.close()
            self.folder.cleanup()

    def judge(self, needs: tuple[Need, ...]) -> Decision:
        return Decision("require_approval", ("c",), ("r",), self.now_policy, needs=needs)

    @rule(
        target=requests,
        call=st.sampled_from(CALLS),
        principal=st.sampled_from(PRINCIPALS),
        needs=st.sampled_from(NEEDS),
        route=st.sampled_from(["run", "release"]),
        one=st.integers(0, 1),
    )
    def ask(self, call: dict[str, Any], principal: dict[str, Any], needs: tuple[Need, ...], route: Any, one: int) -> Any:
        found = self.processes[one].request(call, principal, self.judge(needs), route)
        if not isinstance(found, Approval):
            raise AssertionError(found)
        if found.id in self.models:
            model = self.models[found.id]
            same = (model.call, model.principal, model.policy, model.route) == (call, principal, self.now_policy, route)
            assert same, "a request answered for another call"
            return multiple()
        self.models[found.id] = Model(call, principal, self.now_policy, needs, route, self.steady + min(need.ttl_s for need in needs))
        return found.id

    @rule(request=requests, person=st.sampled_from(PEOPLE), yes=st.booleans(), one=st.integers(0, 1))
    def answer(self, request: str, person: Person, yes: bool, one: int) -> None:
        model = self.models[request]
        found = self.processes[one].decide(request, person, yes)
        if isinstance(found, Refused):
            return
        assert who(person.id) != who(model.principal["id"]), "somebody answered their own request"
        assert who(person.id) not in model.yes, "somebody answered twice"
        assert self.steady < model.ends, "an answer after the time was up"
        assert not model.used
        assert any(set(person.roles) & set(need.approvers) for need in model.needs), "an answer without the role"
        if yes:
            model.yes[who(person.id)] = set(person.roles)
        else:
            model.no = True

    @rule(request=requests, people=st.permutations(PEOPLE), one=st.integers(0, 1))
    def everybody_says_yes(self, request: str, people: list[Person], one: int) -> None:
        for person in people:
            self.answer(request, person, True, one)

    @rule(request=requests, one=st.integers(0, 1))
    def use_as_approved(self, request: str, one: int) -> None:
        model = self.models[request]
        self.try_to_use(request, model.call, model.principal, model.needs, one)

    @rule(
        request=requests,
        call=st.sampled_from(CALLS),
        principal=st.sampled_from(PRINCIPALS),
        needs=st.sampled_from(NEEDS),
        one=st.integers(0, 1),
    )
    def try_to_use(self, request: str, call: Any, principal: Any, needs: tuple[Need, ...], one: int) -> None:
        model, now = self.models[request], self.judge(needs)
        stops = ("global",) if self.stopped else ()
        process = self.processes[one]
        may = (
            not model.used
            and not model.no
            and not self.stopped
            and model.principal == principal
            and model.policy == self.now_policy
            and self.steady < model.ends
            and model.enough(model.needs)
            and model.enough(now.needs)
            and self.steady < model.ends - min(n.ttl_s for n in model.needs) + min(n.ttl_s for n in now.needs)
        )
        if model.route == "run":
            got: object = process.claim(request, call, principal, self.now_policy, lambda: now, lambda: stops)
            may = may and model.call == call
        else:
            got = process.release(request, principal, self.now_policy, lambda _: now, lambda: stops)
        used = isinstance(got, Claim | Released)
        assert used <= may, f"used although it must not be: {got}"
        if may and not self.clock_was_set:  # one set ahead rightly ends approvals early
            assert used, f"not used although it may be: {got}"
        if isinstance(got, Released):
            assert got.what == model.call, "other bytes were released"
        if isinstance(got, Claim):
            assert got.approval.what() == model.call
            self.claims.append(got)
        model.used = model.used or used
        COUNTS["used"] += used
        COUNTS[got.why if isinstance(got, Refused) else "used"] += not used

    @rule(which=st.integers(0, 5), ended=st.sampled_from(["done", "failed"]), one=st.integers(0, 1))
    def finish(self, which: int, ended: Any, one: int) -> None:
        if self.claims:
            self.processes[one].finish(self.claims[which % len(self.claims)], ended)

    @rule(request=requests, person=st.sampled_from(PEOPLE), ran=st.booleans())
    def settle(self, request: str, person: Person, ran: bool) -> None:
        found = self.processes[0].settle(request, person, ran, "looked")
        assert isinstance(found, Refused) or self.models[request].used

    @rule(seconds=st.sampled_from(PACES_S))
    def time_passes(self, seconds: int) -> None:
        self.wall += seconds
        self.steady += seconds

    @rule(seconds=st.sampled_from([-5000, -400, 400]))
    def somebody_sets_the_clock(self, seconds: int) -> None:
        for one in self.processes:
            one.find()  # any look will do: what nobody has seen pass, nobody can know of
        self.wall += seconds
        self.clock_was_set = True

    @rule(policy=st.sampled_from(POLICIES))
    def policy_changes(self, policy: str) -> None:
        self.now_policy = policy

    @rule(stopped=st.booleans())
    def stop_or_resume(self, stopped: bool) -> None:
        self.stopped = stopped

    @rule(one=st.integers(0, 1))
    def a_process_dies_and_starts_again(self, one: int) -> None:
        self.processes[one].close()
        self.processes[one] = self.process()

    @rule()
    def recover(self) -> None:
        self.processes[1].recover()

    @invariant()
    def no_use_is_without_its_record(self) -> None:
        if not hasattr(self, "models"):
            return
        recorded = {entry["approval"] for entry in self.ledger.entries if entry["facts"]["step"] in ("claimed", "released")}
        assert {one for one, model in self.models.items() if model.used} <= recorded


@pytest.mark.parametrize("sequences", [10, pytest.param(120, marks=pytest.mark.slow)])
def test_no_sequence_of_calls_breaks_an_approval(sequences: int) -> None:
    COUNTS.clear()
    found = settings(
        max_examples=sequences,
        stateful_step_count=25,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Machine, settings=found)

    assert COUNTS["used"] >= sequences / 10, COUNTS  # the sequences do get as far as that
    assert {"not_approved", "expired", "other_principal", "other_policy"} <= COUNTS.keys()
