"""Where other replicas reach this one."""

import socket

from service.settings import HttpSettings

_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - recognised here, not listened on


def advertised(http: HttpSettings, host: str, port: int) -> str:
    """The address to announce of one that is listened on; the machine's own where it is listened on all."""
    if http.advertised:
        return http.advertised
    if host in _EVERYWHERE:
        try:
            host = socket.gethostbyname(socket.gethostname())
        except OSError:
            host = "127.0.0.1"  # a machine that does not know its own name has no neighbours
    return url_of(host, port)


def url_of(host: str, port: int) -> str:
    """An address as a URL."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
