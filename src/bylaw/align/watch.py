"""How a trainer tells its steps: to whoever reads the progress, and not on the output."""

from typing import Any

from transformers import PrinterCallback, TrainerCallback

from bylaw.types import Progress


class Watch(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Report every step."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tell how far training is."""
        self.progress(state.global_step, state.max_steps)


def watch(trainer: Any, progress: Progress | None) -> None:
    """Have a trainer report to `progress` alone."""
    trainer.remove_callback(PrinterCallback)
    if progress:
        trainer.add_callback(Watch(progress))
