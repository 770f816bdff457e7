"""Everything that can go wrong by the user's hand, as one small tree.

Each error says what was found, what was expected and what to do, in one line. The commands turn a `CatsDogsError` into
that line on standard error and exit code 1; anything else is a bug and keeps its traceback. Each is also the built-in
error that a caller would expect.
"""

from enum import IntEnum


class CatsDogsError(Exception):
    """Base of all errors that catsdogs raises on purpose."""


class ImageError(CatsDogsError, ValueError):
    """Bytes or a file that cannot be turned into pixels."""


class ModelError(CatsDogsError, ValueError):
    """A model file that is missing, broken, or not one of ours."""


class ProviderError(CatsDogsError, RuntimeError):
    """The requested execution provider cannot run the model on this machine."""


class SourceError(CatsDogsError, OSError):
    """A camera or video that cannot be opened or stops delivering."""


class DataError(CatsDogsError, ValueError):
    """A folder of images or a run folder that cannot be used as it is."""


class OutputError(CatsDogsError, OSError):
    """A result that cannot be written where it was asked for."""


class ParityError(CatsDogsError, ArithmeticError):
    """An exported model that does not answer like the model it was made from."""


class MemoryShortageError(CatsDogsError, MemoryError):
    """Work that does not fit into the memory of the accelerator or the machine."""


class ExitCode(IntEnum):
    """How a command ends."""

    DONE = 0
    FAILED = 1
    """Nothing could be done; one line says why."""
    WRONG_USAGE = 2
    PARTLY_DONE = 3
    """The work is done, but some images could not be classified, or not moved away."""
    INTERRUPTED = 130
    """Ctrl-C: a shell uses 128 and the signal's number."""

    @classmethod
    def from_counts(cls, done: int, failed: int) -> "ExitCode":
        """Returns the exit code after `done` images were classified and `failed` could not be."""
        if not done:
            return cls.FAILED
        return cls.PARTLY_DONE if failed else cls.DONE
