"""Whoever may write the policy's folder and holds no reviewer's key tries to get something else into force; and what reviewers can do."""

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from bylaw.cli import run, serve
from bylaw.errors import PolicyError, StoreError
from bylaw.govern.canary import Terms
from bylaw.govern.rails.rail import Rail
from bylaw.policy import reviews
from bylaw.policy.frame import FRAME
from bylaw.policy.parse import load
from bylaw.policy.reviews import Asked, public_half
from bylaw.serve import bundle, leave, live, mcp_start, trials
from bylaw.serve.start import Setting, prepare
from bylaw.store import copying, database, policy_rows
from bylaw.store.database import Store
from bylaw.store.policy_tables import POLICIES
from bylaw.store.trial_tables import TRIALS
from bylaw.types import Policy
from tests.serve.rig import CLAUSE, CLAUSES, written
from tests.store import blank

KEYS = {"Ann": b"a" * 32, "Bob": b"b" * 32, "Eve": b"e" * 32}
ROLES = {"Ann": "risk", "Bob": "legal"}
TABLE = 'signoffs:\n  - {clauses: "money.*", roles: [risk]}\n  - {clauses: "*.cards", roles: [legal]}\n'
PEOPLE = "reviewers:\n" + "".join(f'  - {{name: {who}, roles: [{role}], key: "{public_half(KEYS[who])}"}}\n' for who, role in ROLES.items())
EVE = f'  - {{name: Eve, roles: [risk, legal], key: "{public_half(KEYS["Eve"])}"}}\n'
SAID = ("money.limit", "privacy.cards", "security.keys")  # the last one is protected by no line
BEGAN = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
EU = "axis: jurisdiction\nbasis: Act 7\neffective: 2026-01-01\nchecked: 2026-01-01\n"
LOOSE = EU + 'loosens:\n  - {clause: money.limit, because: "it says so"}\n'


@dataclass
class Scene:
    """A store with a signed policy in force, and its folder."""

    store: Store
    home: Path
    folder: Path
    entries: list[Any] = field(default_factory=list)
    days: int = 0

    def sign(self, who: str, clauses: str = "*", folder: Path | None = None, **more: Any) -> Path:
        """Sign what a pattern matches, or the frame; a day later than before."""
        self.days += 1
        role = more.pop("role", ROLES.get(who, "risk"))
        place = folder or self.folder
        asked = Asked(who, role, clauses, **more)
        return reviews.keep(place, reviews.review(load(place), asked, KEYS[who], BEGAN + timedelta(days=self.days)))

    def change(self, old: str, new: str, file: str = "rules.md") -> None:
        path = self.folder / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def activate(self, folder: Path | None = None, unsigned: str = "") -> str:
        return live.activate(self.store, self.entries.append, folder or self.folder, "tester", unsigned)[0].digest

    def now(self) -> str:
        found = live.latest(self.store)
        return found.digest if found else ""

    def prepared(self, **more: Any) -> list[str]:
        """What `serve --policy` says when it begins with the folder."""
        said: list[str] = []
        prepare(Setting("http://127.0.0.1:9", data_dir=self.home, **more), self.folder, "tester", said.append)
        return said


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    store = blank.opened(tmp_path / "data" / "store.sqlite")
    found = Scene(store, tmp_path / "data", written(tmp_path / "policy", SAID, TABLE + PEOPLE))
    found.sign("Ann", "money.*")
    found.sign("Bob", "*.cards")
    found.activate()
    yield found
    store.close()


def table_gone(at: Scene) -> None:
    at.change(TABLE, "", "policy.yaml")


def table_asks_less(at: Scene) -> None:
    at.change("roles: [risk]}\n", "roles: [risk, legal, desk]}\n", "policy.yaml")


def pattern_moved(at: Scene) -> None:
    at.change('"money.*"', '"funds.*"', "policy.yaml")


def eve_is_a_reviewer(at: Scene) -> None:
    at.change(PEOPLE, PEOPLE + EVE, "policy.yaml")
    limit_raised(at)
    at.sign("Eve", "money.*", role="risk")


def ann_has_eves_key(at: Scene) -> None:
    at.change(public_half(KEYS["Ann"]), public_half(KEYS["Eve"]), "policy.yaml")
    for path in (at.folder / "reviews").glob("*ann*"):
        path.unlink()
    asked = Asked("Ann", "risk", "money.*")
    reviews.keep(at.folder, reviews.review(load(at.folder), asked, KEYS["Eve"], BEGAN + timedelta(days=50)))


