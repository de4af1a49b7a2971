"""Tables and views are altered, widened, renamed and replaced while a writer goes on; every view stays what its query says, also after
kill -9."""

import threading
import time

import psycopg

from harness import Server, equal, eventually, expect, main

SCHEMA = """
CREATE TABLE readings (note text, device text, spare integer, temperature integer);
CREATE MATERIALIZED VIEW counts AS SELECT device, count(*) AS n, sum(temperature) AS total FROM readings GROUP BY device;
CREATE VIEW listed AS SELECT device, n FROM counts;
CREATE MATERIALIZED VIEW busy AS SELECT device, n FROM listed WHERE n > 20;
CREATE MATERIALIZED VIEW warm AS SELECT device, temperature FROM readings WHERE temperature > 50;
"""

CHANGES = [
    "ALTER TABLE readings DROP COLUMN note",
    "ALTER TABLE readings ADD COLUMN humidity integer DEFAULT 5",
    "CREATE OR REPLACE MATERIALIZED VIEW counts AS SELECT count(*) AS n, device FROM readings WHERE temperature > 10 GROUP BY device",
    "ALTER TABLE readings RENAME COLUMN spare TO rest",
    "ALTER MATERIALIZED VIEW warm RENAME TO hot",
    "ALTER TABLE readings DROP COLUMN rest, ADD COLUMN rest text",
    "ALTER TABLE readings ALTER COLUMN humidity SET DEFAULT 6",
    "ALTER TABLE readings ALTER COLUMN temperature TYPE bigint",
    "ALTER TABLE readings RENAME COLUMN humidity TO wet",
    "CREATE OR REPLACE MATERIALIZED VIEW hot AS SELECT device, temperature, wet FROM readings WHERE temperature > 40",
    "ALTER TABLE readings RENAME COLUMN wet TO humidity",
    "ALTER TABLE readings ALTER COLUMN humidity TYPE bigint",
]


class Writer(threading.Thread):
    """Inserts, updates and deletes by the names of columns that stay; counts what was acknowledged."""

    def __init__(self, server):
        super().__init__()
        self.connection = psycopg.connect(server.address(), autocommit=True)
        self.enough = threading.Event()
        self.commits = 0
        self.conflicts = 0
        self.error = None

    def run(self):
        try:
            while not self.enough.is_set():
                self.write(self.commits)
        except Exception as error:
            self.error = error

    def write(self, n):
        statements = [
            f"INSERT INTO readings (device, temperature) SELECT 'truck_' || value, {n % 100} FROM generate_series(1, 5) AS s(value)",
            f"UPDATE readings SET temperature = temperature + 1 WHERE device = 'truck_{n % 5 + 1}' AND temperature < 60",
            f"DELETE FROM readings WHERE device = 'truck_{n % 5 + 1}' AND temperature = {n % 60}",
        ]
        try:
            self.connection.execute(statements[n % 3])
            self.commits += 1
        except psycopg.errors.SerializationFailure:
            # The table was altered between the statement's planning and its commit.
            self.conflicts += 1


def under_a_writer(folder):
    server = Server(folder, settings={"TIDEMARK__TABLE__FLUSH_BYTES": "20000"}).start()
    server.psql(lines=SCHEMA)
    writer = Writer(server)
    writer.start()
    try:
        alter(server, writer)
    finally:
        writer.enough.set()
        writer.join()
    expect(writer.error is None, f"the writer: {writer.error}")
    rows = server.rows("SELECT sum(n) FROM counts")
    server.kill()
    server.start()
    equal(server.rows("SELECT sum(n) FROM counts"), rows, "rows of a view after kill -9")
    for view in ["counts", "busy", "hot"]:
        server.verify(view)
    print(f"{writer.commits} commits, {writer.conflicts} conflicts with {len(CHANGES)} changes of definitions")
    server.stop()


def alter(server, writer):
    with psycopg.connect(server.address(), autocommit=True) as definer:
        for change in CHANGES:
            target = writer.commits + 20
            definer.execute(change)
            eventually(lambda: writer.commits >= target or writer.error, "the writer goes on")
            for (view,) in definer.execute("SELECT name FROM tidemark.views").fetchall():
                _, _, status, differing, _ = definer.execute(f"VERIFY MATERIALIZED VIEW {view}").fetchone()
                equal((view, status, differing), (view, "verified", 0), f"after {change}")


