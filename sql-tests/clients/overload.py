"""Three times what a server can take, for as long as wanted: what a writer waits is bounded, memory keeps to its limit, nothing that
was acknowledged is missing, and once the load is gone the server is as quick as before.

    python3 sql-tests/clients/overload.py --minutes 10 --limit-mib 512

First it measures how many rows a second writers get acknowledged that send the next batch when the last one is; then as many
writers as it takes offer three times that, each on a schedule of its own. What a writer is behind its schedule it does not send:
devices drop what they cannot deliver.
"""

import argparse
import random
import sys
import tempfile
import threading
import time

import psycopg

from harness import Failure, Server, equal, eventually, expect

VIEWS = {
    "by_device": "SELECT device, count(*) AS n, sum(value) AS total, min(value) AS low, max(value) AS high FROM readings GROUP BY device",
    "by_area": "SELECT d.area, count(*) AS n, avg(r.value) AS mean FROM readings r JOIN devices d ON r.device = d.name GROUP BY d.area",
    "last_seen": "SELECT device, last(value, seq) AS value FROM readings GROUP BY device",
}
DEVICES = 50_000
BATCH_ROWS = 2000
OVERLOAD = 3
#: Payloads are made before the clock starts, so that the clients' own work does not slow the load down.
PAYLOADS = 40


def payload(chance):
    lines = (f"{chance.randrange(DEVICES)}\t{chance.randrange(1 << 40)}\t{chance.random() * 100:.3f}\n" for _ in range(BATCH_ROWS))
    return "".join(lines).encode()


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else 0.0


