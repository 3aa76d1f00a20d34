"""The peers: each as its manual sets it up for this task, with nothing compressed that need not be."""

import dataclasses
import json
import subprocess
import time

from bench import ended, quiet, wait_for_port
from measure import Cost, Failed
from tool import Ssh, Tool, count_files, in_order, remove_tree

BURP_PORT = 4971


# --- Trees of plain files -------------------------------------------------------------------------------------------------

class Rsync(Tool):
    name = "rsync"
    packages = {"rsync": "rsync", **Ssh.packages}
    version = ("rsync", "--version")
    remark = "rsync -aHAX --numeric-ids --link-dest over ssh, pulled; a tree each; removed with rm -rf"
    options = ["-aHAX", "--numeric-ids"]

    def start(self, stack):
        self.ssh = Ssh(self.scale, self.work, self.mount, "client")
        self.ssh.start(stack)
        self.number = 0

    def trees(self):
        return in_order(self.place)

    def back_up(self):
        before = self.trees()
        self.number += 1
        link = [f"--link-dest={before[-1]}"] if before else []
        return self.scale.weigh("server", ["rsync", *self.options, "-e", self.ssh.command, *link, f"bench:{self.corpus}/",
                                           self.place / f"{self.number:04}/"])

    def backups(self):
        return len(self.trees())

    def newest(self):
        return self.trees()[-1]

    def files(self):
        return count_files(self.newest())

    def restore(self, target):
        return self.scale.weigh("server", ["rsync", *self.options, "-e", self.ssh.command, f"{self.newest()}/", f"bench:{target}/"])

    def restore_local(self, target):
        return self.scale.weigh("server", ["rsync", *self.options, f"{self.newest()}/", f"{target}/"])

    def remove_oldest(self):
        return self.scale.weigh("server", remove_tree(self.trees()[0]))


class Rsnapshot(Rsync):
    name = "rsnapshot"
    packages = {"rsnapshot": "rsnapshot", **Rsync.packages}
    version = ("rsnapshot", "version")
    remark = "rsnapshot with rsync -aHAX over ssh, link_dest 1, retain hourly 2: a run rotates and removes the third; removed with rm -rf"
    expires = True

    def start(self, stack):
        super().start(stack)
        self.config = self.work / "rsnapshot.conf"
        lines = [("config_version", "1.2"), ("snapshot_root", f"{self.place}/"), ("cmd_rsync", "/usr/bin/rsync"), ("cmd_ssh", "/usr/bin/ssh"),
                 ("cmd_cp", "/bin/cp"), ("cmd_rm", "/bin/rm"), ("retain", "hourly", "2"), ("lockfile", self.work / "lock"), ("verbose", "1"),
                 ("link_dest", "1"), ("ssh_args", f"-F {self.ssh.config}"), ("rsync_short_args", "-aHAX"),
                 ("rsync_long_args", "--delete --numeric-ids --relative --delete-excluded"), ("backup", f"root@bench:{self.corpus}/", "bench/")]
        self.config.write_text("".join("\t".join(map(str, line)) + "\n" for line in lines))

    def trees(self):
        return in_order(self.place, "hourly.*")[::-1]

    def newest(self):
        return self.place / f"hourly.0/bench{self.corpus}"

    def back_up(self):
        return self.scale.weigh("server", ["rsnapshot", "-c", self.config, "hourly"])


class RdiffBackup(Tool):
    name = "rdiff-backup"
    packages = {"rdiff-backup": "rdiff-backup", **Ssh.packages}
    version = ("rdiff-backup", "--version")
    remark = "rdiff-backup --no-compression over ssh, pulled; the newest is a tree, older ones are differences; removing is not measured"

    def start(self, stack):
        self.ssh = Ssh(self.scale, self.work, self.mount, "client")
        self.ssh.start(stack)
        self.command = ["rdiff-backup", "--remote-schema", f"{self.ssh.command} {{h}} rdiff-backup server"]
        self.repository = self.place / "repository"

    def back_up(self):
        # It knows its backups by the second, and the corpus has rested for three.
        return self.scale.weigh("server", [*self.command, "backup", "--no-compression", "--preserve-numerical-ids", f"bench::{self.corpus}",
                                           self.repository])

    def backups(self):
        return len(in_order(self.repository / "rdiff-backup-data", "mirror_metadata.*"))

    def files(self):
        return count_files(self.repository, "-path", self.repository / "rdiff-backup-data", "-prune", "-o")

    def restore(self, target):
        return self.scale.weigh("server", [*self.command, "--force", "restore", "--preserve-numerical-ids", self.repository, f"bench::{target}"])

    def restore_local(self, target):
        return self.scale.weigh("server", [*self.command, "--force", "restore", "--preserve-numerical-ids", self.repository, target])

    def remove_oldest(self):
        """2.2.2 finds nothing to remove where the topmost folder is what it was at the next backup: status 2, and all stays."""
        return None


# --- Stores of their own --------------------------------------------------------------------------------------------------

