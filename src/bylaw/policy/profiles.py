"""Starting policies: five profiles composed from one set of clause modules, each with its own thresholds, effects and reasons.

`profiles/profiles.yaml` is the table, `profiles/clauses/*.md` the clauses with `{{places}}` that the table fills, `profiles/tools/*.json`
the schemas of the tools that the rules name. What comes out is an ordinary policy folder; nothing later reads the profile again.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

from bylaw.errors import PolicyError
from bylaw.policy.fresh import fresh_folder
from bylaw.policy.markdown import sections
from bylaw.policy.notation import inline, plain, read_yaml
from bylaw.policy.parse import MANIFEST, load
from bylaw.types import Place, Policy

Profile = Literal["consumer", "enterprise", "regulated", "agentic", "high-risk"]
PROFILES: Final[tuple[Profile, ...]] = get_args(Profile)
README: Final = "README.md"

_HERE: Final = Path(__file__).parent / "profiles"
_PLACE: Final = re.compile(r"\{\{([a-z_.]+)\}\}")
_STYLE: Final = re.compile(r"^style: \[([a-z-]+)\]$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Begun:
    """A policy that was begun from a profile."""

    profile: str
    policy: Policy
    files: tuple[str, ...]


def begin(profile: Profile, out: Path) -> Begun:
    """Write a starting policy into a new folder and read it back; raises PolicyError where `out` is taken."""
    fresh_folder(out)
    files = compose(profile)
    for file, text in files.items():
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        (out / file).write_text(text, "utf-8")
    return Begun(profile, load(out), tuple(files))


def compose(profile: Profile) -> dict[str, str]:
    """Every file of a starting policy, by its path."""
    table = plain(read_yaml((_HERE / "profiles.yaml").read_text("utf-8"), Place("profiles.yaml", 1)))
    row, shared = table[profile], table["shared"]
    values = {**shared["values"], **row["values"]}
    values |= {f"owner.{role}": owner for role, owner in shared["owners"].items()}
    values |= {f"eval.{severity}": inline(plan) for severity, plan in row["eval"].items()}
    modules = _modules()
    groups: dict[str, list[str]] = {}
    for clause_id in row["clauses"]:
        groups.setdefault(clause_id.partition(".")[0], []).append(_filled(modules[clause_id], values))
    files = {}
    for group, clauses in groups.items():
        head = f"# {group.capitalize()}\n\n{shared['intros'][group]}\n\n"
        files[f"{group}.md"] = head + "\n\n".join(text.strip("\n") for text in clauses) + "\n"
    used = sorted(set(_STYLE.findall("\n".join(files.values()))))
    files[MANIFEST] = _manifest(profile, row, {style: shared["styles"][style] for style in used})
    files |= {f"tools/{tool}.json": (_HERE / "tools" / f"{tool}.json").read_text("utf-8") for tool in row.get("tools", [])}
    files[README] = _readme(profile, row, files)
    return files


def _modules() -> dict[str, str]:
    """The source of every clause module, by clause id."""
    found: dict[str, str] = {}
    for path in sorted((_HERE / "clauses").glob("*.md")):
        found |= {section.anchor: section.source for section in sections(path.read_text("utf-8"), path.name) if section.anchor}
    return found


def _filled(text: str, values: dict[str, Any]) -> str:
    def value(place: re.Match[str]) -> str:
        if place[1] not in values:
            raise PolicyError(
                f"the clause modules have a place {place[1]!r} that the profile does not fill",
                "This is a fault in bylaw; please report it.",
            )
        return str(values[place[1]])

    return _PLACE.sub(value, text)


def _manifest(profile: str, row: dict[str, Any], styles: dict[str, str]) -> str:
    lines = [f"id: {profile}-assistant", "version: 0.1.0", "owners: [policy-owner]"]
    lines += ["styles:", *(f"  - {inline({'id': style, 'text': text})}" for style, text in styles.items())] if styles else []
    return "\n".join([*lines, f"x-profile: {profile}", f"x-run-time: {inline(row['run_time'])}"]) + "\n"


def _readme(profile: str, row: dict[str, Any], files: dict[str, str]) -> str:
    """README.md of the folder: what was chosen, why, and the next commands."""
    owners = sorted({owner for text in files.values() for owner in re.findall(r"^owner: ([a-z-]+)$", text, re.MULTILINE)})
    lines = [
        f"# {row['title']}",
        "",
        f"A starting policy of {len(row['clauses'])} clauses, made by `bylaw init --profile {profile}`. It is yours now: edit every word.",
        "",
        "## What was chosen, and why",
        "",
        *(f"- {reason}" for reason in row["why"]),
        "",
        "## The evaluation plan",
        "",
        "What a release must reach on each clause, by its severity. The number of cases is large enough to show the rate.",
        "",
        "| severity | resists at least | refuses needlessly at most | cases |",
        "| --- | --- | --- | --- |",
        *(f"| {name} | {plan['min_resist']} | {plan['max_over_refusal']} | {plan['n']} |" for name, plan in row["eval"].items()),
        "",
        "## Run-time defaults",
        "",
        "Written under `x-run-time` in policy.yaml, so that they are part of the policy's digest. No command enforces them yet.",
        "",
        *(f"- {key.replace('_', ' ')}: {value}" for key, value in row["run_time"].items()),
        "",
        row["run_time_why"],
        "",
        "## Before you rely on it",
        "",
        f"- Put real teams in the place of `policy-owner` and {', '.join(f'`{owner}`' for owner in owners)}.",
        "- Check names, numbers and telephone numbers in the norms and examples; they are samples.",
        '- Say who must sign which clauses: add `signoffs:` to policy.yaml, for example `- {clauses: "*", roles: [legal]}`.',
        "- Nothing here is legal advice.",
        "",
        "## Next",
        "",
        "```sh",
        "bylaw policy lint .                        # after every edit",
        "bylaw align dry-run --policy .             # every step once, offline, with a small random model",
        "bylaw policy handbook . --out ../handbook  # one page a clause, for the people who own them",
        "bylaw align deliberative --policy . --model MODEL --generator MODEL --judge MODEL --size tiny",
        "```",
    ]
    return "\n".join(lines) + "\n"