def eve_signs_the_frame(at: Scene) -> None:
    eve_is_a_reviewer(at)
    for role in ("risk", "legal"):
        at.sign("Eve", FRAME, role=role)


def limit_raised(at: Scene) -> None:
    at.change("> 200.0", "> 100000.0")


def clause_gone(at: Scene) -> None:
    written(at.folder, SAID[1:], TABLE + PEOPLE)


def clause_renamed(at: Scene) -> None:
    at.change("{#money.limit}", "{#funds.limit}")


def clause_only_in_an_overlay(at: Scene) -> None:
    clause_gone(at)
    overlay(at, EU, CLAUSE.format(id="money.limit", title=CLAUSES["money.limit"][0], rule=CLAUSES["money.limit"][1]))


def overlay_that_loosens(at: Scene) -> None:
    title, rule = CLAUSES["money.limit"]
    overlay(at, LOOSE, CLAUSE.format(id="money.limit", title=title, rule=rule.replace("> 200.0", "> 9000.0")))


def another_id(at: Scene) -> None:
    at.change("id: tried", "id: other", "policy.yaml")
    table_gone(at)


def tool_listed(at: Scene) -> None:
    shutil.copy(at.folder / "tools" / "lookup.json", at.folder / "tools" / "wire.json")


def schema_widened(at: Scene) -> None:
    at.change('"additionalProperties":false', '"additionalProperties":true', "tools/refund.json")


def images_let_through(at: Scene) -> None:
    at.change("owners: [desk]\n", "owners: [desk]\nx-media: allow\n", "policy.yaml")


def lower_version_without_the_table(at: Scene) -> None:
    table_gone(at)
    at.change("version: 1.0.0", "version: 0.0.1", "policy.yaml")


def link_to_another_folder(at: Scene) -> None:
    other = written(at.home.parent / "elsewhere", SAID[1:])
    shutil.rmtree(at.folder)
    at.folder.symlink_to(other)


def link_to_another_manifest(at: Scene) -> None:
    table_gone(at)
    (at.folder / "policy.yaml").rename(at.folder / "other.yaml")  # one from outside the folder is refused before: `test_bundle_links`
    (at.folder / "policy.yaml").symlink_to("other.yaml")


def record_changed_to_another_text(at: Scene) -> None:
    limit_raised(at)
    (path,) = (at.folder / "reviews").glob("*ann*")
    clause = load(at.folder).clause("money.limit")
    assert clause is not None
    value = json.loads(path.read_text())
    value["clauses"] = {clause.id: reviews.signed_digest(load(at.folder), clause)}
    path.write_text(json.dumps(value))


def overlay(at: Scene, manifest: str, text: str, name: str = "eu") -> None:
    place = at.folder / "overlays" / name
    place.mkdir(parents=True)
    (place / "overlay.yaml").write_text(manifest)
    (place / "law.md").write_text(f"# Law\n\n{text}")


ATTACKS = (
    table_gone,
    table_asks_less,
    pattern_moved,
    eve_is_a_reviewer,
    ann_has_eves_key,
    eve_signs_the_frame,
    limit_raised,
    clause_gone,
    clause_renamed,
    clause_only_in_an_overlay,
    overlay_that_loosens,
    another_id,
    tool_listed,
    schema_widened,
    images_let_through,
    lower_version_without_the_table,
    link_to_another_folder,
    link_to_another_manifest,
    record_changed_to_another_text,
)


@pytest.mark.slow
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda one: one.__name__)
def test_who_writes_the_folder_and_has_no_reviewers_key_gets_nothing_into_force(scene: Scene, attack: Callable[[Scene], None]) -> None:
    before = scene.now()
    attack(scene)
    with pytest.raises(PolicyError, match=r"^not signed off: "):
        scene.activate()
    with pytest.raises(PolicyError, match=r"^not signed off: "):
        trials.begin(scene.store, scene.entries.append, scene.folder, trials.new("canary", "eve", Terms(500)))
    said = scene.prepared()

    assert (scene.now(), len(live.history(scene.store))) == (before, 1)
    assert "NOT in force" in said[0]


def test_a_change_that_no_line_protects_needs_nobody(scene: Scene) -> None:
    before = scene.now()
    scene.change("No keys in answers", "Never a key in an answer")

    assert scene.activate() not in ("", before)


