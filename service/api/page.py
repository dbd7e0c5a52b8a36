"""The page for people: static files of this package, read once and served from memory."""

import html
from collections.abc import Mapping
from http import HTTPStatus
from importlib.resources import files

from fastapi import APIRouter, Response

from service.api.problems import ProblemError

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_FIRST = "index.html"


def page_routes(told: Mapping[str, str]) -> APIRouter:
    """`/` and the files it names under `/page/`; `told` fills the first page's `{{name}}`s."""
    router = APIRouter(include_in_schema=False)
    found = {entry.name: entry.read_bytes() for entry in files("service.api").joinpath("page").iterdir()}
    for name, value in told.items():
        found[_FIRST] = found[_FIRST].replace(f"{{{{{name}}}}}".encode(), html.escape(value).encode())

    def first() -> Response:
        return _answer(_FIRST, found[_FIRST])

    def other(name: str) -> Response:
        if name not in found:
            raise ProblemError(HTTPStatus.NOT_FOUND, "The page has no such file.")
        return _answer(name, found[name])

    router.add_api_route("/", first, methods=["GET", "HEAD"])
    router.add_api_route("/page/{name}", other, methods=["GET", "HEAD"])
    return router


def _answer(name: str, content: bytes) -> Response:
    return Response(content, media_type=_TYPES[name[name.rindex(".") :]])
