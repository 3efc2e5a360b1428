"""Stands in for AWS's session-manager-plugin in tests: same arguments, environment and words.

What it is told goes to $PLUGIN_RECORD. It forwards to $PLUGIN_TARGET (HOST:PORT); AWS's own speaks
over a web socket to the agent instead.
"""

import json
import os
import socket
import sys
import threading
from pathlib import Path

VERSION = os.environ.get("PLUGIN_VERSION", "1.2.707.0")


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while part := source.recv(65536):
            sink.sendall(part)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        sink.close()


def main() -> int:
    if sys.argv[1:] == ["--version"]:
        say(VERSION)
        return 0
    name, region, operation, profile, wanted, endpoint = sys.argv[1:]
    record = {
        "argv": sys.argv[1:],
        "session": json.loads(os.environ[name]),
        "region": region,
        "operation": operation,
        "profile": profile,
        "wanted": json.loads(wanted),
        "endpoint": endpoint,
        "pid": os.getpid(),
    }
    Path(os.environ["PLUGIN_RECORD"]).write_text(json.dumps(record))
    say(f"\nStarting session with SessionId: {record['session']['SessionId']}")
    if os.environ.get("PLUGIN_FAILS"):
        say("Cannot perform start session: EOF")
        return 1
    host, _, port = os.environ["PLUGIN_TARGET"].rpartition(":")
    with socket.create_server(("localhost", 0)) as listener:
        local = listener.getsockname()[1]
        say(f"Port {local} opened for sessionId {record['session']['SessionId']}.")
        say("Waiting for connections...")
        while True:
            near, _ = listener.accept()
            far = socket.create_connection((host, int(port)))
            for pair in ((near, far), (far, near)):
                threading.Thread(target=pump, args=pair, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
