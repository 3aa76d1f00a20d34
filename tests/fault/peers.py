"""Scripted peers that show a certificate."""

import socket
import ssl

import wire


class TlsConnection(wire.Connection):
    """A peer that shows a certificate. An end of TLS in disorder is an end."""

    def exactly(self, count):
        try:
            return super().exactly(count)
        except (ssl.SSLError, OSError) as failure:
            if isinstance(failure, TimeoutError):
                raise
            raise wire.Gone from None

    def send_raw(self, data):
        try:
            super().send_raw(data)
        except (ssl.SSLError, OSError) as failure:
            if isinstance(failure, TimeoutError):
                raise
            raise wire.Gone from None


def context(pair, authority, as_server):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if as_server else ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_verify_locations(authority.certificate)
    made.load_cert_chain(pair.certificate, pair.key)
    return made


class TlsAgent(wire.FakeAgent):
    """wire.FakeAgent with the agent's certificate, on a TCP port."""

    def __init__(self, tls, play):
        self.tls = tls
        super().__init__(None, play)

    def _listen(self):
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        return listener

    def _connected(self, sock):
        try:
            return TlsConnection(self.tls.wrap_socket(sock, server_side=True))
        except OSError:  # that is for the other side to tell
            raise wire.Gone from None


def connect(address, tls, seconds=20):
    """A connection to an agent as a server with the certificate in `tls`. Raises OSError where TLS itself does not come about."""
    sock = socket.create_connection(address, seconds)
    sock.settimeout(seconds)
    return TlsConnection(tls.wrap_socket(sock, server_hostname="agent.test"))