def test_a_changed_clause_comes_into_force_with_the_signature_that_the_table_asks_for(scene: Scene) -> None:
    limit_raised(scene)
    scene.sign("Ann", "money.*")

    assert scene.activate() == scene.now()
    assert scene.entries[-1]["facts"]["leave"] == "signed"


@pytest.mark.slow
def test_a_changed_table_needs_every_line_of_the_old_one(scene: Scene) -> None:
    table_gone(scene)
    scene.sign("Ann", FRAME)
    with pytest.raises(PolicyError, match=r"the sign-off table differs.*1 of 1 signature by legal"):
        scene.activate()
    scene.sign("Bob", FRAME)

    assert scene.activate() == scene.now()


def test_a_signature_of_the_frame_is_for_that_frame_alone(scene: Scene) -> None:
    for who in ROLES:
        scene.sign(who, FRAME)
    clause_gone(scene)
    with pytest.raises(PolicyError, match=r"money[.]limit is gone"):
        scene.activate()


@pytest.mark.slow
def test_a_reviewer_leaves_and_another_comes(scene: Scene) -> None:
    """Ann signs her own leaving, which her policy.yaml does not name her for any more; Eve signs what Ann had signed."""
    ann = next(line for line in PEOPLE.splitlines(keepends=True) if "Ann" in line)
    scene.change(ann, ann.replace("Ann", "Eve").replace(public_half(KEYS["Ann"]), public_half(KEYS["Eve"])), "policy.yaml")
    for path in (scene.folder / "reviews").glob("*ann*"):
        path.unlink()
    for who in ROLES:
        scene.sign(who, FRAME)
    scene.sign("Eve", "money.*", role="risk")
    first = scene.activate()
    limit_raised(scene)
    scene.sign("Eve", "money.*", role="risk")

    assert scene.activate() not in ("", first)
    assert reviews.reviewed(scene.folder, load(scene.folder)).findings == ()


def test_an_old_text_does_not_come_back_with_its_old_signature(scene: Scene) -> None:
    shutil.copytree(scene.folder, scene.home.parent / "old")
    limit_raised(scene)
    scene.sign("Ann", "money.*")
    newer = scene.activate()
    with pytest.raises(PolicyError, match="does not count: sign again"):
        scene.activate(scene.home.parent / "old")

    assert scene.now() == newer


@pytest.mark.slow
def test_a_removed_clause_does_not_come_back_with_its_old_signature(scene: Scene) -> None:
    shutil.copytree(scene.folder, scene.home.parent / "old")
    clause_gone(scene)
    signed = [scene.sign(who, FRAME) for who in ROLES]
    newer = scene.activate()
    for path in signed:
        shutil.copy(path, scene.home.parent / "old" / "reviews")
    with pytest.raises(PolicyError, match=r"money[.]limit, which is not in the policy in force.*sign again"):
        scene.activate(scene.home.parent / "old")
    for path in signed:
        path.unlink()
    with pytest.raises(PolicyError, match=r"the records reviews/.*, reviews/.* of the policy in force are gone"):
        scene.activate()

    assert scene.now() == newer


@pytest.mark.slow
def test_a_rejection_that_was_in_force_holds_though_its_file_is_gone(scene: Scene) -> None:
    text = (scene.folder / "rules.md").read_text()
    limit_raised(scene)
    no = scene.sign("Ann", "money.*", decision="reject")
    (scene.folder / "rules.md").write_text(text)
    scene.activate()
    no.unlink()
    limit_raised(scene)
    with pytest.raises(PolicyError, match="Ann rejected it"):
        scene.activate()


def reviews_emptied(at: Scene) -> None:
    shutil.rmtree(at.folder / "reviews")


def newer_records_taken_out(at: Scene) -> None:
    for path in sorted((at.folder / "reviews").glob("*ann*"))[1:]:
        path.unlink()


def records_crowded_out(at: Scene) -> None:
    for count in range(reviews.MAX_RECORDS):
        (at.folder / "reviews" / f"{count}.json").touch()


STRIPPED = (reviews_emptied, newer_records_taken_out, records_crowded_out)


