"""What botocore raises when AWS cannot be reached, by sockets that behave that badly."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config

from hubdeploy.aws.errors import translated
from hubdeploy.errors import AwsError


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A port at which connections wait to be taken, one at a time."""
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        made.listen(0)
        yield made


def failure(port: int, **more: Any) -> AwsError:
    """What becomes of a call to that port."""
    client = boto3.client(
        "sts",
        region_name="eu-central-1",
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=Config(retries={"total_max_attempts": 1}, **more),
    )
    with pytest.raises(AwsError) as failed, translated("sts", "get_caller_identity"):
        client.get_caller_identity()
    assert "\n" not in failed.value.message
    return failed.value


def port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


def test_nobody_listens() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        error = failure(port_of(bound))
    assert error.code == "EndpointConnection"
    assert "check the network" in error.hint


def test_nobody_takes_the_connection(listener: socket.socket) -> None:
    with contextlib.ExitStack() as stack:
        # as many as fill the queue: the next one is left without an answer
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port_of(listener)))
        error = failure(port_of(listener), connect_timeout=0.2)
    assert error.code == "ConnectTimeout"
    assert "HTTPS_PROXY" in error.hint


def test_nobody_answers(listener: socket.socket) -> None:
    error = failure(port_of(listener), read_timeout=0.2)
    assert error.code == "NoAnswer"
    assert "goes on from where things are" in error.hint


def test_the_connection_is_cut(listener: socket.socket) -> None:
    def cut() -> None:
        taken, _ = listener.accept()
        taken.recv(1)
        taken.close()

    thread = threading.Thread(target=cut)
    thread.start()
    error = failure(port_of(listener))
    thread.join()
    assert error.code in ("NoAnswer", "EndpointConnection")
    assert "again" in error.hint
