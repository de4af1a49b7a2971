"""Starts that must be refused, and starts that must succeed and say what they dropped."""

import re
import signal
import socket
import subprocess
import zlib

from harness import Server, binary, equal, eventually, expect, free_port, main


def prepared(folder, rows=3):
    """A server that holds some acknowledged single-row commits."""
    server = Server(folder).start()
    server.psql("CREATE TABLE readings (n integer)")
    server.psql("CREATE MATERIALIZED VIEW total AS SELECT sum(n) AS n, count(*) AS rows FROM readings")
    for n in range(rows):
        server.psql(f"INSERT INTO readings VALUES ({n})")
    return server


def refused_start(server, *words):
    """Starts a second process over the same directory, which must end by itself and say why."""
    second = subprocess.run(server.command(free_port()), capture_output=True, text=True, timeout=60, check=False)
    text = second.stdout + second.stderr
    expect(second.returncode not in (0, None) and second.returncode > 0, f"status {second.returncode}: {text}")
    for word in words:
        expect(word in text, f"{word!r} is not in: {text}")
    expect("panicked" not in text, text)
    return text


def newest_segment(server):
    segments = sorted((server.data_dir / "wal").glob("*.log"))
    expect(segments, "no WAL segment")
    return segments[-1]


def data_directory_in_use(folder):
    server = prepared(folder)
    refused_start(server, "in use", str(server.data_dir))
    equal(server.value("SELECT count(*) FROM readings"), "3", "rows of the first server afterwards")
    server.kill()
    server.start()  # the lock died with its process
    equal(server.value("SELECT count(*) FROM readings"), "3", "rows after the lock's owner was killed")
    server.stop()


def port_in_use(folder):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        server = Server(folder)
        port = other.getsockname()[1]
        done = subprocess.run(server.command(port), capture_output=True, text=True, timeout=60, check=False)
        text = done.stdout + done.stderr
        expect(done.returncode > 0 and str(port) in text and "panicked" not in text, f"{done.returncode}: {text}")


def unusable_data_directory(folder):
    server = Server(folder)
    server.data_dir.write_text("a file, not a directory")
    refused_start(server, str(server.data_dir))


def bad_flags(_):
    for arguments in (["start", "--listen-sql", "nowhere"], ["start", "--no-such-flag"], ["nonsense"]):
        done = subprocess.run([binary(), *arguments], capture_output=True, text=True, timeout=60, check=False)
        expect(done.returncode > 0 and "panicked" not in done.stderr, f"{arguments}: {done.returncode} {done.stderr}")


def future_version(folder):
    """A segment from a later version is refused, and left as it is."""
    server = prepared(folder)
    server.kill()
    segment = newest_segment(server)
    before = segment.read_bytes()
    segment.write_bytes(with_future_version(before))
    text = refused_start(server, segment.name)
    expect(re.search(r"version", text), text)
    expect(segment.read_bytes() == with_future_version(before), "the refused start changed the segment")
    segment.write_bytes(before)
    server.start()
    equal(server.rows("SELECT n, rows FROM total"), [["3", "3"]], "the view after the version was put back")
    server.stop()


def with_future_version(segment):
    """A segment's header: magic, format version as u16 at 8, and the crc of the first 124 bytes behind them."""
    header = segment[:8] + (999).to_bytes(2, "little") + segment[10:124]
    return header + zlib.crc32(header).to_bytes(4, "little") + segment[128:]


def tail(folder, change, rows):
    """Changes the end of the newest segment; the start succeeds, says what was dropped, and keeps `rows` rows."""
    server = prepared(folder)
    server.kill()
    segment = newest_segment(server)
    segment.write_bytes(change(segment.read_bytes()))
    server.start()
    log = server.log_text()
    expect(segment.name in log and re.search(r"drop", log) and re.search(r"\d+ bytes", log), f"what was dropped is not said:\n{log}")
    equal(server.value("SELECT count(*) FROM readings"), str(rows), "rows")
    equal(server.value("SELECT rows FROM total"), str(rows), "rows of the view")
    server.psql("INSERT INTO readings VALUES (100)")
    server.kill()
    server.start()
    equal(server.value("SELECT count(*) FROM readings"), str(rows + 1), "rows after another commit and another death")
    server.verify("total")
    server.stop()