@pytest.mark.slow
@pytest.mark.parametrize("bump", [False, True], ids=["same", "bumped"])
@pytest.mark.parametrize("attack", STRIPPED, ids=lambda one: one.__name__)
def test_who_takes_records_out_of_the_folder_makes_the_store_forget_nothing(
    scene: Scene, attack: Callable[[Scene], None], bump: bool
) -> None:
    """First the newest records go, where no clause changes; then the old, looser text comes with its old records."""
    old = scene.home.parent / "old"
    shutil.copytree(scene.folder, old)
    scene.change("> 200.0", "> 100.0")
    scene.sign("Ann", "money.*")
    scene.activate()
    tight = live.latest(scene.store)
    if bump:
        scene.change("version: 1.0.0", "version: 1.0.1", "policy.yaml")
    attack(scene)
    with pytest.raises(PolicyError, match=r"the records? reviews/.* of the policy in force (is|are) gone.*"):
        scene.activate()
    said = scene.prepared()
    with pytest.raises(PolicyError, match="does not count: sign again"):
        scene.activate(old)

    assert live.latest(scene.store) == tight
    assert "NOT in force" in said[0] if bump else "are NOT taken, those in the store stay" in said[0]


def test_a_start_whose_folder_lacks_records_serves_those_in_the_store(scene: Scene) -> None:
    reviews_emptied(scene)
    made = prepare(Setting("http://127.0.0.1:9", data_dir=scene.home), scene.folder, "tester", lambda said: None)

    assert made.unsigned == live.loaded(scene.store, policy_rows.was_in_force(scene.store, scene.now()), live.no_judges).unsigned == ()


@pytest.mark.slow
def test_a_rejection_is_not_forgotten_in_two_steps(scene: Scene) -> None:
    text = (scene.folder / "rules.md").read_text()
    scene.change("No keys in answers", "Keys in answers")
    no = scene.sign("Bob", "security.keys", decision="reject")
    (scene.folder / "rules.md").write_text(text)
    scene.activate()
    no.unlink()
    with pytest.raises(PolicyError, match=r"the record reviews/.* of the policy in force is gone"):
        scene.activate()
    scene.change("No keys in answers", "Keys in answers")
    with pytest.raises(PolicyError, match="Bob rejected it"):
        scene.activate()


def test_a_record_that_a_newer_one_replaces_may_go_with_the_next_policy(scene: Scene) -> None:
    old = next(iter((scene.folder / "reviews").glob("*ann*")))
    limit_raised(scene)
    scene.sign("Ann", "money.*")
    old.unlink()

    assert scene.activate() == scene.now()


def test_a_rejection_in_an_overlay_is_not_forgotten_with_the_overlay(scene: Scene) -> None:
    title, rule = CLAUSES["security.keys"]
    overlay(scene, EU, CLAUSE.format(id="security.keys", title=title, rule=rule))  # no line asks for it
    scene.sign("Bob", "security.keys", overlay="eu", decision="reject")
    scene.activate(unsigned="until Bob has seen the next text")
    shutil.rmtree(scene.folder / "overlays")
    with pytest.raises(PolicyError, match="overlay eu, where a clause was rejected, is gone"):
        scene.activate()


@pytest.mark.slow
def test_where_a_reviewer_leaves_one_who_stays_signs_so_that_the_next_policy_knows_since_when(scene: Scene) -> None:
    """Ann and Bob sign with Cid, who leaves; their old signatures must not bring back what the frame took away."""
    cid = f'  - {{name: Cid, roles: [risk, legal], key: "{public_half(KEYS["Eve"])}"}}\n'
    scene.change(PEOPLE, PEOPLE + cid, "policy.yaml")
    for who in ROLES:
        scene.sign(who, FRAME)
    scene.activate()
    scene.change(PEOPLE + cid, PEOPLE, "policy.yaml")
    for role in ("risk", "legal"):
        key = KEYS["Eve"]
        reviews.keep(scene.folder, reviews.review(load(scene.folder), Asked("Cid", role, FRAME), key, BEGAN + timedelta(days=50)))
    with pytest.raises(PolicyError, match="the frame: the signature of one reviewer who stays"):
        scene.activate()
    scene.sign("Bob", FRAME)

    assert scene.activate() == scene.now()


def test_an_error_names_all_that_is_missing_and_only_what_helps(scene: Scene) -> None:
    table_gone(scene)
    limit_raised(scene)
    with pytest.raises(PolicyError, match=r"^not signed off: money[.]limit, which differs .*signature by risk; the frame \(") as refused:
        scene.activate()
    with scene.store.writing() as connection:
        connection.execute(POLICIES.update().values(files=b"damaged"))
    with pytest.raises(PolicyError, match=r"^not signed off: the policy in force in the store cannot be read") as unread:
        scene.activate()

    assert "does not count" not in refused.value.what  # what lies there is about another text
    assert unread.value.hint == "An operator may say why not: bylaw policy activate DIR --unsigned REASON."


