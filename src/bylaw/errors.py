"""Every error bylaw raises, drawn as a tree. Each carries a hint: what to do next.

BylawError
├── PolicyError     a policy that cannot be read, or that its reader cannot use
├── ModelError      a model that cannot be found, loaded or asked
├── JudgeError      a judge that cannot be asked at all (a judge that cannot tell returns a missing verdict)
├── RunError        a run that cannot start, go on or be read
├── LedgerError     a ledger that cannot be written or verified
└── StoreError      a store that cannot be opened or migrated
"""


class BylawError(Exception):
    """What went wrong in one line, and what to do next in another."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint

    def __reduce__(self) -> tuple[type["BylawError"], tuple[str, str]]:
        """Errors cross process borders (training runs in a worker)."""
        return type(self), (self.what, self.hint)


class PolicyError(BylawError):
    """The policy cannot be read, or not by this reader. `what` starts with file:line where there is one."""


class ModelError(BylawError):
    """The model cannot be found, loaded or asked."""


class JudgeError(BylawError):
    """The judge cannot be asked at all."""


class RunError(BylawError):
    """The run cannot start, go on or be read."""


class LedgerError(BylawError):
    """The ledger cannot be written or verified."""


class StoreError(BylawError):
    """The store cannot be opened or migrated."""
