"""What the operator connects a gateway to, written in `gateway.yaml`: the judges that rails ask, and who is rung for approvals.

    judge: {url: http://127.0.0.1:8001/v1, model: judge-7b, key_env: JUDGE_KEY, timeout: 10s, calls_a_day: 10000}
    entailment: {url: http://127.0.0.1:8001/v1, model: judge-7b}     # asked where words alone do not bear a claim; same keys as `judge`
    ring:
      hosts: [hooks.example.com]                 # where a webhook may go
      webhooks: [{url: https://hooks.example.com/bylaw, secret_env: HOOK_SECRET}]
      mail: {server: smtp.example.com, sender: bylaw@example.com, to: [desk@example.com], user: bylaw, password_env: MAIL_PASSWORD}
    mcp: {tickets: {url: https://mcp.example.com/mcp, key_env: TICKETS_KEY}}     # served at /mcp/tickets: see `mcp_servers`
    metrics, otel, findings, sampling: how it is watched, see `lookout`
    run: runs/demo                               # whose results the console shows as the alignment debt
    draft: policies/refunds                      # the policy as it is worked on: the console keeps sign-offs and rulings there
    console: https                               # it is reached through https alone; without it, through either

Secrets are in the environment, never in the file. A bell that nobody hears, or a judge that gives no verdict, lets nothing through and
stops nothing else: `/readyz` names it until it works again.
"""

import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from bylaw import runs
from bylaw.errors import StoreError
from bylaw.govern.rails import library
from bylaw.govern.rails.rail import Rail, RailFacts
from bylaw.policy.fields import Fields, as_list, as_text
from bylaw.policy.notation import Node, read_yaml
from bylaw.serve.lookout import Lookout, read_lookout
from bylaw.serve.mcp_servers import ServerAt, read_servers
from bylaw.serve.secret import secret_in
from bylaw.types import Clause, Hit, Model, Place, Policy

if TYPE_CHECKING:  # mail and HTTP clients load only where somebody is rung
    from bylaw.govern.ringing import Bell, Channel, Mine, Missed, Told, Waiting

Reached = Literal["either", "https"]
FILE: Final = "gateway.yaml"
MODEL: Final = "{url: http://HOST/v1, model: NAME}"  # an example
MAX_FILE_BYTES: Final = 256_000
MAX_CHANNELS: Final = 20
TRIES: Final = 2  # calls of one verdict
TIMEOUT_S: Final = 10  # of one verdict
CALLS_A_DAY: Final = 10_000
THREADS: Final = 8
MAIL_PORT: Final = 587


@dataclass(frozen=True, slots=True)
class JudgeAt:
    """The model that judges."""

    url: str
    model: str
    key_env: str = ""
    timeout_s: int = TIMEOUT_S
    calls_a_day: int = CALLS_A_DAY
    threads: int = THREADS


@dataclass(frozen=True, slots=True)
class HookAt:
    """A webhook that rings."""

    url: str
    secret_env: str
    inside: bool = False  # a private address and plain http are meant


@dataclass(frozen=True, slots=True)
class MailAt:
    """Who is written to."""

    server: str
    sender: str
    to: tuple[str, ...]
    port: int = MAIL_PORT
    user: str = ""
    password_env: str = ""


@dataclass(frozen=True, slots=True)
class Wiring:
    """What one gateway is connected to. Names and addresses only: it may be handed to other processes, and shown."""

    judge: JudgeAt | None = None
    hosts: tuple[str, ...] = ()
    hooks: tuple[HookAt, ...] = ()
    mail: MailAt | None = None
    entailment: JudgeAt | None = None
    mcp: tuple[ServerAt, ...] = ()
    run: Path | None = None  # whose results the console shows
    draft: Path | None = None  # the policy's folder as it is worked on, where the console may write
    lookout: Lookout = field(default_factory=Lookout)
    console: Reached = "either"  # how people reach it