class Load:
    """Writers over one server, for some seconds. `rows_a_second`: what all of them offer together; None: as much as is taken."""

    def __init__(self, server, payloads, writers, seconds, rows_a_second=None):
        self.server, self.payloads, self.writers = server, payloads, writers
        self.until = time.monotonic() + seconds
        self.period = None if rows_a_second is None else writers * BATCH_ROWS / rows_a_second
        self.waits, self.refused, self.skipped, self.failures = [], 0, 0, []

    def run(self):
        threads = [threading.Thread(target=self.guarded, args=(number,)) for number in range(self.writers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        expect(not self.failures, "; ".join(self.failures[:3]))
        return self

    @property
    def rows(self):
        return len(self.waits) * BATCH_ROWS

    def guarded(self, number):
        try:
            self.write(number)
        except Exception as error:  # any failure of a writer is the run's
            self.failures.append(repr(error))

    def write(self, number):
        with psycopg.connect(self.server.address(), autocommit=True) as connection, connection.cursor() as cursor:
            due = time.monotonic() + (self.period or 0) * number / self.writers
            sent = number
            while time.monotonic() < self.until:
                if self.period is not None:
                    time.sleep(max(0, min(due, self.until) - time.monotonic()))
                began = time.monotonic()
                try:
                    with cursor.copy("COPY readings (device, seq, value) FROM STDIN") as copy:
                        copy.write(self.payloads[sent % len(self.payloads)])
                    self.waits.append(time.monotonic() - began)
                except psycopg.errors.OutOfMemory:
                    self.refused += 1
                sent += 1
                if self.period is not None:
                    due += self.period
                    behind = int(max(0, time.monotonic() - due) / self.period)
                    self.skipped += behind
                    due += behind * self.period


def watch(server, over, samples):
    """What is resident, and what waits for the views."""
    with psycopg.connect(server.address(), autocommit=True) as connection:
        connection.execute("SET read_mode = 'snapshot'")
        while not over.is_set():
            lag = connection.execute("SELECT max(lag_commits) FROM tidemark.views").fetchone()[0]
            samples.append((server.resident_mib(), int(lag or 0)))
            over.wait(1)


def single_inserts(server, count=50):
    """Milliseconds of INSERTs of one row, one after the other: the median."""
    waits = []
    with psycopg.connect(server.address(), autocommit=True) as connection:
        for number in range(count):
            began = time.monotonic()
            connection.execute("INSERT INTO readings VALUES (1, %s, 1)", [number])
            waits.append(time.monotonic() - began)
    return percentile(waits, 0.5) * 1000


def overload(folder, options):
    patience_s = options.patience_ms / 1000
    server = Server(folder, settings={
        "TIDEMARK__MEMORY__LIMIT_BYTES": str(options.limit_mib << 20),
        "TIDEMARK__MEMORY__WRITE_TIMEOUT_MS": str(options.patience_ms),
    }).start()
    chance = random.Random(options.seed)
    payloads = [payload(chance) for _ in range(PAYLOADS)]
    try:
        server.psql("CREATE TABLE readings (device bigint, seq bigint, value double precision) APPEND ONLY")
        server.psql("CREATE TABLE devices (name bigint PRIMARY KEY, area text)")
        server.psql(f"INSERT INTO devices SELECT n, 'area_' || n % 20 FROM generate_series(0, {DEVICES - 1}) AS s(n)")
        for name, query in VIEWS.items():
            server.psql(f"CREATE MATERIALIZED VIEW {name} AS {query}")
        single_inserts(server)
        before_ms = single_inserts(server)
        measured = Load(server, payloads, 4, options.measure_s).run()
        sustainable = measured.rows / options.measure_s
        over, samples = threading.Event(), []
        watcher = threading.Thread(target=watch, args=(server, over, samples))
        watcher.start()
        load = Load(server, payloads, options.writers, options.minutes * 60, OVERLOAD * sustainable).run()
        ended = time.monotonic()
        over.set()
        watcher.join()
        equal(server.value("SELECT n FROM (SELECT sum(n) AS n FROM by_device) AS t"), server.value("SELECT count(*) FROM readings"), "rows in the view")
        caught_up_s = time.monotonic() - ended
        resident = max(resident for resident, _ in samples)
        print(
            f"{options.minutes} minutes, seed {options.seed}, {options.writers} writers: {sustainable:,.0f} rows/s are taken when writers wait for"
            f" each other, {OVERLOAD * sustainable:,.0f} offered; {load.rows / (options.minutes * 60):,.0f} rows/s acknowledged,"
            f" {load.refused} batches refused, {load.skipped} not sent; a batch waits {percentile(load.waits, 0.5):.2f} s in the median,"
            f" {percentile(load.waits, 0.99):.2f} s in 99 of 100, {max(load.waits):.2f} s at most; {resident:.0f} MiB resident at most,"
            f" lag {max(lag for _, lag in samples)} commits at most; caught up {caught_up_s:.1f} s after the last batch"
        )
        equal(server.value("SELECT count(*) FROM readings"), str(measured.rows + load.rows + 100), "rows that were acknowledged")
        # What is admitted is committed at once; what is not is told after its patience.
        expect(max(load.waits) < 2 * patience_s + 5, "a batch waited for longer than its bound")
        expect(resident <= options.limit_mib * 1.15, f"{resident:.0f} MiB resident, {options.limit_mib} allowed")
        expect(load.rows / (options.minutes * 60) > sustainable / 2, "under overload less than half of what can be taken is taken")
        after_ms = single_inserts(server)
        print(f"an INSERT takes {before_ms:.2f} ms before, {after_ms:.2f} ms after")
        for name in VIEWS:
            server.verify(name)
        equal(server.rows("SELECT name FROM tidemark.views WHERE status <> 'live'"), [], "views that stopped")
        eventually(lambda: single_inserts(server) < 5 * before_ms + 5, "INSERTs are as quick as before")
        server.stop()
    finally:
        server.end()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--minutes", type=float, default=10)
    arguments.add_argument("--measure-s", type=float, default=15)
    arguments.add_argument("--writers", type=int, default=16)
    arguments.add_argument("--limit-mib", type=int, default=512)
    arguments.add_argument("--patience-ms", type=int, default=10_000)
    arguments.add_argument("--seed", type=int, default=20261126)
    with tempfile.TemporaryDirectory(prefix="tidemark-overload-") as directory:
        try:
            overload(directory, arguments.parse_args())
            print("overload.py: passed")
        except Failure as error:
            print(f"FAILED  overload: {error}")
            sys.exit(1)
