"""What a person may ask of a deliberative run, and the arms a run can train and measure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from bylaw.recipes.sizes import Dial

DEFAULT_ARMS: Final = ("base", "policy_in_prompt", "sft", "sft_rl")
DEMO_ARMS: Final = ("base", "policy_in_prompt", "imitation", "sft", "sft_rl")
ALL_ARMS: Final = ("base", "policy_in_prompt", "imitation", "sft", "rl", "sft_rl", "sft_short", "sft_short_rl", "control")

IMITATION_RATES: Final = (0.5, 1.0, 2.0)  # of the SFT learning rate; the best on prompts held back from both sets is taken


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asked for; a restart must ask the same."""

    policy: str  # digest
    model: str
    generator: str
    judge: str  # empty: the exact judge of PolicyWorld
    size: Dial
    seed: int
    arms: tuple[str, ...] = DEFAULT_ARMS
    lora: int = 0  # rank; 0 trains full weights
    prompts: tuple[str, ...] = ()  # files of prompts, for policies in prose; suites of finds, for PolicyWorld
    replay: str = ""  # a file of capability rows
    helpful: str = ""  # a file of helpful rows: stage 0, for models that lack it
    tests: str = ""  # a file of prompts to test with, for policies in prose
    engine: str = "process"  # where generator and judge answer: process | ray | vllm
    files: tuple[str, ...] = ()  # digests of these files; a changed one is refused on a restart

    def to_json(self) -> dict[str, Any]:
        """As it stands in run.json."""
        one = self.prompts[0] if self.prompts else ""
        prompts = one if len(self.prompts) < 2 else list(self.prompts)  # a word where one is enough: so older runs have it
        return {**asdict(self), "prompts": prompts, "arms": list(self.arms), "files": list(self.files)}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """Read run.json back."""
        named = row.get("prompts") or ()
        prompts = (named,) if isinstance(named, str) else tuple(named)
        return cls(**{**row, "prompts": prompts, "arms": tuple(row["arms"]), "files": tuple(row["files"])})
