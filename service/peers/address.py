"""Where other replicas reach this one."""

import socket
from urllib.parse import urlsplit

from service.settings import HttpSettings

_EVERYWHERE = {"0.0.0.0": socket.AF_INET, "::": socket.AF_INET6}  # noqa: S104 - recognised here, not listened on
_LOOPBACK = ("127.", "::1", "localhost")


def advertised(http: HttpSettings, host: str, port: int) -> str:
    """The address to announce of one that is listened on; the machine's own where it is listened on all."""
    if http.advertised:
        return http.advertised
    if host in _EVERYWHERE:
        family = _EVERYWHERE[host]
        try:
            host = str(socket.getaddrinfo(socket.gethostname(), port, family)[0][4][0])
        except OSError:  # a machine that does not know its own name
            host = "127.0.0.1" if family == socket.AF_INET else "::1"
    return url_of(host, port)


def is_of_this_machine_only(address: str) -> bool:
    """Whether nobody on another machine reaches an address."""
    return (urlsplit(address).hostname or "").startswith(_LOOPBACK)


def url_of(host: str, port: int) -> str:
    """An address as a URL."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
