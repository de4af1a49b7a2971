"""Cold files from outside: that rows get there by themselves, that old ones are skipped, that the log is cut behind them."""

import re

from harness import Server, equal, eventually, expect, main

SMALL = {
    "TIDEMARK__WAL__SEGMENT_BYTES_MAX": "65536",
    "TIDEMARK__TABLE__FLUSH_BYTES": "200000",
    "TIDEMARK__TABLE__FLUSH_AGE_MS": "3600000",
    "TIDEMARK__TABLE__FLUSH_POLL_MS": "100",
}


def parquet_files(server):
    return sorted((server.data_dir / "tier").rglob("*.parquet"))


def wal_bytes(server):
    return sum(path.stat().st_size for path in (server.data_dir / "wal").glob("*.log"))


def copy_day(server, day, rows=500):
    """A day of readings, one every two minutes."""
    lines = "".join(f"truck_{n % 5},2026-01-{day:02} {n // 30 % 24:02}:{n * 2 % 60:02}:00,{n}\n" for n in range(rows))
    server.psql(lines=f"\\copy readings FROM stdin WITH (FORMAT csv)\n{lines}\\.\n")


def prepared(folder, settings=()):
    server = Server(folder, settings=settings).start()
    server.psql("CREATE TABLE readings (device text, ts timestamp, temperature double precision)")
    server.psql("CREATE MATERIALIZED VIEW total AS SELECT count(*) AS n, sum(temperature) AS t FROM readings")
    return server


def files_are_pruned(folder):
    """EXPLAIN ANALYZE of a query for one day says that the files of the other days were not read."""
    server = prepared(folder)
    for day in range(1, 7):
        copy_day(server, day)
        server.psql("FLUSH")
    expect(len(parquet_files(server)) >= 6, f"files: {parquet_files(server)}")
    sql = "SELECT count(*) FROM readings WHERE ts >= '2026-01-06' AND ts < '2026-01-07'"
    equal(server.value(sql), "500", "rows of the last day")
    text = "\n".join(row[0] for row in server.rows(f"EXPLAIN ANALYZE {sql}"))
    pruned = re.findall(r"(\w*pruned\w*)=([^,\]]*)", text)
    expect(any(re.search(r"[1-9]", value) for _, value in pruned), f"nothing was pruned:\n{text}")
    server.stop()


def size_makes_rows_cold(folder):
    """A memtable over its size is flushed without being asked; nothing changes for a reader."""
    server = prepared(folder, SMALL)
    for day in range(1, 13):
        copy_day(server, day, rows=2000)
    eventually(lambda: parquet_files(server), "a cold file after 24000 rows")
    equal(server.rows("SELECT count(*), sum(temperature) FROM readings"), server.rows("SELECT * FROM total"), "totals")
    server.verify("total")
    server.stop()


def age_makes_rows_cold(folder):
    server = prepared(folder, {**SMALL, "TIDEMARK__TABLE__FLUSH_AGE_MS": "500"})
    copy_day(server, 1, rows=10)
    eventually(lambda: parquet_files(server), "a cold file after half a second")
    equal(server.value("SELECT n FROM total"), "10", "the view")
    server.stop()


def log_is_cut(folder):
    """Behind a flush of everything the log is short, and a start has little to replay."""
    server = prepared(folder, SMALL)
    for day in range(1, 11):
        copy_day(server, day)
    before = wal_bytes(server)
    server.psql("FLUSH")
    eventually(lambda: wal_bytes(server) < min(before, 150_000), f"a log shorter than {before} bytes")
    server.kill()
    server.start()
    equal(server.rows("SELECT n FROM total"), [["5000"]], "the view after a start")
    equal(server.rows("SELECT count(*) FROM readings"), [["5000"]], "rows after a start")
    server.verify("total")
    server.stop()


def dropped_files_go(folder):
    """The files of a dropped table are gone after the next start at the latest."""
    server = prepared(folder)
    copy_day(server, 1)
    server.psql("FLUSH")
    expect(parquet_files(server), "no cold file after FLUSH")
    server.psql("DROP MATERIALIZED VIEW total")
    server.psql("DROP TABLE readings")
    server.psql("FLUSH")
    server.stop()
    server.start()
    eventually(lambda: not parquet_files(server), "no cold file after DROP TABLE and a start")
    server.stop()


def killed_at_any_time(folder):
    """Killed again and again while rows come and go cold: every acknowledged row is there once."""
    server = prepared(folder, {**SMALL, "TIDEMARK__TABLE__FLUSH_BYTES": "20000"})
    for day in range(1, 9):
        copy_day(server, day, rows=1000)
        server.psql(f"DELETE FROM readings WHERE ts < '2026-01-{day:02} 06:00:00' AND ts >= '2026-01-{day:02}'")
        server.kill()
        server.start()
        rows = server.rows("SELECT count(*), sum(temperature) FROM readings")
        equal(rows, server.rows("SELECT n, t FROM total"), f"the view after day {day}")
        kept = [n for n in range(1000) if n // 30 % 24 >= 6]
        equal(rows, [[str(day * len(kept)), str(day * sum(kept))]], f"rows after day {day}")
    server.verify("total")
    server.stop()


if __name__ == "__main__":
    main(files_are_pruned, size_makes_rows_cold, age_makes_rows_cold, log_is_cut, dropped_files_go, killed_at_any_time)