def read(file: Path) -> Wiring:
    """What a file says; raises PolicyError with the line that is wrong, StoreError where it cannot be read."""
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise StoreError(f"{file}: larger than {MAX_FILE_BYTES} bytes", "Is it the right file?")
        text = runs.plain_text(file)
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(
            f"{file}: cannot be read: {getattr(error, 'strerror', '') or error}", "Check the path and its permissions."
        ) from error
    fields = Fields(read_yaml(text, Place(str(file), 1)), FILE, f"judge: {MODEL}")
    judge, ring, bears, servers = fields.node("judge"), fields.node("ring"), fields.node("entailment"), read_servers(fields.node("mcp"))
    run, draft, lookout = fields.text("run"), fields.text("draft"), read_lookout(fields)
    console: Reached = fields.choice("console", Reached, "either")
    fields.done()
    made = Wiring(_judge(judge, "judge") if judge else None, entailment=_judge(bears, "entailment") if bears else None)
    made = replace(
        made, mcp=servers, run=Path(run) if run else None, draft=Path(draft) if draft else None, lookout=lookout, console=console
    )
    return _ring(made, Fields(ring, "ring", "ring: {webhooks: [{url: https://HOST/PATH, secret_env: NAME}]}")) if ring else made


def found(data_dir: Path, file: Path | None = None) -> Wiring:
    """What the file says, or the one in the data directory if there is one."""
    if file is None and not (data_dir / FILE).exists():
        return Wiring()
    return read(file or data_dir / FILE)


def judges_only(wiring: Wiring) -> Wiring:
    """The rails of a wiring, for who activates a policy and rings nobody. No judge is asked, so that its key is not needed."""
    judge, bears = (replace(one, key_env="") if one else None for one in (wiring.judge, wiring.entailment))
    return Wiring(judge, entailment=bears)


def _judge(node: Node, what: str) -> JudgeAt:
    fields = Fields(node, what, f"{what}: {MODEL}")
    made = JudgeAt(
        as_text(fields.need("url", "Write `url: http://HOST/v1`."), "url"),
        as_text(fields.need("model", "Write the model's name as its server knows it."), "model"),
        fields.text("key_env"),
        fields.seconds("timeout") or TIMEOUT_S,
        fields.whole("calls_a_day", 1, 1_000_000_000) or CALLS_A_DAY,
        fields.whole("threads", 1, 256) or THREADS,
    )
    fields.done()
    return made


def _ring(made: Wiring, fields: Fields) -> Wiring:
    hooks, hosts, mail = fields.node("webhooks"), fields.names("hosts"), fields.node("mail")
    fields.done()
    listed = [_hook(Fields(one, "a webhook", "{url: https://HOST/PATH, secret_env: NAME}")) for one in as_list(hooks)] if hooks else []
    if len(listed) > MAX_CHANNELS:
        raise StoreError(f"{len(listed)} webhooks, the limit is {MAX_CHANNELS}", "Ring one place that rings the others.")
    return replace(made, hosts=hosts, hooks=tuple(listed), mail=_mail(mail) if mail else None)


def _hook(fields: Fields) -> HookAt:
    inside = fields.node("inside")
    made = HookAt(
        as_text(fields.need("url", "Write `url: https://HOST/PATH`."), "url"),
        as_text(fields.need("secret_env", "Name the variable that holds whsec_…; what rings must be signed."), "secret_env"),
        inside is not None and inside.value is True,
    )
    fields.done()
    return made


def _mail(node: Node) -> MailAt:
    fields = Fields(node, "mail", "mail: {server: HOST, sender: NAME@HOST, to: [NAME@HOST]}")
    made = MailAt(
        as_text(fields.need("server", "Write the host of your mail server."), "server"),
        as_text(fields.need("sender", "Write `sender: name@host`."), "sender"),
        fields.names("to"),
        fields.whole("port", 1, 65_535) or MAIL_PORT,
        fields.text("user"),
        fields.text("password_env"),
    )
    fields.done()
    return made


