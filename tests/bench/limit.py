"""How fast one large file could come over at most: TLS 1.3 with AES-128-GCM, and SHA-256 of what arrives, on this CPU."""

import hashlib
import os
import pathlib
import socket
import ssl
import sys
import time

from bench import Stop, quiet, self_signed

BYTES = 2 << 30
BLOCK = 1 << 20
RECORD = 16_384
CIPHER = "TLS_AES_128_GCM_SHA256"
TELL = "from limit import transfer; transfer()"


def by_speed():
    """Bytes a second of a receiver that decrypts and digests, one after the other, as `openssl speed` has each in blocks of a TLS record.

    The sender, which encrypts meanwhile on another processor, is faster than that.
    """
    rates = []
    for algorithm in ("aes-128-gcm", "sha256"):
        told = quiet("openssl", "speed", "-mr", "-seconds", "2", "-bytes", RECORD, "-evp", algorithm)
        rates.append(float(next(line for line in told.splitlines() if line.startswith("+F:")).split(":")[3]))
    return 1 / sum(1 / rate for rate in rates)


def by_transfer(work):
    """Bytes a second of a real connection over loopback: OpenSSL on both sides, one thread each, nothing read from or written to a disk."""
    quiet(*self_signed("limit", work / "limit"))
    configuration = work / "limit.cnf"
    configuration.write_text("openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = tls\n[tls]\nMinProtocol = TLSv1.3\n"
                             f"Ciphersuites = {CIPHER}\n")
    # Python cannot choose the cipher of TLS 1.3, but the library's configuration can, which it reads when it starts.
    environment = {**os.environ, "OPENSSL_CONF": str(configuration), "PYTHONPATH": str(pathlib.Path(__file__).parent)}
    told = quiet(sys.executable, "-B", "-c", TELL, cwd=work, env=environment)
    rate, cipher = told.split()
    if cipher != CIPHER:
        raise Stop(f"the limit was to be measured with {CIPHER}, not {cipher}")
    return float(rate)


def transfer():
    listener = socket.create_server(("127.0.0.1", 0))
    sender = os.fork()
    if sender == 0:
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain("limit.crt", "limit.key")
            with context.wrap_socket(listener.accept()[0], server_side=True) as connection:
                block = memoryview(os.urandom(BLOCK))
                for _ in range(BYTES // BLOCK):
                    connection.sendall(block)
                connection.unwrap()
        finally:
            os._exit(0)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations("limit.crt")
    got, digest, buffer = 0, hashlib.sha256(), memoryview(bytearray(BLOCK))
    with context.wrap_socket(socket.create_connection(listener.getsockname())) as connection:
        start = time.monotonic()
        while got < BYTES and (length := connection.recv_into(buffer)):
            digest.update(buffer[:length])
            got += length
        print(got / (time.monotonic() - start), connection.cipher()[0])
        if got == BYTES:
            connection.unwrap()
    os.waitpid(sender, 0)