@pytest.mark.slow
def test_what_the_table_in_force_asks_for_can_be_known_before(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["policy", "signoffs", str(scene.folder), "--in-force", "--data-dir", str(scene.home)]
    before = run(asked)
    limit_raised(scene)
    capsys.readouterr()
    changed, said = run(asked), capsys.readouterr().out
    scene.sign("Ann", "money.*")
    signed = run(asked)

    assert (before, changed, signed) == (0, 1, 0)
    assert "to take the place of the policy in force:\n  money.limit" in said


def test_where_nothing_is_in_force_yet_its_table_is_not_there_to_be_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database.open(tmp_path / "store.sqlite").close()
    folder = written(tmp_path / "policy", SAID)

    assert run(["policy", "signoffs", str(folder), "--in-force", "--data-dir", str(tmp_path)]) == 2
    assert "no policy is in force in this store yet" in capsys.readouterr().err


def test_a_policy_that_is_not_there_makes_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store there"):
        serve.activate("nothere", data_dir=tmp_path / "data")

    assert list(tmp_path.iterdir()) == []


def test_an_operator_may_say_why_not_and_everybody_can_read_it(scene: Scene) -> None:
    table_gone(scene)
    scene.activate(unsigned="Ann is ill, the regulator waits")

    assert live.history(scene.store)[-1]["unsigned"] == "Ann is ill, the regulator waits"
    assert scene.entries[-1]["facts"]["leave"] == "unsigned"
    assert "the sign-off table differs" in scene.entries[-1]["facts"]["missing"][0]


@pytest.mark.parametrize("reason", [" ", "a\nb", "x" * 501])
def test_an_operators_reason_says_something(scene: Scene, reason: str) -> None:
    table_gone(scene)
    with pytest.raises(PolicyError, match="a reason is one line"):
        scene.activate(unsigned=reason)


def test_a_reason_that_is_not_needed_marks_nothing(scene: Scene) -> None:
    limit_raised(scene)
    scene.sign("Ann", "money.*")
    scene.activate(unsigned="to be sure")

    assert "unsigned" not in live.history(scene.store)[-1]


def test_a_rollback_goes_back_to_what_was_in_force_and_to_nothing_else(scene: Scene) -> None:
    """A shadow's files are in the store as well, and nobody has signed them."""
    first = scene.now()
    table_gone(scene)
    trials.begin(scene.store, scene.entries.append, scene.folder, trials.new("shadow", "eve"))
    shadowed = live.ready(scene.folder).digest
    with pytest.raises(PolicyError, match="was never in force here"):
        live.put_back(scene.store, scene.entries.append, shadowed, "eve", first)
    scene.activate(unsigned="once")
    live.put_back(scene.store, scene.entries.append, first, "tester", shadowed)
    live.put_back(scene.store, scene.entries.append, shadowed, "tester", first)

    assert [one.get("unsigned", "") for one in live.history(scene.store)] == ["", "once", "", "once"]


@pytest.mark.slow
def test_a_canary_is_asked_again_when_it_is_promoted(scene: Scene) -> None:
    limit_raised(scene)
    scene.sign("Ann", "money.*")
    trials.begin(scene.store, scene.entries.append, scene.folder, trials.new("canary", "kim", Terms(500)))
    bare = scene.home.parent / "bare"
    shutil.copytree(scene.folder, bare, ignore=shutil.ignore_patterns("reviews"))
    content = policy_rows.keep(scene.store, live.ready(bare).digest, bundle.pack(bare), 1)
    with scene.store.writing() as connection:
        whole = connection.execute(select(TRIALS.c.content)).scalar()
        connection.execute(TRIALS.update().values(content=content))
    with pytest.raises(PolicyError, match=r"^not signed off: money"):
        trials.promote(scene.store, scene.entries.append, "kim")
    with scene.store.writing() as connection:
        connection.execute(TRIALS.update().values(content=whole))
    trials.promote(scene.store, scene.entries.append, "kim")

    assert scene.now() == live.ready(scene.folder).digest


def test_a_first_start_serves_what_is_not_signed_and_says_so_and_then_its_table_counts(tmp_path: Path) -> None:
    folder = written(tmp_path / "policy", SAID, TABLE + PEOPLE)
    setting, said = Setting("http://127.0.0.1:9", data_dir=tmp_path / "data"), list[str]()
    made = prepare(setting, folder, "tester", said.append)
    (folder / "policy.yaml").write_text("id: tried\nversion: 1.0.0\nowners: [desk]\n")
    again = prepare(setting, folder, "tester", said.append)

    assert (len(made.unsigned), again.digest, len(said)) == (2, made.digest, 1)


def test_a_first_signature_reaches_a_policy_that_is_in_force_as_it_stands(tmp_path: Path) -> None:
    folder = written(tmp_path / "policy", SAID, TABLE + PEOPLE)
    setting = Setting("http://127.0.0.1:9", data_dir=tmp_path / "data")
    prepare(setting, folder, "tester")
    reviews.keep(folder, reviews.review(load(folder), Asked("Ann", "risk", "money.*"), KEYS["Ann"], BEGAN))
    made = prepare(setting, folder, "tester")

    assert len(made.unsigned) == 1


def test_a_watched_folder_is_refused_beside_a_policy_that_asks_for_signatures(scene: Scene) -> None:
    with pytest.raises(PolicyError, match="--unsafe-watch beside a policy in force"):
        scene.prepared(unsafe_watch=scene.folder)


@pytest.mark.slow
def test_a_store_that_came_back_from_a_copy_asks_for_the_same_signatures(scene: Scene, tmp_path: Path) -> None:
    copying.write(scene.home / "store.sqlite", tmp_path / "copy.jsonl")
    (tmp_path / "back").mkdir()
    copying.read(tmp_path / "copy.jsonl", tmp_path / "back" / "store.sqlite")
    back = database.open(tmp_path / "back" / "store.sqlite")
    table_gone(scene)
    with pytest.raises(PolicyError, match="the sign-off table differs"):
        live.activate(back, scene.entries.append, scene.folder, "tester")
    back.close()


def test_where_the_policy_in_force_cannot_be_read_nobody_can_tell_who_must_sign(scene: Scene) -> None:
    with scene.store.writing() as connection:
        connection.execute(POLICIES.update().values(files=b"damaged"))
    scene.change("No keys in answers", "Never a key in an answer")
    with pytest.raises(PolicyError, match="cannot be read, so that nobody can tell who must sign"):
        scene.activate()

    assert leave.protected(scene.store)


def test_an_activation_that_another_one_overtakes_is_asked_again(scene: Scene) -> None:
    """Between the question and the answer somebody puts a policy with another table in force."""
    table_gone(scene)
    scene.activate(unsigned="to begin without a table")
    free = written(scene.home.parent / "free", SAID[1:])
    strict = written(scene.home.parent / "strict", SAID, TABLE + PEOPLE)

    def record(entry: Any) -> None:
        if len(live.history(scene.store)) == 2:
            live.activate(scene.store, scene.entries.append, strict, "other", "first")

    with pytest.raises(PolicyError, match="not signed off: the frame"):
        live.activate(scene.store, record, free, "tester")

    assert scene.now() == live.ready(strict).digest


def test_a_folder_that_is_another_one_while_it_is_made_ready_is_not_taken(scene: Scene) -> None:
    """Whoever may write it shows one policy to be checked, and another to be packed."""
    before = scene.now()
    shutil.copytree(scene.folder, scene.home.parent / "signed")
    text = (scene.folder / "rules.md").read_text()

    def rails_of(policy: Policy) -> Mapping[str, Rail]:
        (scene.folder / "rules.md").write_text(text.replace("No keys in answers", "Keys in answers"))
        return live.no_judges(policy)

    (scene.folder / "rules.md").write_text(text.replace("No keys in answers", "Never a key"))
    with pytest.raises(PolicyError, match="changed while it was activated"):
        live.activate(scene.store, scene.entries.append, scene.folder, "tester", rails_of=rails_of)
    files = bundle.pack(scene.home.parent / "signed")
    with pytest.raises(PolicyError, match="the policy changed while it was read"):
        live.put_in_force(scene.store, scene.entries.append, live.ready(scene.folder), files, "tester", leave.asked(scene.store, files))

    assert scene.now() == before


def test_a_server_of_mcp_is_not_given_a_policy_without_the_signatures_of_the_one_in_force(scene: Scene) -> None:
    table_gone(scene)
    setting = mcp_start.Setting(("true",), policy=scene.folder, data_dir=scene.home)
    stack = AsyncExitStack()
    with pytest.raises(PolicyError, match="not signed off: the frame"):
        mcp_start.opened(setting, stack)
    asyncio.run(stack.aclose())
