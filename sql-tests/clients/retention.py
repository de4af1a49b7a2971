"""Rows that go after their table's or view's retention, by themselves and across kill -9: what views learned of them stays, also where
their state has to come back from a checkpoint.
"""

import subprocess

from harness import Server, binary, equal, eventually, expect, main

OLD, NEW = 20_000, 5_000


def filled(folder, expire_poll_ms):
    server = Server(folder, settings={"TIDEMARK__TABLE__EXPIRE_POLL_MS": str(expire_poll_ms)}).start()
    server.psql("CREATE TABLE readings (device text, value bigint, taken_at timestamptz) APPEND ONLY")
    server.psql("CREATE MATERIALIZED VIEW by_device AS SELECT device, count(*) AS n, sum(value) AS total, max(value) AS high FROM readings GROUP BY device")
    server.psql(f"INSERT INTO readings SELECT 'truck_' || n % 10, n, TIMESTAMPTZ '2020-01-01' + n * INTERVAL '1 second' FROM generate_series(1, {OLD}) AS s(n)")
    server.psql("FLUSH")
    server.psql(f"INSERT INTO readings SELECT 'truck_' || n % 10, -n, now() FROM generate_series(1, {NEW}) AS s(n)")
    return server


def rows(server):
    return int(server.value("SELECT count(*) FROM readings"))


def learned(server):
    """Of all rows that ever were."""
    total = OLD * (OLD + 1) // 2 - NEW * (NEW + 1) // 2
    equal(server.rows("SELECT sum(n), sum(total), max(high) FROM by_device"), [[str(OLD + NEW), str(total), str(OLD)]], "what the view learned")


def rows_go_by_themselves(folder):
    server = filled(folder, 200)
    equal(rows(server), OLD + NEW, "rows before there is a retention")
    server.psql("ALTER TABLE readings SET (retention = '30 days')")
    eventually(lambda: rows(server) == NEW, "the old rows go")
    learned(server)
    for _ in range(2):
        server.kill()
        server.start()
        equal(rows(server), NEW, "rows after a kill")
        learned(server)
    status = server.rows("VERIFY MATERIALIZED VIEW by_device")[0]
    expect(any("not verifiable" in (value or "") for value in status), f"VERIFY of a view whose rows expired says {status}")
    server.psql("INSERT INTO readings VALUES ('truck_0', 1, '2020-06-01')")
    eventually(lambda: rows(server) == NEW, "a row that comes late goes as well")
    equal(server.value("SELECT sum(n) FROM by_device"), str(OLD + NEW + 1), "rows that the view learned of")
    server.stop()
    check(server)


def killed_while_rows_expire(folder):
    """At whatever moment the server dies, the rows are there or gone, all of one commit, and the view knows them."""
    server = filled(folder, 10)
    server.psql("ALTER TABLE readings SET (retention = '30 days')")
    for _ in range(8):
        server.kill()
        server.start()
        expect(rows(server) in (NEW, OLD + NEW), f"{rows(server)} rows: a part of what expires in one commit")
        learned(server)
    eventually(lambda: rows(server) == NEW, "the old rows go")
    server.kill()
    server.start()
    learned(server)
    server.stop()
    check(server)


def a_view_that_is_made_later_never_saw_them(folder):
    server = filled(folder, 3_600_000)
    server.psql("ALTER TABLE readings SET (retention = '30 days')")
    equal(rows(server), OLD + NEW, "rows before anybody looks for old ones")
    server.psql("EXPIRE readings")
    equal(rows(server), NEW, "rows after EXPIRE")
    learned(server)
    server.psql("CREATE MATERIALIZED VIEW later AS SELECT count(*) AS n FROM readings")
    equal(server.value("SELECT n FROM later"), str(NEW), "rows of a view that was made later")
    server.verify("later")
    server.stop()
    check(server)


VIEWS = """
CREATE MATERIALIZED VIEW hourly AS SELECT device, date_trunc('hour', taken_at) AS hour, count(*) AS n, max(value) AS high,
    string_agg(device, '') AS names FROM readings GROUP BY 1, 2;
CREATE MATERIALIZED VIEW learned AS SELECT sum(n) AS n, max(high) AS high FROM hourly;
"""


def hours(server):
    return int(server.value("SELECT sum(n) FROM hourly"))


def a_view_forgets(folder):
    """At whatever moment the server dies, all old hours are there or gone, and the view above knows them; so it is of late rows."""
    server = filled(folder, 10)
    server.psql(lines=VIEWS)
    every = [[str(OLD + NEW), str(OLD)]]
    equal(hours(server), OLD + NEW, "rows before there is a retention")
    server.psql("ALTER MATERIALIZED VIEW hourly SET (retention = '30 days')")
    for _ in range(6):
        server.kill()
        server.start()
        expect(hours(server) in (NEW, OLD + NEW), f"{hours(server)} rows: a part of what expires in one commit")
        equal(server.rows("SELECT n, high FROM learned"), every, "what the view above learned")
    eventually(lambda: hours(server) == NEW, "the old hours go")
    for late in range(3):
        server.psql(f"INSERT INTO readings VALUES ('truck_0', 1000000, TIMESTAMPTZ '2020-01-01' + INTERVAL '{late} minutes')")
        server.psql("INSERT INTO readings VALUES ('truck_0', 0, now())")
        server.kill()
        server.start()
        equal(hours(server), NEW + late + 1, "rows with one that is not late")
        equal(server.rows("SELECT n, high FROM learned"), [[str(OLD + NEW + late + 1), str(OLD)]], "what the view above learned")
        server.verify("hourly")
        status = server.rows("VERIFY MATERIALIZED VIEW learned")[0]
        expect(any("not verifiable" in (value or "") for value in status), f"VERIFY of a view whose rows expired says {status}")
    equal(rows(server), OLD + NEW + 6, "rows of the table")
    server.stop()
    check(server)


def check(server):
    """What is on the disk is sound, looked at without a server."""
    done = subprocess.run([binary(), "check", str(server.data_dir)], capture_output=True, text=True)
    expect(done.returncode == 0 and "sound" in done.stdout, done.stdout + done.stderr)


if __name__ == "__main__":
    main(rows_go_by_themselves, killed_while_rows_expire, a_view_that_is_made_later_never_saw_them, a_view_forgets)