class Restic(Tool):
    name = "restic"
    packages = {"restic": "restic"}
    version = ("restic", "version")
    remark = "restic --compression off into a local repository (it has no server side), encrypted as always; removing is forget, cleaning up prune"

    def start(self, stack):
        self.environment = {"RESTIC_REPOSITORY": str(self.place / "repository"), "RESTIC_PASSWORD": "bench",
                            "RESTIC_CACHE_DIR": str(self.place / "cache")}
        self.options = []
        self.ask("init")

    def ask(self, *arguments):
        return self.scale.ask(["restic", *self.options, *arguments], self.environment)

    def weigh(self, *arguments):
        return self.scale.weigh("client", ["restic", *self.options, *arguments], environment=self.environment)

    def back_up(self):
        return self.weigh("backup", "--quiet", "--compression", "off", "--host", "bench", self.corpus)

    def snapshots(self):
        return [snapshot["id"] for snapshot in sorted(json.loads(self.ask("snapshots", "--json")), key=lambda each: each["time"])]

    def backups(self):
        return len(self.snapshots())

    def files(self):
        return sum(json.loads(line).get("type") == "file" for line in self.ask("ls", "--json", "latest").splitlines())

    def restore(self, target):
        return self.weigh("restore", "latest", "--target", target)

    def restored(self, target):
        return target / str(self.corpus).lstrip("/")

    def remove_oldest(self):
        return self.weigh("forget", "--quiet", self.snapshots()[0])

    def clean_up(self):
        return self.weigh("prune", "--quiet")


class ResticSftp(Restic):
    name = "restic-sftp"
    packages = {**Restic.packages, **Ssh.packages}
    remark = "restic as above, its repository reached over ssh (sftp)"

    def start(self, stack):
        self.ssh = Ssh(self.scale, self.work, self.mount, "server")
        self.ssh.start(stack)
        self.environment = {"RESTIC_REPOSITORY": f"sftp:bench:{self.place}/repository", "RESTIC_PASSWORD": "bench",
                            "RESTIC_CACHE_DIR": str(self.place / "cache")}
        self.options = ["-o", f"sftp.command={self.ssh.command} bench -s sftp"]
        self.ask("init")


class Borg(Tool):
    name = "borg"
    packages = {"borg": "borgbackup", **Ssh.packages}
    version = ("borg", "--version")
    remark = "borg create --compression none over ssh, encrypted (repokey); removing is delete, cleaning up compact"

    def start(self, stack):
        self.ssh = Ssh(self.scale, self.work, self.mount, "server")
        self.ssh.start(stack)
        self.repository = f"ssh://bench{self.place}/repository"
        self.environment = {"BORG_RSH": self.ssh.command, "BORG_PASSPHRASE": "bench", "BORG_BASE_DIR": str(self.place / "client")}
        self.number = 0
        self.ask("init", "--encryption=repokey", self.repository)

    def ask(self, *arguments):
        return self.scale.ask(["borg", *arguments], self.environment)

    def weigh(self, *arguments, cwd="/"):
        return self.scale.weigh("client", ["borg", *arguments], environment=self.environment, cwd=cwd)

    def back_up(self):
        self.number += 1
        return self.weigh("create", "--compression", "none", "--numeric-ids", f"{self.repository}::{self.number:04}", ".", cwd=self.corpus)

    def archives(self):
        return self.ask("list", "--short", self.repository).split()

    def backups(self):
        return len(self.archives())

    def files(self):
        return sum(line in ("-", "h") for line in self.ask("list", "--format", "{type}{NL}",
                                                           f"{self.repository}::{self.archives()[-1]}").splitlines())

    def restore(self, target):
        return self.weigh("extract", "--numeric-ids", f"{self.repository}::{self.archives()[-1]}", cwd=target)

    def remove_oldest(self):
        return self.weigh("delete", f"{self.repository}::{self.archives()[0]}")

    def clean_up(self):
        return self.weigh("compact", self.repository)


class Bup(Tool):
    name = "bup"
    packages = {"bup": "bup"}
    version = ("bup", "--version")
    remark = "bup index and save -0 into a local repository; removing is rm, cleaning up gc"

    def start(self, stack):
        self.environment = {"BUP_DIR": str(self.place / "repository")}
        self.scale.ask(["bup", "init"], self.environment)

    def ask(self, *arguments):
        return self.scale.ask(["bup", *arguments], self.environment)

    def weigh(self, *arguments):
        return self.scale.weigh("client", ["bup", *arguments], environment=self.environment)

    def back_up(self):
        both = 'bup index --update --one-file-system "$0" && bup save -0 --quiet --name bench --strip "$0"'
        return self.scale.weigh("client", ["sh", "-c", both, self.corpus], environment=self.environment)

    def saves(self):
        return sorted(set(self.ask("ls", "/bench").split()) - {"latest"})

    def backups(self):
        return len(self.saves())

    def files(self):
        """Git shows its tree: a file in several pieces is a folder NAME.bup, and .bupm holds a folder's attributes."""
        count = 0
        for line in self.scale.ask(["git", "--git-dir", self.place / "repository", "ls-tree", "-r", "-t", "-z", "refs/heads/bench"]).split("\0")[:-1]:
            kind, _, path = line.partition("\t")
            *parents, name = path.split("/")
            piece = any(parent.endswith(".bup") or parent == ".bupm" for parent in parents)
            mode = kind.split()[0]
            count += not piece and name not in (".bupm", ".bupm.bup") and (mode.startswith("100") or (mode == "040000" and name.endswith(".bup")))
        return count

    def restore(self, target):
        return self.weigh("restore", "--quiet", "--numeric-ids", "--outdir", target, "/bench/latest/.")

    def remove_oldest(self):
        return self.weigh("rm", "--unsafe", f"/bench/{self.saves()[0]}")

    def clean_up(self):
        return self.weigh("gc", "--unsafe")


