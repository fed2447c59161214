"""The guard: what is judged is what runs, nothing runs unrecorded, and what needs a person runs once, after the person."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bylaw import Blocked, Guard, Pending
from bylaw.errors import PolicyError, StoreError
from bylaw.govern.approvals import Approvals
from bylaw.govern.guard import Acting
from bylaw.govern.quorum import Person
from bylaw.govern.stepping import Act, Verdict
from bylaw.ledger.writer import Ledger
from bylaw.store import database
from bylaw.types import Clause, Decision, Event, Rule
from tests.figures import stands
from tests.govern.policies import clause, policy
from tests.store import blank

AGENT = {"id": "agent", "roles": ["support"], "tenant": "t", "jurisdiction": ""}
LEAD, AGENT_TOO = Person("lena", ("lead",), "t"), Person("agent", ("lead",), "t")
OVER = Rule("over", ("tool_call",), "require_approval", ("payments.refund",), "args.amount > 200.0", (), ("lead",), 1, 600)
NEVER = Rule("never", ("tool_call",), "block", ("payments.refund",), "args.amount > 5000.0")
SPLIT = Rule("split", ("tool_call",), "block", ("payments.refund",), 'args.amount + session.sums["payments.refund.amount"] > 900.0')
CARD = Rule("card", ("tool_call", "tool_result", "output", "input"), "redact", detect=("pii.card",))
MONEY = clause("money.limit", OVER, NEVER, SPLIT)
POLICY = policy(MONEY, clause("privacy.card", CARD))
NUMBER = "4111 1111 1111 1111"


class Book:
    """A recorder in memory; `broken` is a full disk."""

    def __init__(self) -> None:
        self.entries: list[Mapping[str, Any]] = []
        self.broken = False

    def append(self, entry: Mapping[str, Any]) -> object:
        if self.broken:
            raise OSError("no space left on device")
        self.entries.append(entry)
        return len(self.entries)

    def said(self) -> list[tuple[str, str]]:
        return [(one["surface"], one["decision"]) for one in self.entries if one["kind"] == "decision"]


class Switch:
    """Emergency stops that a test sets; `late` is one that memory does not know yet."""

    def __init__(self) -> None:
        self.on: tuple[str, ...] = ()
        self.late: tuple[str, ...] = ()

    def applies(self, principal: Mapping[str, Any], tool: str = "") -> tuple[str, ...]:
        return self.on

    def applies_now(self, principal: Mapping[str, Any], tool: str = "") -> tuple[str, ...]:
        if self.late == ("broken",):
            raise OSError("no store")
        return self.late or self.on


class Setup:
    """A guard with everything, and one tool that counts how often it ran."""

    def __init__(self, folder: Path, *clauses: Clause) -> None:
        self.book, self.switch = Book(), Switch()
        self.store = blank.opened(folder / "store.sqlite")
        self.approvals = Approvals(self.store, self.book.append)
        written = policy(*clauses) if clauses else POLICY
        self.guard = Guard(written, approvals=self.approvals, ledger=self.book, stops=self.switch, acting=Acting(AGENT, "s"))
        self.ran: list[dict[str, Any]] = []
        self.refund = self.guard.tool(self._refund, name="payments.refund")

    def _refund(self, amount: float, order: int = 1, note: str = "") -> Any:
        self.ran.append({"amount": amount, "order": order, "note": note})
        return f"refunded {amount}"

    def approve(self, approval: str, person: Person = LEAD, yes: bool = True) -> Any:
        return self.approvals.decide(approval, person, yes)

    def pending(self, **args: Any) -> str:
        with pytest.raises(Pending) as caught:
            self.refund(**args)
        return caught.value.approval


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[Setup]:
    made = Setup(tmp_path)
    yield made
    made.approvals.close()
    made.store.close()


def test_an_allowed_call_runs_and_is_recorded_before_and_after(setup: Setup) -> None:
    assert setup.refund(30.0, note="late") == "refunded 30.0"
    assert setup.ran == [{"amount": 30.0, "order": 1, "note": "late"}]
    assert setup.book.said() == [("tool_call", "allow"), ("tool_result", "allow")]


def test_a_blocked_call_does_not_run_and_names_its_clause(setup: Setup) -> None:
    with pytest.raises(Blocked, match=r"money\.limit") as caught:
        setup.refund(6000.0)

    assert caught.value.decision.effect == "block"
    assert setup.ran == []
    assert setup.book.said() == [("tool_call", "block")]


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), 1e300, "30", None, {1}, object()])
def test_a_call_that_could_be_misread_does_not_run(setup: Setup, amount: Any) -> None:
    with pytest.raises(Blocked) as caught:
        setup.refund(amount)

    assert caught.value.decision.undecided
    assert setup.ran == []


def test_an_approved_call_runs_once_and_the_next_one_is_asked_for_anew(setup: Setup) -> None:
    approval = setup.pending(amount=640.0)
    again = setup.pending(amount=640.0)
    setup.approve(approval)
    result = setup.refund(amount=640.0)
    anew = setup.pending(amount=250.0)

    assert approval == again != anew
    assert result == "refunded 640.0"
    assert len(setup.ran) == 1
    found = setup.approvals.get(approval)
    assert found is not None
    assert found.state == "done"


@pytest.mark.slow
def test_other_arguments_or_another_principal_do_not_use_the_approval(setup: Setup) -> None:
    approval = setup.pending(amount=640.0)
    setup.approve(approval)
    other = setup.guard.acting({**AGENT, "id": "other"}, "s").tool(setup._refund, name="payments.refund")

    assert setup.pending(amount=250.0) != approval
    with pytest.raises(Pending):
        other(amount=640.0)
    assert setup.ran == []


def test_nobody_approves_their_own_call_and_a_no_ends_it(setup: Setup) -> None:
    approval = setup.pending(amount=640.0)
    own = setup.approve(approval, AGENT_TOO)
    setup.approve(approval, yes=False)

    assert own.why == "self_approval"
    with pytest.raises(Blocked, match="denied"):
        setup.refund(amount=640.0)
    assert setup.ran == []


def test_calls_that_wait_count_and_a_denied_one_is_given_back(setup: Setup) -> None:
    first = setup.pending(amount=640.0)
    with pytest.raises(Blocked, match=r"money\.limit"):
        setup.refund(amount=300.0)
    setup.approve(first, yes=False)
    with pytest.raises(Blocked, match="denied"):
        setup.refund(amount=640.0)

    assert setup.pending(amount=300.0)


def test_an_approved_call_is_judged_again_under_what_happened_since(setup: Setup) -> None:
    approval = setup.pending(amount=640.0)
    setup.approve(approval)
    setup.refund(amount=200.0)
    for _ in range(1):
        setup.guard.check(Event("tool_call", "payments.refund", {"amount": 50.0}))

    assert setup.refund(amount=640.0) == "refunded 640.0"  # 890 in all
    with pytest.raises(Blocked):
        setup.refund(amount=20.0)


def test_a_stop_pressed_after_the_approval_is_seen_right_before_the_call_runs(setup: Setup) -> None:
    approval = setup.pending(amount=640.0)
    setup.approve(approval)
    setup.switch.late = ("global: drill",)
    with pytest.raises(Blocked, match="drill"):
        setup.refund(amount=640.0)
    with pytest.raises(Blocked) as caught:
        setup.refund(amount=3.0)

    assert caught.value.decision.effect == "stop"
    assert setup.ran == []
    assert setup.book.said()[-1] == ("tool_call", "stop")


def test_stops_that_cannot_be_read_are_in_force(setup: Setup) -> None:
    setup.switch.late = ("broken",)

    with pytest.raises(Blocked, match="could not be read"):
        setup.refund(amount=3.0)
    assert setup.ran == []


def test_nothing_runs_and_nothing_is_returned_where_the_record_cannot_be_written(setup: Setup) -> None:
    setup.book.broken = True
    with pytest.raises(Blocked, match="record"):
        setup.refund(amount=3.0)
    decision = setup.guard.check(Event("output", text="hello"))

    assert setup.ran == []
    assert (decision.effect, decision.undecided) == ("block", ("record",))


def test_a_result_whose_record_cannot_be_written_is_withheld(setup: Setup) -> None:
    def breaks(amount: float) -> str:
        setup.book.broken = True
        return "secret"

    with pytest.raises(Blocked, match="withheld"):
        setup.guard.tool(breaks, name="payments.refund")(amount=3.0)


def test_what_a_rule_redacts_is_cut_out_before_the_call_runs_and_out_of_its_result(setup: Setup) -> None:
    def reads(note: str) -> Any:
        setup.ran.append({"note": note})
        return {"rows": [f"paid with {NUMBER}", "cash"]}

    result = setup.guard.tool(reads, name="mail.send")(note=f"card {NUMBER} please")

    assert setup.ran == [{"note": "card [redacted: pii.card] please"}]
    assert result == {"rows": ["paid with [redacted: pii.card]", "cash"]}


def test_what_cannot_be_cut_out_is_blocked(setup: Setup) -> None:
    def sends(**fields: Any) -> str:
        setup.ran.append(fields)
        return "sent"

    tool = setup.guard.tool(sends, name="mail.send")

    with pytest.raises(Blocked, match="cannot be cut out"):
        tool(**{NUMBER: "as a name"})
    with pytest.raises(Blocked):
        tool(amount=4111111111111111)
    assert setup.ran == []


def test_the_function_gets_what_was_judged_whatever_the_caller_changes_meanwhile(setup: Setup) -> None:
    lines = [{"amount": 3.0}]

    def pays(lines: list[dict[str, float]]) -> str:
        setup.ran.append({"lines": lines})
        return "paid"

    setup.guard.tool(pays, name="mail.send")(lines)
    lines[0]["amount"] = 9999.0

    assert setup.ran == [{"lines": [{"amount": 3.0}]}]


def test_a_result_that_no_rail_can_read_is_withheld(setup: Setup) -> None:
    with pytest.raises(Blocked, match="no JSON"):
        setup.guard.tool(object, name="mail.send")()


def test_an_error_of_the_tool_reaches_the_caller_and_the_approval_is_marked_failed(setup: Setup) -> None:
    def breaks(amount: float) -> str:
        raise ZeroDivisionError("boom")

    tool = setup.guard.tool(breaks, name="payments.refund")
    with pytest.raises(Pending) as caught:
        tool(amount=640.0)
    setup.approve(caught.value.approval)
    with pytest.raises(ZeroDivisionError):
        tool(amount=640.0)
    found = setup.approvals.get(caught.value.approval)

    assert found is not None
    assert found.state == "failed"
    assert setup.book.entries[-1]["kind"] == "result"


def test_an_async_tool_is_governed_the_same_way(setup: Setup) -> None:
    async def pays(amount: float) -> str:
        await asyncio.sleep(0)
        return f"paid {amount} with {NUMBER}"

    tool = setup.guard.tool(pays, name="payments.refund")

    assert asyncio.run(tool(3.0)) == "paid 3.0 with [redacted: pii.card]"
    with pytest.raises(Blocked):
        asyncio.run(tool(6000.0))


def test_what_gives_a_coroutine_without_saying_so_is_not_run_behind_our_back(setup: Setup) -> None:
    async def pays(amount: float) -> str:
        setup.ran.append({"amount": amount})
        return "paid"

    tool = setup.guard.tool(lambda amount: pays(amount), name="payments.refund")  # noqa: PLW0108  # a function that is no `async def`

    with pytest.raises(TypeError, match="no `async def`"):
        tool(amount=3.0)
    assert setup.ran == []


def test_what_would_run_later_is_not_run_past_the_guard(setup: Setup) -> None:
    def rows(amount: float) -> Iterator[str]:
        setup.ran.append({"amount": amount})
        yield NUMBER

    async def pages(amount: float) -> Any:
        setup.ran.append({"amount": amount})
        yield NUMBER

    async def hidden(amount: float) -> Any:
        return rows(amount)

    for tool in (rows, pages, lambda amount: pages(amount)):  # noqa: PLW0108  # a function that is no `async def`
        with pytest.raises(TypeError, match=r"nothing of it was run|goes on after the call"):
            setup.guard.tool(tool, name="mail.send")(amount=3.0)
    with pytest.raises(TypeError, match="nothing of it was run"):
        asyncio.run(setup.guard.tool(hidden, name="mail.send")(amount=3.0))
    assert setup.ran == []


@pytest.mark.parametrize("rail", ["pii.card", "pii.card.plain"])
@pytest.mark.parametrize("gap", [" ", "\n", "\t"])
@pytest.mark.parametrize("shaped", [lambda text: text, lambda text: {"rows": [text]}, lambda text: [[{text: 1}]]])
def test_no_shape_of_a_result_hides_what_stands_in_it(tmp_path: Path, shaped: Any, gap: str, rail: str) -> None:
    text = f"\tpaid with{gap}{NUMBER.replace(' ', gap)}{gap}today"
    said = []
    for effect in ("redact", "block"):
        (tmp_path / effect).mkdir()
        made = Setup(tmp_path / effect, clause("privacy.card", Rule("card", ("tool_result",), effect, detect=(rail,))))
        try:
            said.append(str(made.guard.tool(lambda: shaped(text), name="mail.send")()))
        except Blocked as error:
            said.append(error.what)
        made.approvals.close()
        made.store.close()

    assert not any(stands(1111, one) for one in said)
    assert "block" in said[1]


def test_a_split_over_many_threads_never_passes_the_limit(setup: Setup) -> None:
    start = threading.Barrier(10)

    def one() -> None:
        start.wait()
        try:
            setup.refund(amount=150.0)
        except Blocked:
            return

    threads = [threading.Thread(target=one) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(one["amount"] for one in setup.ran) == 900.0


@pytest.mark.parametrize("error", [StoreError("the store is gone", ""), RuntimeError("boom"), OSError("disk full")])
def test_nothing_runs_where_an_approval_cannot_be_asked_for_or_claimed(setup: Setup, error: Exception) -> None:
    approval = setup.pending(amount=640.0)
    setup.approve(approval)

    class Broken:
        """Approvals that fail at one step."""

        def __init__(self, step: str) -> None:
            self.step = step

        def __getattr__(self, name: str) -> Any:
            if name == self.step:
                raise error
            return getattr(setup.approvals, name)

    for step in ("request", "claim"):
        setup.guard.approvals = Broken(step)
        with pytest.raises(Blocked, match="could not be asked for"):
            setup.guard.tool(setup._refund, name="payments.refund")(amount=640.0)
    setup.guard.approvals = setup.approvals

    assert setup.ran == []
    assert setup.refund(amount=640.0) == "refunded 640.0"


def test_a_strange_tool_waits_for_an_approver(setup: Setup) -> None:
    tool = setup.guard.tool(lambda: "ran", name="shell.run")
    with pytest.raises(Pending) as caught:
        tool()
    setup.approve(caught.value.approval, Person("adam", ("approver",), "t"))

    assert tool() == "ran"


def test_without_approvals_what_needs_a_person_is_blocked() -> None:
    guard = Guard(POLICY)

    with pytest.raises(Blocked, match="asks for a person"):
        guard.tool(lambda amount: None, name="payments.refund")(amount=640.0)
    assert guard.check(Event("tool_call", "payments.refund", {"amount": 640.0})).effect == "require_approval"


def test_check_fills_in_who_acts_and_counts_what_it_lets_through() -> None:
    guard = Guard(POLICY, acting=Acting(AGENT, "s"))
    call = Event("tool_call", "payments.refund", {"amount": 190.0})
    effects = [guard.check(call).effect for _ in range(5)]

    assert effects == ["allow"] * 4 + ["block"]
    assert guard.acting(AGENT, "another").check(call).effect == "allow"
    assert guard.check(replace(call, session={"sums": {"payments.refund.amount": 0.0}})).effect == "allow"


def test_another_policy_is_in_force_at_once_and_a_bad_one_leaves_the_old(setup: Setup) -> None:
    approval = setup.pending(amount=640.0)
    setup.approve(approval)
    stricter = policy(clause("money.limit", replace(OVER, when="args.amount > 10.0"), NEVER, SPLIT))
    broken = policy(clause("money.limit", replace(OVER, when="args.amnt > 10.0")))

    other = setup.guard.acting(AGENT, "s").tool(setup._refund, name="payments.refund")
    setup.guard.use(stricter)
    with pytest.raises(PolicyError, match="amnt"):
        setup.guard.use(broken)
    with pytest.raises(Pending):
        other(amount=20.0)
    anew = setup.pending(amount=640.0)

    assert anew != approval  # what was approved under the old policy is asked for again
    assert setup.ran == []


@pytest.mark.parametrize("address", ["{0}/b/store.sqlite", "sqlite:///{0}/b/store.sqlite"])
def test_a_store_that_is_a_file_has_its_ledger_beside_it(tmp_path: Path, address: str) -> None:
    Guard(POLICY, store=address.format(tmp_path)).close()
    opened = database.open(tmp_path / "c" / "store.sqlite")
    Guard(POLICY, store=opened).close()
    opened.close()

    assert (tmp_path / "b" / "ledger").is_dir()
    assert (tmp_path / "c" / "ledger").is_dir()


def test_a_policy_that_does_not_load_makes_no_guard(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    (folder / "policy.yaml").write_text("id: p\nversion: 1.0.0\n")

    with pytest.raises(PolicyError, match="no clause"):
        Guard(folder)


def test_a_store_brings_approvals_stops_and_a_ledger_that_verifies(tmp_path: Path) -> None:
    guard = Guard(POLICY, store=tmp_path / "store.sqlite", acting=Acting(AGENT, "s"))
    tool = guard.tool(lambda amount: amount, name="payments.refund")
    try:
        ran = tool(amount=3.0)
        with pytest.raises(Pending) as caught:
            tool(amount=640.0)
        approvals: Any = guard.approvals
        found = approvals.get(caught.value.approval)
    finally:
        guard.close()

    assert (ran, found.state) == (3.0, "pending")
    assert isinstance(guard.ledger, Ledger)


def test_the_step_loop_tells_an_agent_what_to_do_next_and_ends_on_a_stop(setup: Setup) -> None:
    acts = [
        Act("payments.refund", {"amount": 3.0}),
        Act("payments.refund", {"amount": 6000.0}),
        Act("payments.refund", {"amount": 640.0}),
        Act("no.such", {}),
        Act("payments.refund", {"nonsense": 1}),
        Act("payments.refund", {"amount": 4.0}),
        Act("payments.refund", {"amount": 5.0}),
    ]

    def agent(seen: Any) -> Act | None:
        if len(seen) == 5:
            setup.switch.on = ("global",)
        return acts[len(seen)] if len(seen) < len(acts) else None

    verdicts: list[Verdict] = setup.guard.steps(agent)

    assert [one.next for one in verdicts] == ["continue", "other_tool", "ask_person", "other_tool", "other_tool", "stop"]
    assert verdicts[0].result == "refunded 3.0"
    assert "money.limit" in verdicts[1].said
    assert verdicts[2].approval in verdicts[2].said


def test_the_step_loop_is_bounded(setup: Setup) -> None:
    act = Act("payments.refund", {"amount": 0.0})

    assert len(setup.guard.steps(lambda seen: act, max_steps=10**9)) == 50


def test_the_errors_cross_process_borders_whole() -> None:
    import pickle

    decision = Decision("block", ("money.limit",), (), "sha256:x")
    errors: list[Any] = [Blocked(decision, "what", "hint"), Pending(decision, "id", "what")]

    copies: list[Any] = [pickle.loads(pickle.dumps(one)) for one in errors]

    assert [(one.what, one.hint, one.decision) for one in copies] == [(one.what, one.hint, one.decision) for one in errors]
    assert copies[1].approval == "id"


@pytest.mark.slow
def test_a_guard_without_rails_or_store_loads_neither_and_never_torch() -> None:
    code = (
        "import sys; from bylaw import Guard; from bylaw.types import Clause, Policy, Rule, Event;"
        "c = Clause('a.b', 'A', 'high', 'comply', enforce=(Rule('r', ('output',), 'block', when='text == \"x\"'),));"
        "g = Guard(Policy('p', '1.0.0', (c,), 'sha256:p')); print(g.check(Event('output', text='x')).effect);"
        "print([m for m in ('torch', 'sqlalchemy', 're2', 'transformers', 'numpy') if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split("\n")[:2] == ["block", "[]"]


CALLER = """
import sys
from bylaw import Blocked, Guard
from tests.govern.test_guard import AGENT, POLICY, Acting
store, data_dir, times = sys.argv[1], sys.argv[2], int(sys.argv[3])
guard = Guard(POLICY, store=store, ledger=data_dir, acting=Acting(AGENT, "split"))
tool = guard.tool(lambda amount: amount, name="payments.refund")
ran = 0
for _ in range(times):
    try:
        ran += tool(amount=150.0)
    except Blocked:
        pass