def a_subscriber_is_told(folder):
    server = Server(folder).start()
    server.psql(lines=SCHEMA)
    with psycopg.connect(server.address(), autocommit=False) as reader:
        reader.execute("DECLARE changes CURSOR FOR SUBSCRIBE counts")
        server.psql(lines="INSERT INTO readings (device, temperature) VALUES ('truck_1', 1);")
        equal(len(reader.execute("FETCH ALL changes WITH (timeout = '10s')").fetchall()), 1, "changes before")
        server.psql(
            lines="CREATE OR REPLACE MATERIALIZED VIEW counts AS SELECT device, count(*) AS n FROM readings GROUP BY device;"
        )
        try:
            reader.execute("FETCH ALL changes WITH (timeout = '10s')")
        except psycopg.errors.ObjectNotInPrerequisiteState as error:
            expect("was replaced while it was subscribed to" in str(error), f"another error: {error}")
        else:
            expect(False, "the subscription goes on")
    server.stop()


def a_view_that_cannot_be_filled(folder):
    """A file of the table that the new query reads is damaged: the former view stays, with what reads it, and follows its table."""
    server = Server(folder).start()
    server.psql(lines=SCHEMA)
    server.psql(lines="CREATE TABLE trips (device text, km integer); INSERT INTO trips VALUES ('truck_1', 5); FLUSH;")
    file = next((server.data_dir / "tier" / "data").glob("*/*.parquet"))
    sound = file.read_bytes()
    file.write_bytes(sound[:8] + bytes([sound[8] ^ 1]) + sound[9:])
    server.psql(lines="INSERT INTO readings (device, temperature) SELECT 'truck_1', value FROM generate_series(1, 30) AS s(value);")
    replacement = "CREATE OR REPLACE MATERIALIZED VIEW counts AS SELECT device, count(*) AS n, sum(km) AS total FROM trips GROUP BY device"
    with psycopg.connect(server.address(), autocommit=True) as definer:
        for _ in range(2):
            try:
                definer.execute(replacement)
                expect(False, "a view was filled from a damaged file")
            except psycopg.errors.DataCorrupted:
                pass
            definer.execute("INSERT INTO readings (device, temperature) VALUES ('truck_1', 100)")
        equal(definer.execute("SELECT n, total FROM counts").fetchall(), [(32, 665)], "the former view")
        equal(definer.execute("SELECT n FROM busy").fetchall(), [(32,)], "what reads it")
        # The next view takes the id that the other one had.
        definer.execute("CREATE MATERIALIZED VIEW latest AS SELECT max(temperature) AS temperature FROM readings")
        equal(definer.execute("SELECT temperature FROM latest").fetchall(), [(100,)], "the next view")
    for view in ["counts", "busy", "latest"]:
        server.verify(view)
    server.kill()
    file.write_bytes(sound)
    server.start()
    equal(server.rows("SELECT n, total FROM counts"), [["32", "665"]], "the former view after kill -9")
    server.psql(lines=replacement + ";")
    equal(server.rows("SELECT device, n, total FROM counts"), [["truck_1", "1", "5"]], "the new view")
    for view in ["counts", "busy", "latest"]:
        server.verify(view)
    server.stop()


KILLS = 8
ROWS = 60_000


def killed_while_a_view_is_replaced(folder):
    """Whenever it happens, the name stands for the former view or for the new one, and what reads it with it."""
    server = Server(folder).start()
    server.psql(lines=SCHEMA)
    server.psql(
        lines="INSERT INTO readings (device, temperature) "
        f"SELECT 'truck_' || value % 1000, value % 50 FROM generate_series(1, {ROWS}) AS s(value);"
    )
    shapes = {True: "count(*) AS n, 1 AS total", False: "count(temperature) * 2 AS n, sum(temperature) AS total"}
    replaced, took_s = 0, 1.0
    for kill in range(KILLS):
        is_first = server.value("SELECT sum(n) FROM counts") == str(ROWS)
        statement = f"CREATE OR REPLACE MATERIALIZED VIEW counts AS SELECT device, {shapes[not is_first]} FROM readings GROUP BY device"
        definer = threading.Thread(target=server.psql, kwargs={"lines": statement + ";", "check": False})
        began = time.monotonic()
        definer.start()
        if kill == 0:
            definer.join()
            took_s = time.monotonic() - began
        else:
            time.sleep(took_s * kill / KILLS)
        server.kill()
        definer.join()
        server.start()
        total = int(server.value("SELECT sum(n) FROM counts"))
        expect(total in [ROWS, 2 * ROWS], f"kill {kill}: the view has {total}")
        replaced += (total == ROWS) != is_first
        for view in ["counts", "busy"]:
            server.verify(view)
    print(f"killed {KILLS} times, {replaced} times behind the commit; a replacement took {took_s:.2f} s")
    server.stop()


if __name__ == "__main__":
    main(under_a_writer, a_subscriber_is_told, a_view_that_cannot_be_filled, killed_while_a_view_is_replaced)
