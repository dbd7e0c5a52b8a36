"""The command `demo` refuses at once what cannot be."""

import socket

from typer.testing import CliRunner

from service.__main__ import app


def test_a_port_that_is_taken_is_named_with_its_option() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = CliRunner().invoke(app, ["demo", "--port", str(port)])
    assert (found.exit_code, found.stdout) == (2, "")
    assert found.stderr == (
        f"The page cannot be at 127.0.0.1:{port} (Address already in use): name another --port, or 0 for any free one\n"
    )
