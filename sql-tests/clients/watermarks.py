"""Windows that are shown once, against bookkeeping of our own: writers at once, rows of every lateness, columns that come and go, kills
without a flush, flushes and checkpoints between; and windows that the clock closes where no row comes any more."""

import random
import threading
import time
from collections import defaultdict

import psycopg

from harness import Server, equal, eventually, main

SEED = 20261126
SCHEMA = """
CREATE TABLE readings (time timestamptz NOT NULL, device int, n bigint, WATERMARK FOR time AS time - INTERVAL '5 seconds') APPEND ONLY;
CREATE MATERIALIZED VIEW minutes AS SELECT time_bucket(INTERVAL '10 seconds', time) AS bucket, device, count(*) AS readings, sum(n) AS n,
    string_agg(n::text, ',' ORDER BY n) AS texts FROM readings GROUP BY 1, 2 EMIT ON WINDOW CLOSE;
CREATE MATERIALIZED VIEW above AS SELECT device, sum(n) AS n, count(*) AS windows FROM minutes GROUP BY device;
"""
# Seconds since 2026-03-01 00:00 UTC.
MOMENT = "TIMESTAMPTZ '2026-03-01 00:00+00' + INTERVAL '1 second' * {}"


def typed(server, sql):
    with psycopg.connect(server.address(), autocommit=True) as connection:
        return connection.execute(sql).fetchall()


def check(server, sent):
    """Everything sent is in the table; what was on time and what was late add up; every window is whole, or of late rows alone."""
    rows = typed(server, "SELECT device, n FROM readings")
    equal(sorted(rows), sorted((device, n) for (_, device, n) in sent), "rows of the table")
    late = typed(server, "SELECT input, rows FROM tidemark.late_rows WHERE view = 'minutes'")
    late_ns = [int(text.split("n=")[1].split(",")[0]) for (text, _) in late]
    for view in ["minutes", "above"]:
        server.verify(view)
    ((accepted, late_count),) = typed(server, "SELECT accepted_rows, late_rows FROM tidemark.views WHERE name = 'minutes'")
    equal(accepted + late_count, len(sent), "rows on time and rows too late")
    equal(late_count, len(late_ns), "late rows that are kept")
    newest = max(second for (second, _, _) in sent)
    expected = defaultdict(lambda: [0, 0])
    for second, device, n in sent:
        # Those of one write are measured by the watermark from before it, so that the last windows may be either way.
        if n not in late_ns and second // 10 * 10 + 10 <= newest - 5:
            window = expected[(second // 10 * 10, device)]
            window[0] += 1
            window[1] += n
    shown = typed(server, 
        "SELECT extract(epoch FROM bucket - TIMESTAMPTZ '2026-03-01 00:00+00')::bigint, device, readings, n::bigint FROM minutes"
    )
    equal(
        sorted(shown),
        sorted((second, device, count, total) for ((second, device), (count, total)) in expected.items()),
        "windows that are shown",
    )
    return late_count


ALTERS = [
    "ADD COLUMN IF NOT EXISTS note text",
    "DROP COLUMN IF EXISTS note",
    "ADD COLUMN IF NOT EXISTS level int DEFAULT 7",
    "DROP COLUMN IF EXISTS level",
]


def insert(connection, sql):
    """While a table is altered, its writers are asked to try again."""
    while True:
        try:
            return connection.execute(sql)
        except psycopg.errors.SerializationFailure:
            pass


def windows_are_shown_once_whatever_happens(folder):
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    server = Server(folder, settings={"TIDEMARK__CHECKPOINT__INTERVAL_MS": "300"}).start()
    server.psql(lines=SCHEMA)
    sent, clock, number = [], 100, 0
    for life in range(4):
        for _ in range(3):
            batches = []
            for writer in range(3):
                rows = []
                for _ in range(rng.randrange(1, 20)):
                    clock += rng.random() * 0.7
                    lateness = rng.choice([0, 0, 0, 2, 4, 12, 40])
                    number += 1
                    rows.append((int(clock - lateness), rng.randrange(4), number))
                batches.append(rows)

            def write(rows):
                with psycopg.connect(server.address(), autocommit=True) as connection:
                    for start in range(0, len(rows), 5):
                        values = ", ".join(f"({MOMENT.format(second)}, {device}, {n})" for (second, device, n) in rows[start : start + 5])
                        insert(connection, f"INSERT INTO readings (time, device, n) VALUES {values}")

            threads = [threading.Thread(target=write, args=(rows,)) for rows in batches]
            [thread.start() for thread in threads]
            # The column that rows are marked in is the last one, whatever comes and goes before it.
            server.psql(f"ALTER TABLE readings {rng.choice(ALTERS)}")
            [thread.join() for thread in threads]
            sent += [row for rows in batches for row in rows]
        if life == 1:
            server.psql(lines="FLUSH;")
        check(server, sent)
        time.sleep(0.5)
        server.kill()
        server.start()
        late = check(server, sent)
    if late == 0:
        raise SystemExit("no row was late: nothing was tried")
    # Made again from the table, it leaves out the same rows.
    before = sorted(typed(server, "SELECT * FROM minutes"))
    server.psql(lines="DROP MATERIALIZED VIEW above; DROP MATERIALIZED VIEW minutes;\n" + SCHEMA.split(";\n", 1)[1])
    equal(sorted(typed(server, "SELECT * FROM minutes")), before, "windows of a view that is made again")
    equal(check(server, sent), late, "late rows of a view that is made again")
    server.stop()


def the_clock_closes_windows_of_an_idle_table(folder):
    server = Server(folder, settings={"TIDEMARK__DATAFLOW__TICK_MS": "200"}).start()
    server.psql(
        lines="""
CREATE TABLE readings (time timestamptz NOT NULL, WATERMARK FOR time AS time) APPEND ONLY WITH (watermark_idle = '1 second');
CREATE MATERIALIZED VIEW seconds AS SELECT date_trunc('second', time) AS second, count(*) AS n FROM readings GROUP BY 1 EMIT ON WINDOW CLOSE;
INSERT INTO readings VALUES (now());
"""
    )
    eventually(lambda: typed(server, "SELECT n FROM seconds") == [(1,)], "the window is closed by the clock")
    server.verify("seconds")
    server.kill()
    server.start()
    equal(typed(server, "SELECT n FROM seconds"), [(1,)], "windows after a kill")
    # From a minute ago: the watermark has followed the clock, also over the kill.
    server.psql(lines="INSERT INTO readings VALUES (now() - INTERVAL '1 minute');")
    equal(typed(server, "SELECT rows FROM tidemark.late_rows"), [(1,)], "late rows")
    server.verify("seconds")
    server.stop()


if __name__ == "__main__":
    main(windows_are_shown_once_whatever_happens, the_clock_closes_windows_of_an_idle_table)