print(ran)
guard.close()
"""


def called(folder: Path, times: int, *names: str) -> list[float]:
    """What processes that run at once have refunded, each in calls of 150."""
    root = Path(__file__).parents[2]
    begun = [
        subprocess.Popen(
            [sys.executable, "-c", CALLER, str(folder / "store.sqlite"), str(folder / name), str(times)], stdout=subprocess.PIPE, cwd=root
        )
        for name in names
    ]
    return [float(process.communicate(timeout=120)[0]) for process in begun]


@pytest.mark.slow
def test_a_named_session_goes_on_after_the_process(tmp_path: Path) -> None:
    first = called(tmp_path, 4, "a")
    second = called(tmp_path, 4, "b")

    assert (first, second) == ([600.0], [300.0])  # 900 is the limit of a session


@pytest.mark.slow
def test_a_split_over_several_processes_never_passes_the_limit(tmp_path: Path) -> None:
    database.open(tmp_path / "store.sqlite").close()

    assert sum(called(tmp_path, 6, "a", "b", "c")) == 900.0


def test_a_call_that_waited_counts_once_in_a_session_of_the_store(tmp_path: Path) -> None:
    guard = Guard(POLICY, store=tmp_path / "store.sqlite", acting=Acting(AGENT, "s"))
    tool = guard.tool(lambda amount: amount, name="payments.refund")
    try:
        with pytest.raises(Pending) as caught:
            tool(amount=640.0)
        approvals: Any = guard.approvals
        approvals.decide(caught.value.approval, LEAD, True)
        ran = tool(amount=640.0)
        with guard.turn() as turn:
            history = turn.history
    finally:
        guard.close()

    assert ran == 640.0
    assert (history.calls, dict(history.sums), dict(history.held)) == (("payments.refund",), {"payments.refund.amount": 640.0}, {})


def test_a_session_that_cannot_be_read_or_written_lets_nothing_run(tmp_path: Path) -> None:
    guard = Guard(POLICY, store=tmp_path / "store.sqlite", acting=Acting(AGENT, "s"), stops=Switch())
    tool = guard.tool(lambda amount: amount, name="payments.refund")
    try:
        other = database.open(tmp_path / "store.sqlite")
        with other.writing() as connection:
            connection.exec_driver_sql("ALTER TABLE sessions RENAME TO gone")
        other.close()
        with pytest.raises(Blocked) as caught:
            tool(3.0)
        decision = guard.check(Event("output", text="x"))
    finally:
        guard.close()

    assert caught.value.decision.undecided == decision.undecided == ("session",)
    assert decision.effect == "block"
