"""Certificates for tests, made with the program openssl."""
import pathlib
import subprocess


def openssl(*args, **options):
    return subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True, text=True, **options).stdout


def new_key(path, kind="EC"):
    options = ["-pkeyopt", "ec_paramgen_curve:P-256"] if kind == "EC" else ["-pkeyopt", "rsa_keygen_bits:2048"]
    openssl("genpkey", "-algorithm", kind, *options, "-out", path)
    path.chmod(0o600)


class Authority:
    """A root, what it signed to sign others, and what that signed for this machine: root trusts all."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.root = self.folder / "root.pem"
        new_key(self.folder / "root.key")
        openssl("req", "-x509", "-key", self.folder / "root.key", "-subj", "/CN=Test root", "-days", 30, "-out", self.root)
        self.between = self._sign("between", "root", "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n")

    def _sign(self, name, by, extensions, kind="EC", days=30):
        key, request, out = (self.folder / f"{name}.{end}" for end in ("key", "req", "pem"))
        new_key(key, kind)
        openssl("req", "-new", "-key", key, "-subj", f"/CN={name}", "-out", request)
        (self.folder / "extensions").write_text(extensions)
        openssl("x509", "-req", "-in", request, "-CA", self.folder / f"{by}.pem", "-CAkey", self.folder / f"{by}.key",
                "-CAcreateserial", "-days", days, "-extfile", self.folder / "extensions", "-out", out)
        return out

    def issue(self, name, kind="EC", days=30):
        """(certificate with the one between behind it, key); negative days: it has expired."""
        own = self._sign(name, "between", "subjectAltName=DNS:localhost,IP:127.0.0.1\n", kind, days)
        chain = self.folder / f"{name}-chain.pem"
        chain.write_text(own.read_text() + self.between.read_text())
        return chain, self.folder / f"{name}.key"
