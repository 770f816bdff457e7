"""What a user can ask of the server: where it listens, and who may ask it."""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

from catsdogs_edge.errors import DataError
from catsdogs_edge.model.bundled import MODEL
from catsdogs_edge.options import WEB_ADDRESS, AcceptAll, InferenceThreads, ListenAt, ModelFile, RunsOn, WebOptions
from catsdogs_edge.output.files import read_text
from catsdogs_edge.runtime.providers import Provider

_SHORTEST_TOKEN = 16  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions(WebOptions):
    """The options of `catsdogs-serve`, each declared once."""

    address: ListenAt = WEB_ADDRESS
    model: ModelFile = MODEL
    provider: RunsOn = Provider.AUTO
    threads: InferenceThreads = 0
    accept_all: AcceptAll = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Who may ask, and where."""

    host: str
    port: int
    token: str = ""
    """That every request must show; empty: none, and only programs of this machine reach it."""
    hosts: frozenset[str] = frozenset()
    """Names under which it may be asked, beside those of this machine."""
    origins: frozenset[str] = frozenset()
    """Of other web pages that may ask it, and show its own in a frame."""
    certificate: Path | None = None
    key: Path | None = None
    trust_proxy: bool = False

    @classmethod
    def from_options(cls, address: str, options: WebOptions, environment: dict[str, str]) -> "Access":
        """Checks what belongs together; raises `ValueError` for what does not, `DataError` for a token file."""
        host, port = _parse_address(address)
        token = _read_token(options.token_file) if options.token_file else environment.get("CATSDOGS_TOKEN", "")
        if not (token.isascii() and token.isprintable()):
            raise ValueError("the token holds a line break, or other characters than ASCII: try openssl rand -hex 24")
        if 0 < len(token) < _SHORTEST_TOKEN:
            raise ValueError(
                f"the token has {len(token)} characters, expected {_SHORTEST_TOKEN} or more, or it can be guessed"
            )
        if not token and not is_loopback(host):
            raise ValueError(
                f"{host} can be reached from other machines: give a token, with --token-file FILE or CATSDOGS_TOKEN"
            )
        if (options.tls_cert is None) != (options.tls_key is None):
            raise ValueError("--tls-cert and --tls-key go together")
        origins = frozenset(origin.rstrip("/").lower() for origin in _split(options.allow_origin))
        for origin in origins:
            if not re.fullmatch(r"https?://[^/\s]+", origin):
                raise ValueError(f"'{origin}' is no origin, expected one such as https://home.example.org")
        return cls(
            host=host,
            port=port,
            token=token,
            hosts=frozenset(re.sub(r":\d+$", "", name.lower()) for name in _split(options.allow_host)),
            origins=origins,
            certificate=options.tls_cert,
            key=options.tls_key,
            trust_proxy=options.trust_proxy,
        )

    @property
    def scheme(self) -> str:
        """Http or https."""
        return "https" if self.certificate else "http"


def is_loopback(host: str) -> bool:
    """Returns whether a name or address is this machine's own, that no other can reach."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _parse_address(text: str) -> tuple[str, int]:
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([\w.-]+)):(\d{1,5})", text)
    if not match or int(match[3]) > 65_535:
        raise ValueError(f"'{text}' is no address, expected HOST:PORT, such as 127.0.0.1:8765")
    return match[1] or match[2], int(match[3])


def _split(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def _read_token(file: Path) -> str:
    try:
        token = read_text(file).strip()
    except (OSError, ValueError) as error:
        raise DataError(f"{file}, which is to hold the token, cannot be read: {error}") from error
    if not token:
        raise DataError(f"{file} is empty, expected a token: openssl rand -hex 24 > {file}")
    return token