def torn_tail(folder):
    """Half a record at the end: a write that the power cut interrupted."""
    tail(folder, lambda bytes_: bytes_[:-5], rows=2)


def zero_filled_tail(folder):
    """The file grew, its bytes did not arrive."""
    tail(folder, lambda bytes_: bytes_ + bytes(4096), rows=3)


def damaged_record(folder):
    """A bad record with good ones behind it is no torn tail: the start is refused, naming the file."""
    server = prepared(folder, rows=20)
    server.kill()
    segment = newest_segment(server)
    before = segment.read_bytes()
    middle = len(before) // 2
    segment.write_bytes(before[:middle] + bytes([before[middle] ^ 0xFF]) + before[middle + 1:])
    refused_start(server, segment.name)
    segment.write_bytes(before)
    server.start()
    equal(server.value("SELECT count(*) FROM readings"), "20", "rows after the byte was put back")
    server.stop()


def interrupted(folder):
    """SIGINT ends a server as cleanly as SIGTERM."""
    server = prepared(folder)
    server.process.send_signal(signal.SIGINT)
    equal(server.process.wait(30), 0, "exit status after SIGINT")
    server.start()
    equal(server.value("SELECT count(*) FROM readings"), "3", "rows after a clean end")
    server.stop()


def serves_while_views_are_made_again(folder):
    """Without its checkpoints a start has to make every view again: tables answer meanwhile, reads of a view wait."""
    server = Server(folder).start()
    server.psql("CREATE TABLE readings (device bigint, value double precision) APPEND ONLY")
    for view in range(4):
        server.psql(
            f"CREATE MATERIALIZED VIEW pairs_{view} AS SELECT a.device, count(*) AS n FROM readings a JOIN readings b"
            f" ON a.value = b.value AND a.device >= b.device - {view} GROUP BY a.device"
        )
    server.psql("CREATE MATERIALIZED VIEW by_device AS SELECT device, sum(n) AS n FROM pairs_3 GROUP BY device")
    server.psql("INSERT INTO readings SELECT value % 50000, value FROM generate_series(1, 200000) AS t(value)")
    equal(server.value("SELECT sum(n) FROM by_device"), "200000", "rows in the view")
    server.kill()
    for file in (server.data_dir / "state").glob("*"):
        file.unlink()
    server.start()
    expect("5 of them to be made again from their tables" in server.log_text(), server.log_text())
    equal(server.value("SELECT count(*) FROM readings"), "200000", "rows of the table")
    waits = server.psql(lines="SET statement_timeout = '1ms';\nSELECT count(*) FROM by_device;\n", check=False)
    was_early = "were made again" not in server.log_text()
    if was_early:
        expect('"by_device"' in waits.stderr and "statement timeout" in waits.stderr, waits.stderr)
    equal(server.value("SELECT sum(n) FROM by_device"), "200000", "rows in the view made again")
    eventually(lambda: "5 views were made again" in server.log_text(), "the log says that the view is back")
    expect(was_early, "the view was back before anybody could look")
    server.verify("by_device")
    server.stop()


def small_limit(folder):
    """A limit of memory that the server cannot keep to is said."""
    server = Server(folder, settings={"TIDEMARK__MEMORY__LIMIT_BYTES": str(200 << 20)}).start()
    expect("warning: memory.limit_bytes is 200 MiB; with less than 256 MiB" in server.log_text(), server.log_text())
    server.stop()
    server.settings["TIDEMARK__MEMORY__LIMIT_BYTES"] = str(256 << 20)
    server.start()
    expect("memory.limit_bytes" not in server.log_text(), server.log_text())
    server.stop()


if __name__ == "__main__":
    main(
        data_directory_in_use, port_in_use, unusable_data_directory, bad_flags, future_version, torn_tail,
        zero_filled_tail, damaged_record, interrupted, small_limit,
        serves_while_views_are_made_again,
    )