# ---- In each process -------------------------------------------------------------------------------------------------


class Troubles:
    """What does not work just now, by its name; told at `/readyz`."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}
        self._lock = threading.Lock()

    def say(self, name: str, fault: str) -> None:
        """What is the matter with a part; nothing, where it works."""
        with self._lock:
            if fault:
                self._said[name] = fault
            else:
                self._said.pop(name, None)

    def now(self) -> list[str]:
        """Every trouble there is."""
        with self._lock:
            return [f"{name}: {fault}" for name, fault in sorted(self._said.items())]


@dataclass(frozen=True, slots=True)
class Telling:
    """A rail that tells where it has failed; the failure stays one."""

    rail: Rail
    troubles: Troubles
    part: str = "judge"

    @property
    def name(self) -> str:
        """The rail's."""
        return self.rail.name

    @property
    def longest(self) -> int | None:
        """The rail's."""
        return self.rail.longest

    @property
    def cost(self) -> int:
        """The rail's."""
        return self.rail.cost

    def find(self, text: str, facts: RailFacts) -> Sequence[Hit]:
        """The rail's hits; what it raises is raised."""
        try:
            hits = self.rail.find(text, facts)
        except Exception as error:
            self.troubles.say(self.part, f"{self.rail.name}: {str(error) or type(error).__name__}"[:300])
            raise
        self.troubles.say(self.part, "")
        return hits


class Wired:
    """The parts that a wiring names, open in this process. Raises BylawError where one of them could never work."""

    def __init__(self, wiring: Wiring) -> None:
        self.troubles = Troubles()
        self._judges = _Judges(wiring.judge, self.troubles) if wiring.judge else None
        self._bears = _Bears(wiring.entailment, self.troubles) if wiring.entailment else None
        self._channels = [self._told(name, channel) for name, channel in channels(wiring)]
        self.bell: Bell | None = None

    def rails_of(self, policy: Policy) -> Mapping[str, Rail]:
        """All rails that a policy may name: judges too, where there is a model that judges."""
        grounding = {self._bears.rail.name: self._bears.rail} if self._bears else {}
        return {**library.known(), **grounding, **(self._judges.rails_of(policy) if self._judges else {})}

    def ring(self, told: "Told", mine: "Mine") -> "Callable[[Waiting], None] | None":
        """Begin to ring, where it is `mine` to ring; how it went is `told`. None where nobody is to be rung."""
        if self._channels:
            from bylaw.govern.ringing import Bell  # noqa: PLC0415  # see above

            self.bell = Bell(self._channels, told, mine=mine)
        return self.bell.ring if self.bell else None

    def catch_up(self, missed: "Missed") -> None:
        """Ring for requests whose process died before it could, now and as long as this one lives."""
        if self.bell is not None:
            self.bell.follow(missed)

    def close(self) -> None:
        """Ring for what waits, and stop."""
        if self.bell is not None:
            self.bell.close()
        for one in (self._judges, self._bears):
            if one is not None:
                one.close()

    def _told(self, name: str, channel: "Channel") -> "Channel":
        def ring(waiting: "Waiting") -> str:
            fault = channel(waiting)
            self.troubles.say(name, fault)
            return fault

        return ring


def rails_in(data_dir: Path, file: Path | None = None) -> Callable[[Policy], Mapping[str, Rail]]:
    """The rails that a policy may name under this gateway.yaml, for who makes one ready and serves nobody."""
    return Wired(judges_only(found(data_dir, file))).rails_of


def judge_apart(wiring: Wiring, calls_a_day: int) -> "_Judges":
    """The judge with one thread and a budget of its own: what it is asked takes nothing from decisions. Raises StoreError without one."""
    if wiring.judge is None:
        raise StoreError("sampling needs a judge, and gateway.yaml has none", "Write `judge: {url: …, model: …}`.")
    return _Judges(replace(wiring.judge, threads=1, calls_a_day=calls_a_day), Troubles())


