"""Errors a user can act on: what happened, where, what was kept, and the next command.

Every refusal of ownlm is one of these classes. The command line prints them without a
traceback and ends with the class's exit code, so that scripts can tell the kinds apart.
"""


class OwnlmError(ValueError):
    """A failure that the user can mend; the message carries all that is needed.

    `where` is a path:line, tensor or step; `kept` says what is safe on disk; `next_command`
    is what to type (or change) now.
    """

    exit_code = 1

    def __init__(
        self, what: str, *, where: str = "", kept: str = "", next_command: str = ""
    ) -> None:
        self.what, self.where, self.kept, self.next_command = what, where, kept, next_command
        super().__init__(what)

    def __str__(self) -> str:
        lines = [f"{self.where}: {self.what}" if self.where else self.what]
        if self.kept:
            lines.append(f"kept: {self.kept}")
        if self.next_command:
            lines.append(f"next: {self.next_command}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, str | int]:
        """The same for machines (`--json`)."""
        return {
            "error": type(self).__name__,
            "exit_code": self.exit_code,
            "what": self.what,
            "where": self.where,
            "kept": self.kept,
            "next": self.next_command,
        }


class ConfigError(OwnlmError):
    """A key, a value or a combination of them that cannot work."""

    exit_code = 2


class DataError(OwnlmError):
    """Text, shards or a tokenizer that cannot be used."""

    exit_code = 3


class CheckpointError(OwnlmError):
    """A checkpoint or a model folder that is damaged or of another kind."""

    exit_code = 4


class NonFiniteError(OwnlmError):
    """A loss or gradient that is not a number; the update was not made."""

    exit_code = 5


class DiskError(OwnlmError):
    """No room, or no right to write."""

    exit_code = 6


class LockedError(OwnlmError):
    """Another process works in the same run folder."""

    exit_code = 7
