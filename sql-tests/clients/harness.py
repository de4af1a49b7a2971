"""A real server, and real clients, for the scripts beside this file.

A script lists its checks and calls `main`; each check gets a folder of its own and starts what it needs. Servers listen
on a free port of 127.0.0.1, and are stopped by their process id. When a check fails, the end of each server's log is
printed with it. Nothing here sleeps in hope: waits are for a condition, and bounded.
"""

import contextlib
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT / "sql-tests" / "data"
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 30
PORTS = (10_000, 32_000)


def binary():
    """The server of the dev profile; TIDEMARK_BIN names another."""
    named = os.environ.get("TIDEMARK_BIN")
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    path = pathlib.Path(named) if named else target / "debug" / "tidemark"
    if not path.exists():
        sys.exit(f"{path} does not exist: cargo build, or set TIDEMARK_BIN")
    return str(path)


def free_port():
    """Below those that the system gives to clients, so that none takes it before the server listens, or while it is restarted."""
    while True:
        port = random.randrange(*PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port


class Failure(Exception):
    """What a check found wrong, in words."""


def expect(condition, message):
    if not condition:
        raise Failure(message)


def equal(actual, expected, what):
    if actual != expected:
        raise Failure(f"{what}: expected {expected!r}, got {actual!r}")


def eventually(condition, what, timeout_s=30):
    """Waits until `condition()` holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        expect(time.monotonic() < deadline, f"not within {timeout_s} s: {what}")
        time.sleep(0.1)


class Server:
    """One server over one data directory; may be killed and started again."""

    living = []

    def __init__(self, folder, name="data", settings=(), password=None):
        """`settings` are TIDEMARK__SECTION__KEY variables. Without a password local clients are trusted."""
        self.settings = dict(settings)
        self.password = password
        if password:
            self.settings["TIDEMARK_PASSWORD"] = password
        self.folder = pathlib.Path(folder)
        self.data_dir = self.folder / name
        self.port = None
        self.flight_port = None
        self.process = None
        self.starts = 0
        self.log = None

    def command(self, port, flight_port=None):
        return [
            binary(), "start",
            "--data-dir", str(self.data_dir),
            "--listen-sql", f"127.0.0.1:{port}",
            "--listen-http", f"127.0.0.1:{free_port()}",
            "--listen-flight", f"127.0.0.1:{flight_port or free_port()}",
            *([] if self.password else ["--trust-loopback"]),
        ]

    def launch(self):
        """Starts the process without waiting for it."""
        self.port, self.flight_port = free_port(), free_port()
        self.starts += 1
        self.log = self.folder / f"{self.data_dir.name}-{self.starts}.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                self.command(self.port, self.flight_port), stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                cwd=self.folder, env={**os.environ, "RUST_BACKTRACE": "1", **self.settings},
            )
        if self not in Server.living:
            Server.living.append(self)
        return self

    def start(self):
        self.launch()
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise Failure(f"the server ended with {self.process.returncode} at its start:\n{self.log_text()}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                probe = self.psql("SELECT 1", check=False)
                if probe.returncode == 0:
                    return self
            time.sleep(0.05)
        raise Failure(f"the server does not answer within {START_TIMEOUT_S} s")

    def kill(self):
        """SIGKILL: nothing is flushed, nothing is closed."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(STOP_TIMEOUT_S)

    def stop(self):
        """SIGTERM: a clean end, which must be quick and give 0."""
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failure(f"the server does not end within {STOP_TIMEOUT_S} s of SIGTERM") from None
        equal(code, 0, "exit status after SIGTERM")

    def end(self):
        """Whatever state it is in; for cleaning up."""
        if self.process and self.process.poll() is None:
            self.kill()

    def logs(self):
        """The logs of all its starts, oldest first."""
        return sorted(self.folder.glob(f"{self.data_dir.name}-*.log"), key=lambda log: int(log.stem.rsplit("-", 1)[1]))

    def log_text(self):
        return self.log.read_text(errors="replace") if self.log and self.log.exists() else ""

    def replayed_commits(self):
        """How many commits the last start says that it replayed."""
        text = re.sub(r"\x1b\[[0-9;]*m", "", self.log_text())
        found = re.search(r"replayed[^0-9\n]{0,20}(\d+)|(\d+) commits?[^0-9\n]{0,20}replayed", text, re.IGNORECASE)
        expect(found, f"start-up does not say how many commits it replayed:\n{text}")
        return int(found.group(1) or found.group(2))

    def environment(self):
        return {
            **os.environ, "PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": "tidemark",
            "PGDATABASE": "tidemark", "PGTZ": "UTC", "PGCONNECT_TIMEOUT": "10", "PGCLIENTENCODING": "UTF8",
            **({"PGPASSWORD": self.password} if self.password else {}),
        }

    def psql(self, sql=None, *, lines=None, arguments=(), check=True, timeout=120):
        """Runs psql with `sql` as one command, or with `lines` as its input (which may hold backslash commands)."""
        command = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", *arguments]
        if sql is not None:
            command += ["-c", sql]
        done = subprocess.run(
            command, input=lines, capture_output=True, text=True, timeout=timeout, env=self.environment(), check=False,
        )
        if check and done.returncode != 0:
            raise Failure(f"psql: {sql or lines}\n{done.stdout}{done.stderr}")
        return done

    def rows(self, sql, timeout=120):
        """A query's rows as lists of texts, NULL as None."""
        done = self.psql(sql, arguments=["-At", "-F", "\x1f", "-P", "null=\x1e"], timeout=timeout)
        lines = done.stdout.splitlines()
        return [[None if value == "\x1e" else value for value in line.split("\x1f")] for line in lines]

    def value(self, sql):
        return self.rows(sql)[0][0]

    def verify(self, view):
        """VERIFY must find nothing."""
        row = self.rows(f"VERIFY MATERIALIZED VIEW {view}")[0]
        equal((row[0], row[2], row[3]), (view, "verified", "0"), f"VERIFY MATERIALIZED VIEW {view}")
        return int(row[4])

    def resident_mib(self, what="VmRSS"):
        """What the machine sees of the process; VmHWM: at its most."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{what}:")) / 1024

    def address(self):
        """Connection string for psycopg."""
        password = f" password={self.password}" if self.password else ""
        return f"host=127.0.0.1 port={self.port} user=tidemark dbname=tidemark connect_timeout=10{password}"

    def flight_address(self):
        """URI for Arrow Flight's clients."""
        return f"grpc://127.0.0.1:{self.flight_port}"


def main(*checks):
    """Runs the checks (those named on the command line, or all), and ends with 1 if one failed."""
    wanted = sys.argv[1:]
    passed = failed = 0
    for check in checks:
        name = check.__name__
        if wanted and name not in wanted:
            continue
        folder = tempfile.mkdtemp(prefix=f"tidemark-{name}-")
        started = time.monotonic()
        try:
            check(folder)
            passed += 1
            print(f"ok      {name} ({time.monotonic() - started:.1f} s)", flush=True)
        except Exception as error:  # any failure of a check is a failed check, and the next one runs
            failed += 1
            text = str(error) if isinstance(error, Failure) else traceback.format_exc()
            print(f"FAILED  {name}: {text}", flush=True)
            for server in Server.living:
                for log in server.logs():
                    tail = "\n".join(log.read_text(errors="replace").splitlines()[-40:])
                    print(f"--- {log.name}\n{tail}", flush=True)
        finally:
            for server in Server.living:
                server.end()
            Server.living.clear()
            shutil.rmtree(folder, ignore_errors=True)
    print(f"{pathlib.Path(sys.argv[0]).name}: {passed} passed, {failed} failed", flush=True)
    sys.exit(1 if failed or not passed else 0)
