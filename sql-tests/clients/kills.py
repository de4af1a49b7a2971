"""SIGKILL at random moments under mixed writes, and what is there afterwards.

    kills.py [ROUNDS] [SEED]      30 rounds and a seed of the clock unless said

Several connections write at once: INSERT, UPDATE, DELETE, COPY, upserts, transactions that commit or roll back, and
transfers between accounts that all of them share. Every writer keeps book of its own rows in dictionaries, which share
nothing with the server: after each acknowledgment it knows exactly what must be there. Of a statement under way when the
server dies it knows two states, one of which must be there, whole. Rows go cold all the time. After every death the server
is started again and everything is compared; at the end the files are read by `tidemark check` as well.
"""

import collections
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import psycopg

from harness import Failure, Server, binary, equal, expect

WRITERS = 5
ACCOUNTS = 20
BALANCE = 1000
LIVE_S = (0.1, 1.2)

SCHEMA = f"""
CREATE TABLE readings (writer integer NOT NULL, n bigint NOT NULL, value bigint, note text);
CREATE TABLE devices (name text PRIMARY KEY, writer integer NOT NULL, load bigint);
CREATE TABLE events (writer integer NOT NULL, n bigint NOT NULL) APPEND ONLY;
CREATE TABLE accounts (id integer PRIMARY KEY, balance bigint NOT NULL);
INSERT INTO accounts SELECT i, {BALANCE} FROM generate_series(1, {ACCOUNTS}) AS t(i);
CREATE MATERIALIZED VIEW per_writer AS
    SELECT writer, count(*) AS rows, sum(value) AS total FROM readings GROUP BY writer;
CREATE MATERIALIZED VIEW loads AS SELECT writer, sum(load) AS load, count(*) AS devices FROM devices GROUP BY writer;
CREATE MATERIALIZED VIEW wealth AS SELECT sum(balance) AS total, count(*) AS accounts FROM accounts;
"""

# Small, so that rows go cold, files are many, and segments of the log come and go.
SETTINGS = {
    "TIDEMARK__TABLE__FLUSH_BYTES": "30000",
    "TIDEMARK__TABLE__FLUSH_AGE_MS": "250",
    "TIDEMARK__TABLE__FLUSH_POLL_MS": "40",
    "TIDEMARK__WAL__SEGMENT_BYTES_MAX": "200000",
    # After a start keys are found in files.
    "TIDEMARK__TABLE__KEYED_RESTORE_BYTES": "0",
}


class State:
    """One writer's rows."""

    def __init__(self):
        self.readings = {}  # n -> (value, note)
        self.devices = {}  # name -> load
        self.events = set()  # n

    def copy(self):
        other = State()
        other.readings, other.devices, other.events = dict(self.readings), dict(self.devices), set(self.events)
        return other

    def __eq__(self, other):
        return (self.readings, self.devices, self.events) == (other.readings, other.devices, other.events)


