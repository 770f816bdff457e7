"""The one place where text goes to people: no password in it, and nothing that a terminal would obey."""

import io
import logging
import re

import typer

# A URL, as far as it goes: some programs take one slash for two, a password may hold any character but white space,
# Windows turns slashes round, and people forget the colon, or the slashes
_URL = re.compile(
    r"((?i:\b(?:https?|mqtts?|rtmps?|rtsps?|rtp|srt|tcp|udp)(?::[/\\]{0,3}|//))|[A-Za-z][A-Za-z0-9+.-]+:[/\\]{1,3})"
    r"(?:(\S*)@)?([^\s'\"<>]*)"
)
_VALUE = re.compile(r"([?&;/\\][^=&;?/\\\s]+=)[^&;\s]*")


def say(text: str, *, err: bool = False, red: bool = False) -> None:
    """Prints lines for people, to standard output or standard error."""
    typer.secho(printable(redact(text)), err=err, fg=typer.colors.RED if red else None)


def counted(number: int, thing: str) -> str:
    """Returns "1 image", "2 images"."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def redact(text: str) -> str:
    """Hides what URLs in a text may hold of secrets: all before the last `@`, and the value of each parameter.

    A URL is not taken apart: a password may hold characters that belong escaped, and are not.
    """

    def hide(match: re.Match[str]) -> str:
        return match[1] + _VALUE.sub(r"\1***", match[3] if match[2] is None else f"***@{match[3]}")

    return _URL.sub(hide, text)


def one_line(text: str) -> str:
    """Writes line ends in a name as such, so that it cannot look like another line."""
    return text.replace("\n", "\\n").replace("\r", "\\r")


def printable(text: str) -> str:
    """Writes characters that a terminal would obey, or cannot show, by their numbers; bytes that are no UTF-8 stay."""
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(character: str) -> str:
    is_byte = "\udc80" <= character <= "\udcff"
    return character if character.isprintable() or is_byte or character in "\n\t" else ascii(character)[1:-1]


class RedactedStream(io.TextIOWrapper):
    """A stream that redacts whatever is written to it, such as by the parser of the command line."""

    def write(self, text: str) -> int:
        """Writes a text and returns its length."""
        super().write(redact(text))
        return len(text)


class PlainFormatter(logging.Formatter):
    """Formats messages of the log as `say` prints them."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the message in one piece."""
        return printable(redact(super().format(record)))