class Burp(Tool):
    name = "burp"
    packages = {"burp": "burp", "openssl": "openssl"}
    version = ("burp", "-V")
    remark = "burp with its server over TLS, compression off, keep 2: a run removes the third"
    expires = True

    def start(self, stack):
        ca = self.work / "ca"
        quiet("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=ca", "-keyout", f"{ca}.key", "-out",
              f"{ca}.crt")
        for name in ("server", "client"):
            certificate = self.work / name
            quiet("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", f"{certificate}.key", "-out",
                  f"{certificate}.csr")
            quiet("openssl", "x509", "-req", "-in", f"{certificate}.csr", "-CA", f"{ca}.crt", "-CAkey", f"{ca}.key", "-CAcreateserial", "-days", "2",
                  "-out", f"{certificate}.crt")
        quiet("openssl", "dhparam", "-dsaparam", "-out", self.work / "dh.pem", "2048")
        (self.work / "clients").mkdir()
        (self.work / "clients/client").write_text("password = bench\n")
        common = f"ssl_cert_ca = {ca}.crt\nsyslog = 0\nstdout = 1\nssl_compression = 0\ncompression = 0\n"
        server, self.config = self.work / "server.conf", self.work / "client.conf"
        server.write_text(
            f"mode = server\nlisten = 127.0.0.1:{BURP_PORT}\nmax_children = 5\ndirectory = {self.place}\ndedup_group = bench\n"
            f"clientconfdir = {self.work}/clients\n"
            f"pidfile = {self.work}/server.pid\nkeep = {self.keeps}\nhardlinked_archive = 0\nworking_dir_recovery_method = delete\numask = 0022\n"
            f"client_can_delete = 1\nclient_can_force_backup = 1\nclient_can_list = 1\nclient_can_restore = 1\nversion_warn = 0\n"
            f"ssl_cert = {self.work}/server.crt\nssl_key = {self.work}/server.key\nssl_dhfile = {self.work}/dh.pem\n{common}")
        self.config.write_text(
            f"mode = client\nserver = 127.0.0.1\nport = {BURP_PORT}\nstatus_port = {BURP_PORT + 1}\ncname = client\npassword = bench\n"
            f"pidfile = {self.work}/client.pid\n"
            f"progress_counter = 0\nserver_can_restore = 0\ncross_all_filesystems = 1\nssl_cert = {self.work}/client.crt\n"
            f"ssl_key = {self.work}/client.key\n"
            f"ssl_peer_cn = server\ninclude = {self.corpus}\n{common}")
        log = self.work / "server.log"
        self.server = self.scale.sides["server"].start(["burp", "-F", "-c", server], stdout=open(log, "wb"), stderr=subprocess.STDOUT,
                                                       env=self.scale.environment)
        stack.enter_context(ended(self.server))
        wait_for_port(BURP_PORT, self.server, "burp", log)

    def run(self, *arguments):
        return self.scale.weigh("client", ["burp", "-c", self.config, *arguments], finish=self.wait)

    def wait(self, until):
        """The client is gone when the server begins to put things in their places; its lock tells when that has been done."""
        while (self.place / "client/lockfile").exists():
            if time.monotonic() > until or self.server.poll() is not None:
                raise Failed(f"burp's server did not finish\n{(self.work / 'server.log').read_text(errors='replace')[-2000:]}")
            time.sleep(0.005)

    def back_up(self):
        return self.run("-a", "b")

    def numbers(self):
        return [path.name.split()[0] for path in in_order(self.place / "client", "0*")]

    def backups(self):
        return len(self.numbers())

    def files(self):
        listing = self.scale.ask(["burp", "-c", self.config, "-a", "L", "-b", self.numbers()[-1]])
        return sum(line.startswith("-") for line in listing.splitlines())

    def restore(self, target):
        return self.run("-a", "r", "-b", self.numbers()[-1], "-d", target)

    def restored(self, target):
        return target / str(self.corpus).lstrip("/")

    def remove_oldest(self):
        whole = self.run("-a", "delete", "-b", self.numbers()[0])
        self.rest = Cost(seconds=whole.seconds - whole.returned)
        return dataclasses.replace(whole, seconds=whole.returned)

    def clean_up(self):
        """What the server went on with when the client was gone."""
        return self.rest


PEERS = {peer.name: peer for peer in (Rsync, Rsnapshot, Restic, ResticSftp, Borg, Bup, Burp, RdiffBackup)}
USUAL = [name for name in PEERS if name != ResticSftp.name]
