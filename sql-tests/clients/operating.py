"""What an operator does: looks into a data directory, checks and repairs it, backs it up, restores it, moves it to a new machine."""

import re
import subprocess
import threading

import psycopg

from harness import Server, binary, equal, eventually, expect, main


def tidemark(*arguments, status=0):
    done = subprocess.run([binary(), *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False)
    text = done.stdout + done.stderr
    equal(done.returncode, status, f"status of tidemark {' '.join(map(str, arguments))}:\n{text}")
    expect("panicked" not in text, text)
    return text


def prepared(folder, **options):
    server = Server(folder, **options).start()
    server.psql("CREATE TABLE readings (device text, n bigint)")
    server.psql("CREATE TABLE devices (name text PRIMARY KEY, load bigint)")
    server.psql("CREATE MATERIALIZED VIEW totals AS SELECT device, count(*) AS rows, sum(n) AS n FROM readings GROUP BY device")
    server.psql("INSERT INTO readings SELECT 'truck_' || (i % 5), i FROM generate_series(1, 1000) AS t(i)")
    server.psql("INSERT INTO devices VALUES ('truck_0', 1), ('truck_1', 2)")
    server.psql("FLUSH")
    server.psql("DELETE FROM readings WHERE n <= 100")
    server.psql("FLUSH")
    server.psql("INSERT INTO readings VALUES ('truck_9', 5000)")
    server.psql("UPDATE devices SET load = 7 WHERE name = 'truck_0'")
    return server


def inspect_and_check(folder):
    server = prepared(folder)
    directory = server.data_dir
    expect("a running server uses this directory" in tidemark("inspect", "wal", directory), "a directory in use is said")
    expect("in use" in tidemark("check", directory, status=1), "check refuses a directory in use")
    expect("in use" in tidemark("repair", directory, status=1), "repair refuses a directory in use")
    server.kill()
    text = tidemark("inspect", "wal", directory)
    expect(re.search(r"table \d+: \+1 -1", text), f"an update's row in and out: {text}")
    text = tidemark("inspect", "manifest", directory)
    expect("readings: cold up to commit" in text and "100 deleted rows" in text, text)
    text = tidemark("inspect", "catalog", directory)
    expect("materialized view totals" in text and "table with a primary key devices" in text, text)
    expect(text.count("n bigint") == 1, text)
    expect(tidemark("check", directory).strip().endswith("sound"), "sound")
    expect("nothing to repair" in tidemark("repair", "--dry-run", directory), "nothing to repair")
    expect("no directory" in tidemark("check", directory / "nowhere", status=1), "a directory that is not there")

    data = sorted((directory / "tier" / "data").glob("*/*.parquet"))[0]
    before = data.read_bytes()
    data.write_bytes(before[:200] + bytes([before[200] ^ 1]) + before[201:])
    text = tidemark("check", directory, status=2)
    expect(f"{data.parent.name}/{data.name}" in text and "offset 0" in text, text)
    expect("Restore the file from a copy" in tidemark("repair", "--dry-run", directory, status=2), "what only a copy heals")
    # Never served: every answer that needs the block is refused, and names the file.
    server.launch()
    eventually(lambda: server.process.poll() is not None or server.psql("SELECT 1", check=False).returncode == 0, "a start or its refusal")
    if server.process.poll() is None:
        refused = server.psql("SELECT sum(n), count(device) FROM readings", arguments=["-v", "VERBOSITY=verbose"], check=False)
        expect("XX001" in refused.stderr and data.name in refused.stderr, f"{refused.stdout}{refused.stderr}")
        server.kill()
    else:
        expect(data.name in server.log_text(), server.log_text())
    data.write_bytes(before)
    server.start()
    equal(server.rows("SELECT count(*) FROM readings"), [["901"]], "rows with the byte put back")
    server.stop()


def repair_of_a_log(folder):
    server = prepared(folder)
    for n in range(10):
        server.psql(f"INSERT INTO readings VALUES ('late', {n})")
    server.kill()
    directory = server.data_dir
    segment = sorted((directory / "wal").glob("*.log"))[-1]
    before = segment.read_bytes()
    segment.write_bytes(before[:-3])
    text = tidemark("repair", "--dry-run", directory)
    expect("cut wal/" in text and "nothing was changed" in text, text)
    equal(segment.read_bytes(), before[:-3], "a dry run changes nothing")
    tidemark("repair", directory)
    expect(tidemark("check", directory).strip().endswith("sound"), "sound after the repair")
    expect(len(segment.read_bytes()) < len(before) - 3, "the tail is cut")
    equal([file.read_bytes() for file in (directory / "set-aside").iterdir()], [before[:-3]], "what was cut is kept")
    # Damage with good records behind it.
    at = len(segment.read_bytes()) * 3 // 4
    damaged = bytearray(segment.read_bytes())
    damaged[at] ^= 1
    segment.write_bytes(damaged)
    expect("--cut-log-at-damage" in tidemark("repair", directory, status=2), "what the user must ask for")
    equal(segment.read_bytes(), bytes(damaged), "not done without being asked for")
    expect("are lost" in tidemark("repair", "--cut-log-at-damage", directory), "what it costs is said")
    expect(tidemark("check", directory).strip().endswith("sound"), "sound after the cut")
    server.start()
    rows = int(server.value("SELECT count(*) FROM readings"))
    expect(900 <= rows <= 911, f"{rows} rows")
    server.verify("totals")
    server.stop()


def backup_and_restore(folder):
    """While a writer keeps the sum of two tables the same in one transaction after the other."""
    server = prepared(folder)
    server.psql("CREATE TABLE a (n bigint); CREATE TABLE b (n bigint);")
    server.psql("INSERT INTO a VALUES (1000); INSERT INTO b VALUES (1000);")
    stop = threading.Event()
    failures = []

    def write():
        try:
            with psycopg.connect(server.address()) as connection:
                while not stop.is_set():
                    connection.execute("UPDATE a SET n = n - 1")
                    connection.execute("UPDATE b SET n = n + 1")
                    connection.commit()
        except psycopg.Error as error:
            failures.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        eventually(lambda: int(server.value("SELECT n FROM b")) > 1010, "the writer writes")
        server.psql(f"BACKUP TO '{folder}/backup'")
    finally:
        stop.set()
        writer.join(30)
    equal(failures, [], "errors of the writer")
    refused = server.psql(f"BACKUP TO '{folder}/backup'", check=False)
    expect("is not empty" in refused.stderr, refused.stderr)
    for bad in ("relative/path", "memory://", str(server.data_dir / "backup")):
        expect(server.psql(f"BACKUP TO '{bad}'", check=False).returncode != 0, f"a backup to {bad}")
    expected = server.rows("SELECT device, n FROM readings ORDER BY n")
    text = tidemark("restore", f"{folder}/backup", "--data-dir", f"{folder}/restored")
    expect("every digest equals" in text, text)
    tidemark("restore", f"{folder}/backup", "--data-dir", f"{folder}/restored", status=1)
    restored = Server(folder, name="restored").start()
    equal(restored.rows("SELECT device, n FROM readings ORDER BY n"), expected, "rows")
    equal(restored.rows("SELECT name, load FROM devices ORDER BY name"), [["truck_0", "7"], ["truck_1", "2"]], "rows by key")
    equal(restored.value("SELECT (SELECT n FROM a) + (SELECT n FROM b)"), "2000", "both tables at one commit")
    expect(int(restored.value("SELECT n FROM b")) > 1010, "not an old commit")
    restored.verify("totals")
    restored.psql("INSERT INTO readings VALUES ('new', 1)")
    restored.stop()
    server.stop()


def backup_with_a_watermark(folder):
    """Windows that were shown are shown after the restore, one that was open takes rows, and what was too late still is."""
    server = Server(folder).start()
    server.psql(
        "CREATE TABLE readings (time timestamptz, n bigint, WATERMARK FOR time AS time - INTERVAL '5 seconds') APPEND ONLY")
    server.psql(
        "CREATE MATERIALIZED VIEW windows AS SELECT time_bucket(INTERVAL '10 seconds', time) AS bucket, count(*) AS readings,"
        " sum(n) AS n FROM readings GROUP BY 1 EMIT ON WINDOW CLOSE")

    def insert(where, second, n):
        where.psql(f"INSERT INTO readings VALUES (TIMESTAMPTZ '2026-03-01 00:00+00' + INTERVAL '1 second' * {second}, {n})")

    def told(of):
        windows = of.rows("SELECT readings, n FROM windows ORDER BY bucket")
        watermark = of.value("SELECT watermark AT TIME ZONE 'UTC' FROM tidemark.watermarks")
        late = int(of.value("SELECT count(*) FROM tidemark.late_rows"))
        of.verify("windows")
        return windows, watermark, late

    for second, n in [(1, 1), (2, 2), (12, 4)]:
        insert(server, second, n)
    server.psql("FLUSH")
    for second, n in [(31, 8), (3, 16)]:
        insert(server, second, n)
    expected = ([["2", "3"], ["1", "4"]], "2026-03-01 00:00:26", 1)
    equal(told(server), expected, "before the backup")
    server.psql(f"BACKUP TO '{folder}/backup'")
    insert(server, 90, 32)
    server.stop()
    tidemark("restore", f"{folder}/backup", "--data-dir", f"{folder}/restored")
    restored = Server(folder, name="restored").start()
    equal(told(restored), expected, "after the restore")
    for second, n in [(4, 64), (25, 128)]:
        insert(restored, second, n)
    equal(told(restored), (*expected[:2], 2), "one more that is too late, and one that is not")
    insert(restored, 60, 256)
    windows = [*expected[0], ["1", "128"], ["1", "8"]]
    equal(told(restored), (windows, "2026-03-01 00:00:55", 2), "windows that the restored database closes")
    restored.stop()


def a_new_machine_takes_over(folder):
    store = {"TIDEMARK__OBJECT_STORE": f"{folder}/store", "TIDEMARK__TABLE__FLUSH_AGE_MS": "3600000"}
    old = prepared(folder, name="old", settings=store)
    new = Server(folder, name="new", settings=store).start()
    expect("took over" in new.log_text(), new.log_text())
    equal(new.value("SELECT count(*) FROM readings"), "900", "what was flushed")
    new.psql("INSERT INTO readings VALUES ('new', 1)")

    def refused():
        done = old.psql("INSERT INTO readings VALUES ('old', 1)", arguments=["-v", "VERBOSITY=verbose"], check=False)
        return "55006" in done.stderr

    eventually(refused, "the older server is fenced without a flush", 20)
    expect(int(old.value("SELECT count(*) FROM readings")) >= 901, "reads of the older go on")
    new.psql("FLUSH")
    old.kill()
    done = subprocess.run(old.command(0), capture_output=True, text=True, timeout=60, check=False, env={**old.environment(), **store})
    expect(done.returncode > 0 and "belongs to another data directory" in done.stdout + done.stderr, f"{done.stdout}{done.stderr}")
    equal(new.value("SELECT count(*) FROM readings"), "901", "rows of the newer")
    new.stop()


if __name__ == "__main__":
    main(inspect_and_check, repair_of_a_log, backup_and_restore, backup_with_a_watermark, a_new_machine_takes_over)
