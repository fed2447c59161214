"""Decisions in words: sentences for people that name the clause, and what a model is asked to mend.

Rules, conditions and findings stay inside; the clauses are the company's own public words.
"""

from typing import Final

from bylaw.govern.rails.ensemble import no_result
from bylaw.types import Decision, Policy

SHOWN: Final = 3  # clauses named in a sentence


def cited(decision: Decision, policy: Policy) -> str:
    """The clauses of a decision as a person reads them: title and id."""
    clauses = [clause for clause_id in decision.clauses[:SHOWN] if (clause := policy.clause(clause_id))]
    return ", ".join(f"“{clause.title}” ({clause.id})" for clause in clauses)


def refusal(decision: Decision, policy: Policy, whose: str = "answer") -> str:
    """Why not, in a sentence. `whose` is `request` or `answer`."""
    because = cited(decision, policy)
    if decision.effect == "stop":
        return f"This service has been stopped for now ({decision.reason}). Nothing was done. Please try again later."
    if decision.effect == "block" and no_result(decision):
        rule = f", as {because} asks" if because else ""
        return f"No result: the sources at hand do not support an answer{rule}. Nothing was made up in its place."
    if decision.undecided:
        rule = f" under {because}" if because else ""
        return f"I can't go on with this {whose}: it could not be checked{rule}, and what cannot be checked is not let through."
    if decision.effect == "require_approval":
        return f"A person has to decide on this {whose} first{f', under {because}' if because else ''}."
    rule = f" goes against {because}" if because else " is not allowed here"
    return f"I can't help with this request: it{rule}." if whose == "request" else f"I can't give this answer: it{rule}."


def completion(decision: Decision, policy: Policy, whose: str = "answer") -> str:
    """The safe completion of the clauses that decided: their own words (`x-safe-completion`), where they have any."""
    for clause_id in decision.clauses if decision.effect != "stop" else ():
        clause = policy.clause(clause_id)
        if clause and isinstance(own := clause.extra.get("x-safe-completion"), str):
            return own
    return refusal(decision, policy, whose)


def critique(decision: Decision, policy: Policy) -> str:
    """What the model is asked to mend: the clauses in full, so that it can keep to them."""
    clauses = [clause for clause_id in decision.clauses if (clause := policy.clause(clause_id))]
    norms = "\n\n".join(f"{clause.title} ({clause.id})\n{clause.norm}" for clause in clauses)
    return (
        "Your last answer goes against the rules below. Write it again so that it keeps to them and still helps as far as they allow. "
        f"Answer with the new text only; do not mention this note.\n\n{norms}"
    )
