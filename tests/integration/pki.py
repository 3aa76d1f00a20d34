"""Certificates of the tests, made with openssl as an administrator would make them."""

import os
import pathlib
import subprocess
import time

DAY = 86_400

# What `openssl ca` insists on: it alone lets a certificate begin and end when we say.
CA_CONFIG = """
[ca]
default_ca = this
[this]
database = {folder}/index.txt
new_certs_dir = {folder}
default_md = sha256
policy = any
rand_serial = yes
unique_subject = no
email_in_dn = no
copy_extensions = copy
[any]
commonName = supplied
"""


def openssl(*arguments):
    done = subprocess.run(["openssl", *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, f"openssl {arguments}: {done.stdout}"


def stamp(seconds):
    return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(seconds))


class Pair:
    """A certificate and its key, both PEM, and both in one file."""

    def __init__(self, folder, name):
        self.certificate, self.key, self.pem = folder / f"{name}.crt", folder / f"{name}.key", folder / f"{name}.pem"

    def give_to(self, owner):
        self.pem.write_bytes(self.key.read_bytes() + self.certificate.read_bytes())
        for file in (self.key, self.pem):
            os.chown(file, owner, owner)
            file.chmod(0o400)
        self.certificate.chmod(0o444)
        return self


class Authority:
    def __init__(self, folder, name):
        self.folder = folder / name
        self.folder.mkdir()
        self.certificate, self.key = self.folder / "ca.crt", self.folder / "ca.key"
        (self.folder / "index.txt").touch()
        (self.folder / "config").write_text(CA_CONFIG.format(folder=self.folder))
        openssl("req", "-x509", *EC, "-keyout", self.key, "-out", self.certificate, "-days", 60, "-subj", f"/CN={name}",
                "-addext", "basicConstraints=critical,CA:TRUE")
        self.certificate.chmod(0o444)

    def sign(self, name, owner, names, begin=-DAY, end=60 * DAY):
        """A new pair whose certificate carries `names` (subjectAltName), valid from `begin` to `end` seconds from now."""
        pair = Pair(self.folder, name)
        request = self.folder / f"{name}.csr"
        openssl("req", "-new", *EC, "-keyout", pair.key, "-out", request, "-subj", f"/CN={name}", "-addext", f"subjectAltName={names}")
        now = time.time()
        openssl("ca", "-batch", "-config", self.folder / "config", "-cert", self.certificate, "-keyfile", self.key, "-notext",
                "-startdate", stamp(now + begin), "-enddate", stamp(now + end), "-in", request, "-out", pair.certificate)
        return pair.give_to(owner)


EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
PASSWORD = "wholly secret"
AGENT_NAMES = "DNS:agent.test,DNS:localhost,IP:127.0.0.1"
SERVER_NAMES = "DNS:backup.test"


def self_signed(folder, name, owner):
    pair = Pair(folder, name)
    openssl("req", "-x509", *EC, "-keyout", pair.key, "-out", pair.certificate, "-days", 60, "-subj", f"/CN={name}")
    return pair.give_to(owner)


def classic(folder, name, owner):
    """Like the classic program's README: `openssl genrsa -des3`, a request, a self-signed certificate. The key is encrypted in the traditional form."""
    pair = Pair(folder, name)
    request = folder / f"{name}.csr"
    openssl("genrsa", "-traditional", "-des3", "-passout", f"pass:{PASSWORD}", "-out", pair.key, 2048)
    openssl("req", "-new", "-key", pair.key, "-passin", f"pass:{PASSWORD}", "-subj", "/CN=syncropy", "-out", request)
    openssl("x509", "-req", "-days", 365, "-in", request, "-signkey", pair.key, "-passin", f"pass:{PASSWORD}", "-out", pair.certificate)
    return pair.give_to(owner)


def encrypted(folder, name, pair, owner):
    """The same certificate with its key encrypted as PKCS#8."""
    locked = Pair(folder, name)
    locked.certificate.write_bytes(pair.certificate.read_bytes())
    openssl("pkcs8", "-topk8", "-v2", "aes256", "-in", pair.key, "-passout", f"pass:{PASSWORD}", "-out", locked.key)
    return locked.give_to(owner)


def decrypted(folder, name, pair, owner):
    opened = Pair(folder, name)
    opened.certificate.write_bytes(pair.certificate.read_bytes())
    openssl("pkey", "-in", pair.key, "-passin", f"pass:{PASSWORD}", "-out", opened.key)
    return opened.give_to(owner)


class Pki:
    """The private CA with the server's and the agent's pair; whatever else a test wants it makes from `ca` and `foreign`."""

    def __init__(self, folder, agent, server):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir()
        self.agent_owner, self.server_owner = agent, server
        self.ca = Authority(self.folder, "private-ca")
        self.foreign = Authority(self.folder, "foreign-ca")
        self.agent = self.ca.sign("agent", agent, AGENT_NAMES)
        self.server = self.ca.sign("server", server, SERVER_NAMES)