class Writer:
    """Writes until its connection breaks. `sure` is what was acknowledged; `maybe` what a commit under way would make."""

    def __init__(self, number, seed):
        self.number = number
        self.random = random.Random(seed)
        self.next = 1
        self.sure = State()
        self.maybe = None
        self.counts = collections.Counter()
        self.failure = None

    def fresh(self, count):
        first, self.next = self.next, self.next + count
        return range(first, first + count)

    def run(self, address):
        try:
            with psycopg.connect(address, autocommit=True) as connection:
                while True:
                    self.step(connection)
        except psycopg.OperationalError:
            self.counts["cut off"] += 1
        except Exception as error:  # anything else is a finding, told by the main thread
            self.failure = error

    def step(self, connection):
        operations = [self.insert, self.update, self.delete, self.copy, self.upsert, self.remove, self.event,
                      self.transaction, self.rolled_back, self.transfer]
        operation = self.random.choice(operations)
        operation(connection)
        self.counts[operation.__name__] += 1

    def write(self, after, act):
        """One atomic write: until it is acknowledged, either state may be found."""
        self.maybe = after
        act()
        self.sure, self.maybe = after, None

    def insert(self, connection):
        after = self.sure.copy()
        rows = [(self.number, n, self.random.randrange(1000), self.random.choice([None, "a", "näß", "x" * 200]))
                for n in self.fresh(self.random.choice([1, 1, 3, 40]))]
        after.readings.update({n: (value, note) for _, n, value, note in rows})
        values = ", ".join(["(%s, %s, %s, %s)"] * len(rows))
        flat = [value for row in rows for value in row]
        self.write(after, lambda: connection.execute(f"INSERT INTO readings VALUES {values}", flat))

    def some(self):
        if not self.sure.readings:
            return 0, -1
        low = self.random.choice(list(self.sure.readings))
        return low, low + self.random.choice([0, 2, 20])

    def update(self, connection):
        low, high = self.some()
        after = self.sure.copy()
        for n, (value, note) in self.sure.readings.items():
            if low <= n <= high:
                after.readings[n] = (value + 1, note)
        self.write(after, lambda: connection.execute(
            "UPDATE readings SET value = value + 1 WHERE writer = %s AND n BETWEEN %s AND %s", [self.number, low, high]))

    def delete(self, connection):
        low, high = self.some()
        after = self.sure.copy()
        after.readings = {n: row for n, row in after.readings.items() if not low <= n <= high}
        self.write(after, lambda: connection.execute(
            "DELETE FROM readings WHERE writer = %s AND n BETWEEN %s AND %s", [self.number, low, high]))

    def copy(self, connection):
        after = self.sure.copy()
        rows = [(self.number, n, self.random.randrange(1000), None) for n in self.fresh(self.random.choice([10, 300]))]
        after.readings.update({n: (value, note) for _, n, value, note in rows})

        def act():
            with connection.cursor() as cursor, cursor.copy("COPY readings FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)

        self.write(after, act)

    def name(self):
        return f"writer_{self.number}_{self.random.randrange(30)}"

    def upsert(self, connection):
        name, load, after = self.name(), self.random.randrange(100), self.sure.copy()
        after.devices[name] = after.devices.get(name, 0) + load
        self.write(after, lambda: connection.execute(
            "INSERT INTO devices VALUES (%s, %s, %s) ON CONFLICT (name) DO UPDATE SET load = devices.load + excluded.load",
            [name, self.number, load]))

    def remove(self, connection):
        name, after = self.name(), self.sure.copy()
        after.devices.pop(name, None)
        self.write(after, lambda: connection.execute("DELETE FROM devices WHERE name = %s", [name]))

    def event(self, connection):
        after = self.sure.copy()
        numbers = list(self.fresh(2))
        after.events.update(numbers)
        self.write(after, lambda: connection.execute(
            "INSERT INTO events VALUES (%s, %s), (%s, %s)", [self.number, numbers[0], self.number, numbers[1]]))

    def statements(self, connection, after):
        """Three tables in one transaction."""
        for n in self.fresh(3):
            value = self.random.randrange(1000)
            connection.execute("INSERT INTO readings VALUES (%s, %s, %s, NULL)", [self.number, n, value])
            after.readings[n] = (value, None)
        (n,) = self.fresh(1)
        connection.execute("INSERT INTO events VALUES (%s, %s)", [self.number, n])
        after.events.add(n)
        connection.execute("UPDATE devices SET load = load + 7 WHERE writer = %s", [self.number])
        after.devices = {name: load + 7 for name, load in after.devices.items()}

    def transaction(self, connection):
        after = self.sure.copy()
        connection.execute("BEGIN")
        # Killed before COMMIT nothing of it may be there: `maybe` is not set yet.
        self.statements(connection, after)
        self.write(after, lambda: connection.execute("COMMIT"))

    def rolled_back(self, connection):
        connection.execute("BEGIN")
        self.statements(connection, self.sure.copy())
        connection.execute("ROLLBACK")

    def transfer(self, connection):
        """Shared by all: the sum never changes, whoever dies when."""
        one, other = self.random.sample(range(1, ACCOUNTS + 1), 2)
        try:
            connection.execute("BEGIN")
            connection.execute("UPDATE accounts SET balance = balance - 5 WHERE id = %s", [one])
            connection.execute("UPDATE accounts SET balance = balance + 5 WHERE id = %s", [other])
            connection.execute("COMMIT")
        except psycopg.errors.SerializationFailure:
            self.counts["serialization failures"] += 1
            connection.execute("ROLLBACK")


def found_states(server):
    """What is in the tables, by writer."""
    states = collections.defaultdict(State)
    with psycopg.connect(server.address(), autocommit=True) as connection:
        for writer, n, value, note in connection.execute("SELECT writer, n, value, note FROM readings"):
            expect(n not in states[writer].readings, f"reading {n} of writer {writer} is there twice")
            states[writer].readings[n] = (value, note)
        for name, writer, load in connection.execute("SELECT name, writer, load FROM devices"):
            expect(name not in states[writer].devices, f"device {name} is there twice")
            states[writer].devices[name] = load
        for writer, n in connection.execute("SELECT writer, n FROM events"):
            expect(n not in states[writer].events, f"event {n} of writer {writer} is there twice")
            states[writer].events.add(n)
        total, accounts = connection.execute("SELECT sum(balance), count(*) FROM accounts").fetchone()
        equal((int(total), accounts), (ACCOUNTS * BALANCE, ACCOUNTS), "sum and number of accounts")
        views = {
            "per_writer": dict((w, (r, t)) for w, r, t in connection.execute("SELECT writer, rows, total FROM per_writer")),
            "loads": dict((w, (d, t)) for w, t, d in connection.execute("SELECT writer, load, devices FROM loads")),
            "wealth": connection.execute("SELECT total, accounts FROM wealth").fetchall(),
        }
    return states, views


def difference(found, expected):
    """A few words on how two states differ."""
    parts = []
    for what in ("readings", "devices"):
        have, want = getattr(found, what), getattr(expected, what)
        missing = [key for key in want if key not in have]
        extra = [key for key in have if key not in want]
        other = [(key, have[key], want[key]) for key in want if key in have and have[key] != want[key]]
        parts.append(f"{what}: missing {missing[:5]} ({len(missing)}), extra {extra[:5]} ({len(extra)}), other {other[:3]} ({len(other)})")
    parts.append(f"events: missing {len(expected.events - found.events)}, extra {len(found.events - expected.events)}")
    return "; ".join(parts)


def compare(server, writers, counts):
    states, views = found_states(server)
    for writer in writers:
        found = states[writer.number]
        if writer.maybe is not None and found == writer.maybe:
            counts["under way, there"] += 1
            writer.sure = writer.maybe
        elif found == writer.sure:
            counts["under way, not there"] += writer.maybe is not None
        else:
            near = f" (or: {difference(found, writer.maybe)})" if writer.maybe is not None else ""
            raise Failure(f"writer {writer.number}: {difference(found, writer.sure)}{near}")
        writer.maybe = None
        rows = list(writer.sure.readings.values())
        expected = (len(rows), sum(value for value, _ in rows)) if rows else None
        actual = views["per_writer"].get(writer.number)
        equal(actual and (actual[0], int(actual[1])), expected, f"view per_writer of writer {writer.number}")
        loads = writer.sure.devices.values()
        expected = (len(loads), sum(loads)) if loads else None
        actual = views["loads"].get(writer.number)
        equal(actual and (actual[0], int(actual[1])), expected, f"view loads of writer {writer.number}")
    equal([(int(total), accounts) for total, accounts in views["wealth"]], [(ACCOUNTS * BALANCE, ACCOUNTS)], "view wealth")


def check_files(server):
    done = subprocess.run([binary(), "check", str(server.data_dir)], capture_output=True, text=True, timeout=120, check=False)
    expect(done.returncode == 0, f"tidemark check: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout.strip().splitlines()[-1]


def rounds(folder, count, seed):
    chance = random.Random(seed)
    server = Server(folder, settings=SETTINGS).start()
    server.psql(SCHEMA)
    writers = [Writer(number, chance.random()) for number in range(WRITERS)]
    counts = collections.Counter()
    for turn in range(count):
        threads = [threading.Thread(target=writer.run, args=[server.address()], daemon=True) for writer in writers]
        for thread in threads:
            thread.start()
        time.sleep(chance.uniform(*LIVE_S))
        server.kill()
        for thread in threads:
            thread.join(30)
            expect(not thread.is_alive(), "a writer hangs although the server is dead")
        for writer in writers:
            if writer.failure is not None:
                raise Failure(f"round {turn}: writer {writer.number}: {writer.failure!r}")
        if chance.random() < 0.2:
            # Dies again while it starts.
            server.launch()
            time.sleep(chance.uniform(0.0, 0.4))
            server.kill()
        server.start()
        try:
            compare(server, writers, counts)
        except Failure as failure:
            raise Failure(f"round {turn} of seed {seed}: {failure}") from None
    for view in ("per_writer", "loads", "wealth"):
        server.verify(view)
    # Once more from files alone.
    server.stop()
    files = check_files(server)
    server.start()
    compare(server, writers, counts)
    server.stop()
    for writer in writers:
        counts.update(writer.counts)
    print(", ".join(f"{what}: {number}" for what, number in sorted(counts.items())))
    print(files)


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else time.time_ns() % 1_000_000
    print(f"{count} rounds, seed {seed}", flush=True)
    folder = tempfile.mkdtemp(prefix="tidemark-kills-")
    started = time.monotonic()
    code = 1
    try:
        rounds(folder, count, seed)
        print(f"ok      {count} kills ({time.monotonic() - started:.1f} s)", flush=True)
        code = 0
        shutil.rmtree(folder, ignore_errors=True)
    except Failure as failure:
        print(f"FAILED  {failure}\nthe files are kept in {folder}", flush=True)
        for server in Server.living:
            print("\n".join(server.log_text().splitlines()[-40:]), flush=True)
    finally:
        for server in Server.living:
            server.end()
    sys.exit(code)


if __name__ == "__main__":
    main()