def channels(wiring: Wiring) -> "list[tuple[str, Channel]]":
    """Every way in which people are rung, by name; raises StoreError on what is not allowed, or has no secret."""
    if not (wiring.hooks or wiring.mail):
        return []
    from bylaw.govern.ringing import Mail, by_mail, by_webhook  # noqa: PLC0415  # see above
    from bylaw.govern.webhooks import Webhook  # noqa: PLC0415  # the same

    hosts, made = frozenset(wiring.hosts), list[tuple[str, "Channel"]]()
    for at, hook in enumerate(wiring.hooks):
        secret = secret_in(hook.secret_env, "whsec_ and base64 of 24 to 64 bytes")
        made.append((f"webhook {at + 1}", by_webhook(Webhook(hook.url, secret, hosts, hook.inside))))
    if mail := wiring.mail:
        password = secret_in(mail.password_env, "the mail server's password")
        made.append(("mail", by_mail(Mail(mail.server, mail.sender, mail.to, mail.port, mail.user, password))))
    return made


def _model(at: JudgeAt, part: str) -> "Model":
    from bylaw.models import endpoint  # noqa: PLC0415  # the client loads only where there is a model to ask
    from bylaw.models.manners import Manners  # noqa: PLC0415  # the same
    from bylaw.models.remote import RemoteModel  # noqa: PLC0415  # the same

    manners = Manners(tries=TRIES, timeout_s=float(at.timeout_s), deadline_s=float(at.timeout_s), cache=None)
    key = secret_in(at.key_env, f"the key of the {part} model")
    return RemoteModel(f"{at.model}@{part}", at.model, endpoint.checked(at.url), key, manners)


class _Bears:
    """The grounding check with a model that is asked whether documents bear a claim, where words alone do not."""

    def __init__(self, at: JudgeAt, troubles: Troubles) -> None:
        from bylaw.govern.rails import judging  # noqa: PLC0415  # the client and the judge load only where there is a model to ask
        from bylaw.govern.rails.entailing import entails  # noqa: PLC0415  # the same
        from bylaw.govern.rails.grounding import GroundingRail  # noqa: PLC0415  # the same

        budget, self._pool = judging.Budget(float(at.timeout_s), at.calls_a_day), judging.Pool(at.threads)
        asked = entails(_model(at, "entailment"), secrets.token_bytes(32), budget, self._pool)
        self.rail = Telling(GroundingRail(entails=asked, cost=2), troubles, "entailment")

    def close(self) -> None:
        """Take no more questions."""
        self._pool.close()


class _Judges:
    """The model that judges: one budget, one pool of threads and one secret for all policies of a process."""

    def __init__(self, at: JudgeAt, troubles: Troubles) -> None:
        from bylaw.govern.rails import judging  # noqa: PLC0415  # the client and the judge load only where there is a judge

        model = _model(at, "judge")
        budget, self._pool = judging.Budget(float(at.timeout_s), at.calls_a_day), judging.Pool(at.threads)
        codes = secrets.token_bytes(32)
        self._troubles = troubles

        def rails(policy: Policy) -> Mapping[str, Rail]:
            return judging.rails(policy, model, codes, budget, self._pool)

        self._rails = rails

    def rails_of(self, policy: Policy) -> Mapping[str, Rail]:
        """A judge for every clause of a policy, its overlays' too."""
        clauses: dict[str, Clause] = {one.id: one for overlay in policy.overlays for one in overlay.clauses}
        whole = replace(policy, clauses=tuple({**clauses, **{one.id: one for one in policy.clauses}}.values()), overlays=())
        return {name: Telling(rail, self._troubles) for name, rail in self._rails(whole).items()}

    def close(self) -> None:
        """Take no more questions."""
        self._pool.close()
