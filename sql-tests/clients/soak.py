"""A server under a steady load for as long as wanted: rows at a fixed rate, twenty views, queries that are too large or are
cancelled, a hundred subscribers that do not read; in the middle a full disk and a store that takes nothing. Prints how memory
and lag went, and ends with every view verified and its digest.

    python3 sql-tests/clients/soak.py --minutes 30 --rate 2000 --limit-mib 512

Disk and store are small file systems in memory (tmpfs), which take root to mount; `--no-trouble` does without.
"""

import argparse
import contextlib
import random
import subprocess
import sys
import tempfile
import threading
import time

import psycopg

from disk_full import can_mount, fill, small_disk
from harness import Failure, Server, equal, eventually, expect

#: Each over the same readings, from cheap to costly.
VIEWS = [
    "SELECT device, count(*) AS n, sum(value) AS total FROM readings GROUP BY device",
    "SELECT device, min(value) AS low, max(value) AS high FROM readings GROUP BY device",
    "SELECT device, avg(value) AS mean FROM readings GROUP BY device HAVING count(*) > 10",
    "SELECT date_trunc('minute', taken_at) AS minute, count(*) AS n FROM readings GROUP BY 1",
    "SELECT device, date_trunc('minute', taken_at) AS minute, avg(value) AS mean FROM readings GROUP BY 1, 2",
    "SELECT d.area, count(*) AS n, sum(r.value) AS total FROM readings r JOIN devices d ON r.device = d.name GROUP BY d.area",
    "SELECT device, value, taken_at FROM readings WHERE value > 99",
    "SELECT DISTINCT device FROM readings",
    "SELECT count(*) AS n FROM readings",
    "SELECT d.name, d.area FROM devices d LEFT JOIN (SELECT DISTINCT device FROM readings) r ON r.device = d.name WHERE r.device IS NULL",
    "SELECT device, seq, value FROM (SELECT *, row_number() OVER (PARTITION BY device ORDER BY seq DESC) AS rank FROM readings) AS t WHERE rank <= 3",
    "SELECT area, count(*) AS devices FROM devices GROUP BY area",
]
VIEWS += [f"SELECT device, count(*) AS n FROM readings WHERE value > {bound} GROUP BY device" for bound in range(10, 90, 10)]
DEVICES = 500
AREAS = 12
#: Shares of the time at which trouble begins, and how long it lasts.
DISK_FULL_AT, STORE_AWAY_AT = 0.4, 0.6
TROUBLE_S = 10
#: What a writer may get while there is trouble.
TROUBLE_STATES = {"53100", "58030", "53200"}

#: What a user should not ask, and does.
HOSTILE = [
    "SELECT a.device, b.seq, count(*) FROM readings a, readings b GROUP BY 1, 2",
    "SELECT * FROM readings ORDER BY value, seq, device",
    "SELECT count(*) FROM generate_series(1, 200000000)",
    "SELECT device, array_agg(seq) FROM readings GROUP BY device",
    "SELECT 1 / 0",
    "SELECT no_such_column FROM readings",
]


