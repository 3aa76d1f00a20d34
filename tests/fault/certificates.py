"""Some forty kinds of certificates that must not be believed, each wrong in one way, as openssl makes them from one key."""

import subprocess

import pki
from pki import DAY, EC, Pair, openssl, stamp

GOOD = "basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\n"


class Forge:
    """Makes pairs for one side: `name` is what the other side expects, `purpose` what it is shown for."""

    def __init__(self, folder, authority, foreign, owner, name, purpose):
        self.folder, self.authority, self.foreign, self.owner, self.name = folder, authority, foreign, owner, name
        self.wrong_purpose = {"serverAuth": "clientAuth", "clientAuth": "serverAuth"}[purpose]
        folder.mkdir()
        self.key, self.request, self.count = folder / "one.key", folder / "one.csr", 0
        openssl("req", "-new", *EC, "-keyout", self.key, "-out", self.request, "-subj", "/CN=one")

    def path(self, suffix):
        self.count += 1
        return self.folder / f"{self.count}.{suffix}"

    def sign(self, extensions=GOOD, names=None, by=None, key=None, subject=None, digest="sha256", serial=None, dates=None, version3=True):
        """The PEM of a certificate for `key`; `by`: (certificate, key) of the issuer."""
        file, out = self.path("ext"), self.path("crt")
        names = f"DNS:{self.name}" if names is None else names
        file.write_text(extensions + (f"subjectAltName={names}\n" if names else ""))
        issuer = by or (self.authority.certificate, self.authority.key)
        request = self.request
        if key or subject:
            request = self.path("csr")
            openssl("req", "-new", "-key", key or self.key, "-out", request, "-subj", subject or "/CN=one")
        if dates:
            database = self.folder / "index.txt"
            database.write_text("")
            (self.folder / "config").write_text(pki.CA_CONFIG.format(folder=self.folder).replace("copy_extensions = copy\n", ""))
            openssl("ca", "-batch", "-config", self.folder / "config", "-cert", issuer[0], "-keyfile", issuer[1], "-notext", "-extfile", file, "-startdate", stamp(dates[0]),
                    "-enddate", stamp(dates[1]), "-in", request, "-out", out)
        else:
            openssl("x509", "-req", "-in", request, "-CA", issuer[0], "-CAkey", issuer[1], "-days", 30, f"-{digest}", "-set_serial", serial or 1_000 + self.count, "-out", out,
                    *(["-extfile", file] if version3 else []))
        return out.read_text()

    def middle(self, extensions, **more):
        """A certificate that signs others: (certificate, key), its PEM."""
        key, out = self.path("key"), self.path("crt")
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key)
        text = self.sign(extensions, names="", key=key, subject="/CN=middle", **more)
        out.write_text(text)
        return (out, key), text

    def pair(self, *texts, key=None):
        pair = Pair(self.folder, f"pair{self.count}")
        self.count += 1
        pair.certificate.write_text("".join(texts))
        pair.key.write_bytes((key or self.key).read_bytes())
        return pair.give_to(self.owner)

    def rsa(self, bits):
        key = self.path("key")
        openssl("genrsa", "-out", key, bits)
        return key

    def kinds(self, now):
        """name → Pair."""
        name, foreign = self.name, (self.foreign.certificate, self.foreign.key)
        made = {}

        def leaf(what, **how):
            made[what] = self.pair(self.sign(**how), key=how.get("key"))

        leaf("of a foreign authority", by=foreign)
        twin, twin_key = self.path("crt"), self.path("key")
        openssl("req", "-x509", *EC, "-keyout", twin_key, "-out", twin, "-days", 30, "-subj", "/CN=private-ca", "-addext", "basicConstraints=critical,CA:TRUE")
        leaf("of an authority of the same name", by=(twin, twin_key))
        made["of an authority of the same name, which it brings along"] = self.pair(self.sign(by=(twin, twin_key)), twin.read_text())
        alone = self.path("crt")
        openssl("req", "-x509", "-key", self.key, "-out", alone, "-days", 30, "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}")
        made["signed by itself"] = self.pair(alone.read_text())
        for what, dates in {"a day too old": (now - 30 * DAY, now - DAY), "a minute too old": (now - DAY, now - 60), "ten years too old": (now - 4_000 * DAY, now - 3_650 * DAY),
                            "a day too early": (now + DAY, now + 30 * DAY), "an hour too early": (now + 3_600, now + DAY), "valid from its end to its beginning": (now + DAY, now - DAY)}.items():
            leaf(what, dates=dates)
        host = name.split(".", 1)[1]
        for what, names in {"another name": "DNS:other.test", "a name that begins like it": f"DNS:{name}.evil.test", "a name that ends like it": f"DNS:evil-{name}", "a name below it": f"DNS:x.{name}",
                            "the domain above": f"DNS:{host}", "a wildcard of everything": "DNS:*", "a name with an end of its own": f"DNS:{name}\\0.evil.test",
                            "its name as an address of mail": f"email:root@{name}", "its name as a URI": f"URI:https://{name}/", "an address that is not its own": "IP:192.0.2.1",
                            "many names and not this": ",".join(f"DNS:host{number}.test" for number in range(500)), "no name": "", "a name with a blank": f"DNS: x {name}"}.items():
            leaf(f"named: {what}", names=names)
        leaf("named: in the subject alone, and another beside it", names="DNS:other.test", subject=f"/CN={name}")
        leaf("for the other purpose", extensions=f"basicConstraints=CA:FALSE\nextendedKeyUsage={self.wrong_purpose}\n")
        leaf("for code and mail", extensions="basicConstraints=CA:FALSE\nextendedKeyUsage=codeSigning,emailProtection\n")
        leaf("for stamping time", extensions="basicConstraints=CA:FALSE\nextendedKeyUsage=critical,timeStamping\n")
        leaf("with what nobody knows, critical", extensions=GOOD + "1.2.3.4.5.6=critical,ASN1:UTF8String:x\n")
        leaf("with SHA-1", digest="sha1")
        for bits in (512, 1_024):
            leaf(f"RSA of {bits} bits", key=self.rsa(bits))
        leaf("of an authority that is none", by=self.middle("basicConstraints=critical,CA:FALSE\n")[0])
        for what, extensions, more in (("that is no authority", "basicConstraints=critical,CA:FALSE\n", {}), ("without a word of what it is", "keyUsage=digitalSignature\n", {}),
                                       ("that must not sign", "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,digitalSignature\n", {}),
                                       ("that is too old", "basicConstraints=critical,CA:TRUE\n", {"dates": (now - 30 * DAY, now - DAY)}),
                                       ("for other names", "basicConstraints=critical,CA:TRUE\nnameConstraints=critical,permitted;DNS:.elsewhere.test\n", {}),
                                       ("that excludes it", f"basicConstraints=critical,CA:TRUE\nnameConstraints=critical,excluded;DNS:{name}\n", {}),
                                       ("of a foreign authority", "basicConstraints=critical,CA:TRUE\n", {"by": foreign})):
            by, text = self.middle(extensions, **more)
            made[f"by one in between {what}"] = self.pair(self.sign(by=by), text)
        first, first_text = self.middle("basicConstraints=critical,CA:TRUE,pathlen:0\n")
        second, second_text = self.middle("basicConstraints=critical,CA:TRUE\n", by=first)
        made["by two in between, where one is the most"] = self.pair(self.sign(by=second), second_text, first_text)
        by, _ = self.middle("basicConstraints=critical,CA:TRUE\n")
        made["without the one in between"] = self.pair(self.sign(by=by))
        good = self.sign()
        for what, at in (("first", -72), ("last", -1)):
            der, out = self.path("der"), self.path("crt")
            body = bytearray(subprocess.run(["openssl", "x509", "-outform", "DER"], input=good.encode(), capture_output=True, check=True).stdout)
            body[at if at == -1 else len(body) - 20] ^= 1
            der.write_bytes(body)
            openssl("x509", "-inform", "DER", "-in", der, "-out", out)
            made[f"with another bit in the {what} part of its signature"] = self.pair(out.read_text())
        return made


def good_is_believed(forge):
    """What all of them are but for one thing: it must work, or nothing is shown."""
    return forge.pair(forge.sign())
