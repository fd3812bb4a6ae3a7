from __future__ import annotations

import socket
import sys

import pytest

from gateway.errors import ConfigError
from gateway.sockets import bind, url_of


def test_all_sockets_are_on_one_port() -> None:
    listeners = bind("127.0.0.1", 0, 4)
    assert len({listener.getsockname() for listener in listeners}) == 1
    port = listeners[0].getsockname()[1]
    assert url_of(listeners[0], "127.0.0.1") == f"http://127.0.0.1:{port}"
    for listener in listeners:
        listener.close()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere one socket is shared")
def test_a_queued_connection_waits_as_long_as_somebody_holds_its_socket() -> None:
    """What the supervisor does for a worker that has died."""
    listeners = bind("127.0.0.1", 0, 2)
    of_the_worker = [listener.dup() for listener in listeners]
    clients = [socket.create_connection(listeners[0].getsockname()) for _ in range(40)]
    for copy in of_the_worker:
        copy.close()
    accepted = []
    for listener in listeners:
        while True:
            try:
                accepted.append(listener.accept()[0])
            except BlockingIOError:
                break
    assert len(accepted) == 40
    for one in [*accepted, *clients, *listeners]:
        one.close()


def test_a_port_that_another_gateway_shares_out_is_refused() -> None:
    listeners = bind("127.0.0.1", 0, 2)
    port = listeners[0].getsockname()[1]
    for count in (1, 2):
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
            bind("127.0.0.1", port, count)
    for listener in listeners:
        listener.close()


def test_a_host_that_does_not_exist_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"cannot listen on not\.invalid:0: "):
        bind("not.invalid", 0, 1)
