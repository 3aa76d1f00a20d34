"""What a test on a machine asks its agent, without a server: run there as `python3 asking.py WHAT ARGUMENT...`, over plain TCP on loopback."""

import pathlib
import socket
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "integration"))

import wire  # noqa: E402

PORT = 4444


def greeted(address="127.0.0.1", source=None, port=PORT):
    connection = wire.Connection(socket.create_connection((address, port), 5, source and (source, 0)))
    connection.send(wire.HELLO, wire.hello())
    kind, _ = connection.receive()
    assert kind == wire.HELLO, kind
    return connection


def converse():
    """One whole conversation, to its orderly end."""
    connection = greeted()
    connection.send(wire.BYE)
    assert connection.sock.recv(1) == b""
    connection.close()


def idle_exits(rounds, count):
    """`count` conversations in each round, some just before the agent ends for idleness (after a second), some while it does, some just after."""
    failures = []

    def one():
        try:
            converse()
        except Exception as failure:  # each of them is a backup that would not have happened
            failures.append(repr(failure))

    for number in range(rounds):
        threads = [threading.Thread(target=one) for _ in range(count)]
        for thread in threads:
            thread.start()
            time.sleep(0.001)
        for thread in threads:
            thread.join()
        time.sleep(0.995 + 0.002 * number)
    print(len(failures), *failures[:3], sep="\n")


def ask(path):
    """Whether the agent lets `path` be listed: on a connection that was there before, and on a new one, when a line comes."""
    def allowed(connection):
        connection.send(wire.LIST, wire.list_request([path]))
        kind, payload = connection.receive()
        return "yes" if kind == wire.ENTRIES else wire.get_error(payload)[0]

    before, other = greeted(), greeted()
    print(allowed(other), flush=True)
    sys.stdin.readline()
    print(allowed(before), allowed(greeted()), flush=True)


def run(command, seconds, hang_up="no"):
    """A command before a backup, its output and its end; or hangs up once it has said something."""
    connection = greeted()
    connection.send(wire.RUN, wire.Writer().byte(1).string(command).unsigned(int(seconds)).byte(0).bytes)
    while True:
        kind, payload = connection.receive()
        if kind == wire.OUTPUT:
            print(payload.decode(), end="", flush=True)
            if hang_up == "yes":
                return
        if kind == wire.RAN:
            data = wire.Reader(payload)
            print(data.byte(), data.unsigned(), data.string().decode(), data.string().decode())
            return


def connect(address, source, port):
    greeted(address, source, port).close()


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    globals()[what](*(int(word) if word.isdigit() else word for word in arguments))