class Soak:
    def __init__(self, server, options):
        self.server = server
        self.options = options
        self.until = time.monotonic() + options.minutes * 60
        self.rows = 0
        self.updates = 0
        self.troubles = {}
        self.cuts = {}
        self.failures = []
        self.samples = []
        self.refused = {}

    def over(self):
        return time.monotonic() >= self.until or bool(self.failures)

    def guarded(self, work):
        def run():
            try:
                work()
            except Exception as error:  # any failure of a thread is the soak's
                self.failures.append(f"{work.__name__}: {error!r}")
        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def connect(self):
        return psycopg.connect(self.server.address(), autocommit=True)

    def write(self):
        """A batch ten times a second; what the server cannot keep up with is not made up for. What it refuses because of
        trouble comes again."""
        chance = random.Random(self.options.seed)
        batch = max(1, self.options.rate // 10)
        with self.connect() as connection, connection.cursor() as cursor:
            due = time.monotonic()
            while not self.over():
                rows = [self.reading(chance, seq) for seq in range(self.rows, self.rows + batch)]
                if self.written(lambda: self.copy(cursor, rows)):
                    self.rows += batch
                device, area = f"truck_{chance.randrange(DEVICES)}", f"area_{chance.randrange(AREAS)}"
                if self.written(lambda: cursor.execute("UPDATE devices SET area = %s WHERE name = %s", (area, device))):
                    self.updates += 1
                due = max(due + 0.1, time.monotonic() - 1)
                time.sleep(max(0, due - time.monotonic()))

    def reading(self, chance, seq):
        late = chance.random() < 0.01
        minute = (seq // 60 + (0 if late else 1)) % 60
        taken_at = f"2026-01-01 {seq // 3600 % 24:02}:{minute:02}:{seq % 60:02}+00"
        return f"truck_{chance.randrange(DEVICES)}", seq, round(chance.uniform(0, 100), 3), taken_at

    def copy(self, cursor, rows):
        with cursor.copy("COPY readings (device, seq, value, taken_at) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)

    def written(self, statement):
        """Whether it was acknowledged, or will be there once the trouble has passed, as its error says; the others come again.
        What trouble is to blame for is counted."""
        try:
            statement()
            return True
        except psycopg.Error as error:
            if error.sqlstate not in TROUBLE_STATES or not self.options.trouble:
                raise
            self.troubles[error.sqlstate] = self.troubles.get(error.sqlstate, 0) + 1
            detail = error.diag.message_detail or ""
            expect("may still become durable" in detail or "othing of this write was kept" in detail, f"what became of it? {error}")
            return "may still become durable" in detail

    def trouble(self):
        """A disk without a byte left, and later a store that takes nothing; both pass."""
        began = time.monotonic()
        seconds = self.options.minutes * 60

        def wait_until(moment):
            while not self.over() and time.monotonic() < moment:
                time.sleep(0.1)

        wait_until(began + DISK_FULL_AT * seconds)
        # Queries and the log give room back, which is taken as well.
        until = time.monotonic() + TROUBLE_S
        ballast = fill(self.server.disk)
        while not self.over() and (time.monotonic() < until or not self.troubles):
            fill(self.server.disk)
            time.sleep(0.05)
        ballast.unlink()
        rows = self.rows
        eventually(lambda: self.rows > rows or self.over(), "rows are written once the disk has room again")
        wait_until(began + STORE_AWAY_AT * seconds)
        remount(self.server.store, "ro")
        wait_until(time.monotonic() + TROUBLE_S)
        remount(self.server.store, "rw")

    def ask(self):
        """Hostile queries one after the other, each cancelled by its own timeout at the latest."""
        chance = random.Random(self.options.seed + 1)
        with self.connect() as connection:
            connection.execute("SET statement_timeout = '3s'")
            while not self.over():
                with contextlib.suppress(psycopg.Error):
                    try:
                        connection.execute(chance.choice(HOSTILE)).fetchmany(10)
                    except psycopg.Error as error:
                        expect(error.sqlstate not in ("XX000", "58030"), f"a hostile query met a defect: {error}")
                        self.refused[error.sqlstate] = self.refused.get(error.sqlstate, 0) + 1
                        raise
                expect(not connection.closed, "a hostile query took the connection with it")

    def stall(self):
        """Subscribes, reads a row, and nothing more for long; then cancels, reads how it ended, and again."""
        while not self.over():
            ended = "by itself"
            try:
                with self.connect() as connection, connection.cursor() as cursor:
                    with cursor.copy("COPY (SUBSCRIBE view_4) TO STDOUT") as copy:
                        copy.read()
                        stalled = time.monotonic()
                        while not self.over() and time.monotonic() - stalled < 20:
                            time.sleep(0.2)
                        connection.cancel()
                        for _ in copy:
                            pass
            except psycopg.Error as error:
                ended = error.sqlstate or "without a state"
                expect(ended != "XX000", f"a subscriber met a defect: {error}")
            self.cuts[ended] = self.cuts.get(ended, 0) + 1
            time.sleep(0.1)

    def watch(self):
        """Memory and lag, once a second."""
        with self.connect() as connection:
            connection.execute("SET read_mode = 'snapshot'")
            started = time.monotonic()
            while not self.over():
                lag = connection.execute(
                    "SELECT max(lag_commits) FROM tidemark.views"
                ).fetchone()[0]
                self.samples.append((time.monotonic() - started, self.server.resident_mib(), int(lag or 0)))
                time.sleep(1)


def slope_per_minute(samples):
    """Least squares over the second half, when caches have filled."""
    half = samples[len(samples) // 2:]
    if len(half) < 2:
        return 0.0
    mean_x = sum(x for x, *_ in half) / len(half)
    mean_y = sum(y for _, y, _ in half) / len(half)
    spread = sum((x - mean_x) ** 2 for x, *_ in half)
    return 60 * sum((x - mean_x) * (y - mean_y) for x, y, _ in half) / spread if spread else 0.0


def remount(place, how):
    subprocess.run(["mount", "-o", f"remount,{how}", str(place)], check=True)


def soak(folder, options):
    server = Server(folder, settings={"TIDEMARK__MEMORY__LIMIT_BYTES": str(options.limit_mib << 20)})
    with contextlib.ExitStack() as disks:
        if options.trouble:
            server.disk = disks.enter_context(small_disk(folder, options.disk_mib, "disk"))
            server.store = disks.enter_context(small_disk(folder, options.disk_mib, "store"))
            server.data_dir = server.disk / "data"
            server.settings["TIDEMARK__OBJECT_STORE"] = str(server.store / "objects")
            server.settings["TIDEMARK__WAL__WRITE_TIMEOUT_MS"] = "2000"
        soaked(server, options)


def soaked(server, options):
    server.start()
    try:
        server.psql("CREATE TABLE readings (device text, seq bigint, value double precision, taken_at timestamptz) APPEND ONLY")
        server.psql("CREATE TABLE devices (name text PRIMARY KEY, area text)")
        server.psql(f"INSERT INTO devices SELECT 'truck_' || n, 'area_' || n % {AREAS} FROM generate_series(0, {DEVICES - 1}) AS t(n)")
        for number, query in enumerate(VIEWS):
            server.psql(f"CREATE MATERIALIZED VIEW view_{number} AS {query}")
        run = Soak(server, options)
        works = [run.write, run.ask, run.watch, *[run.stall] * options.subscribers]
        threads = [run.guarded(work) for work in works + [run.trouble] * options.trouble]
        for thread in threads:
            thread.join(options.minutes * 60 + 120)
            expect(not thread.is_alive(), "a thread of the soak does not end")
        expect(not run.failures, "; ".join(run.failures))
        memory, peak = [resident for _, resident, _ in run.samples], server.resident_mib("VmHWM")
        lag = sorted(lag for *_, lag in run.samples)
        print(
            f"{options.minutes} minutes, seed {options.seed}: {run.rows} rows, {len(VIEWS)} views;"
            f" resident {memory[0]:.0f} MiB at first, {peak:.0f} at most, {memory[-1]:.0f} at last,"
            f" {slope_per_minute(run.samples):+.1f} MiB a minute in the second half;"
            f" lag {lag[len(lag) // 2]} commits in the median, {lag[-1]} at most; hostile queries {dict(sorted(run.refused.items()))};"
            f" {options.subscribers} subscribers that stalled ended {dict(sorted(run.cuts.items()))}; writers were refused {run.troubles}"
        )
        # The disk may have been full to the end: what is kept in memory becomes durable within a second of its having room.
        eventually(lambda: server.value("SELECT count(*) FROM readings") == str(run.rows), f"{run.rows} rows that were acknowledged")
        if options.trouble:
            expect(run.troubles, "no writer met the full disk")
        expect(peak <= options.limit_mib * 1.15, f"{peak:.0f} MiB resident, {options.limit_mib} allowed")
        stopped = server.rows("SELECT name, status FROM tidemark.views WHERE status <> 'live'")
        equal(stopped, [], "views that stopped")
        for number in range(len(VIEWS)):
            rows = server.verify(f"view_{number}")
            print(f"view_{number}: verified, {rows} rows")
        server.kill()
        server.start()
        eventually(lambda: server.value("SELECT n FROM view_8") == str(run.rows), "the views after a kill")
        server.stop()
    finally:
        server.end()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--minutes", type=float, default=5)
    arguments.add_argument("--rate", type=int, default=500, help="rows a second")
    arguments.add_argument("--limit-mib", type=int, default=512)
    arguments.add_argument("--subscribers", type=int, default=100)
    arguments.add_argument("--disk-mib", type=int, default=2048, help="of the disk, and of the store")
    arguments.add_argument("--no-trouble", dest="trouble", action="store_false")
    arguments.add_argument("--seed", type=int, default=20261126)
    with tempfile.TemporaryDirectory(prefix="tidemark-soak-") as directory:
        options = arguments.parse_args()
        if options.trouble and not can_mount():
            print("!! NO TROUBLE: a tmpfs cannot be mounted here, so that neither a full disk nor a store that is away is tried")
            options.trouble = False
        try:
            soak(directory, options)
            print("soak.py: passed")
        except Failure as error:
            print(f"FAILED  soak: {error}")
            sys.exit(1)
