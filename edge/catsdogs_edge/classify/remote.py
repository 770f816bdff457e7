"""An image behind an address that the user typed: it is fetched, within limits."""

import base64
import hashlib
import time
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from catsdogs_edge.classify.options import is_address
from catsdogs_edge.classify.sorter import Original
from catsdogs_edge.errors import ImageError
from catsdogs_edge.output.terminal import redact

LARGEST = 64 * 2**20
"""Most bytes of an image that is fetched."""

SECONDS = 30.0
"""That a server may be silent, and that the image may take to arrive once it begins."""

_CHUNK = 2**16
_IN_PATH, _IN_QUERY = "/%:@!$&'()*+,;=~[]|", "/%:@!$&'()*+,;=~[]|?{}^`"  # characters that browsers send as they are


@dataclass(slots=True)
class RemoteOriginal(Original):
    """An image on a web server."""

    address: str = ""
    keeps: bool = False
    """Whether it keeps what was fetched, for `read_again`: a camera would send another image."""
    data: bytes = b""

    @classmethod
    def from_address(cls, address: str, *, keeps: bool = False) -> "RemoteOriginal":
        """Names an image that is not fetched yet."""
        return cls(Path(address), address=address, keeps=keeps)

    @property
    def name(self) -> str:
        """The address, without a password; where parameters are hidden, with a hash that tells it from others."""
        name, query = redact(self.address), self.address.partition("?")[2]
        if not query or name == self.address:
            return name
        # Few characters, so that nobody finds out by them what is hidden; `redact` ends before them.
        return f"{name}&#{hashlib.sha256(query.encode('utf-8', 'surrogateescape')).hexdigest()[:4]}"

    def read(self) -> bytes:
        """Fetches the encoded image; see `fetch`."""
        data = fetch(self.address)
        if self.keeps:
            self.data = data
        return data

    def read_again(self) -> bytes:
        """Returns what was fetched, if it was kept; else fetches it once more."""
        return self.data or self.read()


def fetch(address: str) -> bytes:
    """Returns what a web server answers; raises `ImageError` where it does not, or with something else than an image.

    A name and a password in the address go to that server alone, not to where it may send us on.
    """
    try:
        with build_opener(_WebOnly()).open(_request(address), timeout=SECONDS) as answer:
            end = time.monotonic() + SECONDS
            kind = answer.headers.get_content_type()
            if kind.startswith(("multipart/", "video/", "audio/")):
                raise ImageError(f"a stream ({kind}), expected an image: catsdogs-cam classifies streams")
            return _read(answer, end)
    except ImageError:  # a ValueError, too
        raise
    except HTTPError as error:
        raise ImageError(f"the server answers {error.code} ({error.reason})") from error
    except TimeoutError as error:
        raise ImageError(f"the server does not answer within {SECONDS:.0f} s") from error
    except URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise ImageError(f"the server does not answer within {SECONDS:.0f} s") from error
        raise ImageError(f"cannot be fetched: {getattr(error.reason, 'strerror', None) or error.reason}") from error
    except (HTTPException, OSError, ValueError) as error:
        raise ImageError(f"cannot be fetched: {error}") from error


class _WebOnly(HTTPRedirectHandler):
    """Follows redirections to other web servers, and to nothing else."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        """Returns the next request; raises `ImageError` for an address that is none of a web server."""
        if not is_address(newurl):
            raise ImageError(f"the server sends us on to '{redact(newurl)}', which is no web server")
        target = _request(newurl).full_url  # without a name and password, which would be told in an error
        return super().redirect_request(req, fp, code, msg, headers, target)


def _request(address: str) -> Request:
    """Prepares a request: urllib takes no name and password in an address, and no letter that is not ASCII."""
    parts = urlsplit(address)
    user, at, host = parts.netloc.rpartition("@")
    if not host.isascii():
        name, colon, port = host.partition(":")
        host = name.encode("idna").decode() + colon + port
    parts = parts._replace(
        netloc=host,
        path=quote(parts.path, safe=_IN_PATH, errors="surrogateescape"),
        query=quote(parts.query, safe=_IN_QUERY, errors="surrogateescape"),
        fragment="",
    )
    request = Request(parts.geturl(), headers={"Accept": "image/*"})  # noqa: S310 - http and https alone
    if at:
        known = base64.b64encode(unquote(user).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {known}")
    return request


def _read(answer: HTTPResponse, end: float) -> bytes:
    data = bytearray()
    while chunk := answer.read1(_CHUNK):
        data += chunk
        if len(data) > LARGEST:
            raise ImageError(f"more than {LARGEST >> 20} MB, expected an image")
        if time.monotonic() > end:
            raise ImageError(f"it did not arrive within {SECONDS:.0f} s")
    return bytes(data)
