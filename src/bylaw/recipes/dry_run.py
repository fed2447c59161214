"""A dry run of alignment for a policy in prose: what a person needs to see every step run, offline, before a real model is paid for.

    generator.jsonl   a script that answers each train request with the clause's own good example, citing the clause
    judge.jsonl       a script that approves the policy's good examples, each under its own clause, and nothing else
    model/            a stock Llama with random weights and a tokenizer made from the policy's text

All of it is made anew from the policy as it stands, so an edited policy needs no other care. It proves that the policy can be aligned
to: that it has prompts, that every step takes them, how long that takes. It teaches nothing: the rates it reports mean nothing.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bylaw import runs
from bylaw.align import prompts as align_prompts
from bylaw.errors import PolicyError
from bylaw.judge import framing
from bylaw.models import transcript
from bylaw.policyworld import dialect as world
from bylaw.types import Clause, Policy, Prompt

CONTEXT: Final = 256  # tokens, or as many as the longest lesson takes
LONGEST: Final = 4096  # tokens; longer lessons are left out, and counted
WORDS: Final = 1000  # of the tokenizer
END: Final = "<eos>"
SHAPE: Final = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}


@dataclass(frozen=True, slots=True)
class Parts:
    """The names of a dry run's models, as a command line has them."""

    model: str
    generator: str
    judge: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What the scripted generator says to one prompt: the good answer of one of its clauses."""

    prompt: Prompt
    clause: Clause
    answer: str

    @property
    def thinking(self) -> str:
        """A thought that cites the clause."""
        return f"[{self.clause.id}] applies: {self.clause.title}. The response is {self.clause.response}."


def prepare(policy: Policy, folder: Path, seed: int) -> Parts:
    """Write scripts and model of a dry run into a folder; raises PolicyError where the policy has nothing to rehearse with."""
    if world.speaks(policy):
        raise PolicyError(f"{policy.id} is a policy of PolicyWorld, which needs no dry run", "`bylaw demo` trains on it for real")
    known = list(replies(policy))
    if not known:
        raise PolicyError(
            f"{policy.id} has no good dialogue to answer with",
            "give a clause a **Good** dialogue with {split=train}; `bylaw init` shows how",
        )
    runs.write_rows(folder / "generator.jsonl", generator_script(known))
    runs.write_rows(folder / "judge.jsonl", judge_script(policy, known))
    _write_model(policy, known, folder / "model", seed)
    return Parts(str(folder / "model"), f"scripted:{folder / 'generator.jsonl'}", f"scripted:{folder / 'judge.jsonl'}")


def replies(policy: Policy) -> Iterator[Reply]:
    """One for every train request whose clauses have a good dialogue; to the same request if there is one."""
    for prompt in align_prompts.from_examples(policy, "train"):
        clauses = [clause for one in prompt.clauses if (clause := policy.clause(one))]
        good = [(clause, request, answer) for clause in clauses for request, answer in good_answers(clause)]
        found = next((one for one in good if one[1] == prompt.request), good[0] if good else None)
        if found:
            yield Reply(prompt, found[0], found[2].strip())


def good_answers(clause: Clause) -> Iterator[tuple[str, str]]:
    """(request, answer) of each good dialogue of a clause that may be trained on."""
    for one in clause.examples:
        asked = [turn.text for turn in one.turns if turn.role == "user"]
        if one.side == "good" and one.split == "train" and asked and one.turns[-1].role == "assistant":
            yield asked[-1], one.turns[-1].text


def generator_script(known: Sequence[Reply]) -> list[dict[str, str]]:
    """The lines of the generator's script; what it does not know it answers as it should not, so that no row is missing."""
    lines = []
    for reply in known:
        said = "\n".join([*(turn.text for turn in reply.prompt.history), reply.prompt.request])
        written = transcript.render(reply.thinking, reply.answer).replace("\\", "\\\\")
        lines.append({"when": said, "find": rf"{re.escape(said)}\Z", "say": written})
    return [*lines, {"say": transcript.render("No clause of the script's is about this.", "The script has no answer to this.")}]


def judge_script(policy: Policy, known: Sequence[Reply]) -> list[dict[str, str]]:
    """The lines of the judge's script: each good answer by its clause, where nothing else stands between the judge's delimiters."""
    good = [(clause.id, answer) for clause in policy.clauses for _, answer in good_answers(clause)]
    bad = {
        (clause.id, one.turns[-1].text.strip()) for clause in policy.clauses for one in clause.examples if one.side == "bad" and one.turns
    }
    shared = [(clause, reply.answer) for reply in known for clause in reply.prompt.clauses]
    lines = []
    for clause, answer in dict.fromkeys((clause, answer.strip()) for clause, answer in (*good, *shared)):
        if (clause, answer) not in bad:
            between = re.escape(framing.defuse(answer))
            find = rf"<<ANSWER (\w+)>>\n\s*{between}\s*\n<<END ANSWER \1>>"
            card = framing.defuse_tags(f"# Clause [{clause}] ")
            lines.append({"when": card, "find": find, "say": "The policy gives this answer as a good one.\nVERDICT \\1: 10"})
    return [*lines, {"find": r"<<END ANSWER (\w+)>>", "say": "The policy gives no such answer as a good one.\nVERDICT \\1: 0"}]


def _write_model(policy: Policy, known: Sequence[Reply], folder: Path, seed: int) -> None:
    """A stock Llama that nobody trained, in a context that the longest lesson fits."""
    import torch  # noqa: PLC0415  # seconds to import; a policy without examples is refused before
    from transformers import LlamaConfig, LlamaForCausalLM  # noqa: PLC0415  # the same

    from bylaw.models.local import quiet  # noqa: PLC0415  # the same

    quiet()
    words = _tokenizer(policy)
    lessons = [f"{reply.prompt.request}{transcript.render(reply.thinking, reply.answer)}" for reply in known]
    longest = 32 + max(len(words(text)["input_ids"]) for text in lessons)
    context = next(size for size in (CONTEXT << i for i in range(8)) if size >= min(longest, LONGEST))
    words.model_max_length = context
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(words),
        max_position_embeddings=context,
        bos_token_id=None,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
        **SHAPE,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    words.save_pretrained(folder)


def _tokenizer(policy: Policy) -> Any:
    """Byte pairs of the policy's own text: it can write everything, and its own words briefly."""
    from transformers import GPT2TokenizerFast  # noqa: PLC0415  # seconds to import; a policy without examples is refused before

    blank = GPT2TokenizerFast(bos_token=END, eos_token=END, unk_token=END, pad_token="<pad>")
    texts = [clause.norm for clause in policy.clauses]
    texts += [turn.text for clause in policy.clauses for one in clause.examples if one.split == "train" for turn in one.turns]
    return blank.train_new_from_iterator([*texts, transcript.OPEN, transcript.CLOSE], WORDS, show_progress=False)
