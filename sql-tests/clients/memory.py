"""The limit of memory: state of views four times as large as the limit leaves for disk and comes back, and the process stays
within the limit as the machine sees it. So it does while many readers of a view or a table stall, each at another commit, and while files
of wide rows are compacted beside large writes."""

import psycopg
import pyarrow
import pyarrow.flight

from flight_client import info_of
from harness import Server, equal, expect, main

#: The program of the dev profile alone is 80 MiB of it.
LIMIT = 320 << 20
#: Each with a note of two kilobytes, which the one view keeps of every reading, and the other of every device.
READINGS = 680_000
DEVICES = 20_000
STEPS = 170
#: Of the table with a key, each with a note of two hundred bytes.
KEYED_DEVICES = 1000
KEYED_ROWS = 40_000
KEYED_STEPS = 90
#: Readers that stall, and devices of the view that they read, each with a note of a kilobyte: together four times the limit.
STALLED = 45
STALLED_DEVICES = 30_000
#: For their state, so that it is the view's bound that ends them, and not that the whole server is short of memory.
STALLED_STATE = 96 << 20
#: Readers of a table that stall, and the rows between two of them: together twice the limit.
STALLED_AT_TABLE = 12
STALLED_ROWS = 150_000
#: That bring these rows.
STATEMENTS = 6
#: Rows of two kilobytes of one statement, about an eighth of the limit, and statements one after the other.
LARGE_ROWS = 17_000
LARGE_STATEMENTS = 24


def state_leaves_and_comes_back(folder):
    server = Server(folder, settings={"TIDEMARK__MEMORY__LIMIT_BYTES": str(LIMIT)}).start()
    server.psql("CREATE TABLE readings (device bigint, value double precision, note text) APPEND ONLY")
    server.psql("CREATE MATERIALIZED VIEW noted AS SELECT device, value, note FROM readings WHERE value >= 0")
    server.psql(
        "CREATE MATERIALIZED VIEW by_device AS SELECT device, count(*) AS n, sum(value) AS total, min(value) AS low,"
        " max(value) AS high, avg(value) AS mean, max(note) AS note FROM readings GROUP BY device"
    )
    peaks = []
    for step in range(STEPS):
        first, last = step * READINGS // STEPS + 1, (step + 1) * READINGS // STEPS
        server.psql(
            f"INSERT INTO readings SELECT value * 7919 % {DEVICES}, value::double precision / 4,"
            f" repeat('note ', 400) || value FROM generate_series({first}, {last}) AS s(value)"
        )
        if step % 25 == 24:
            equal(server.value("SELECT count(*) FROM noted"), str(last), "readings with a note")
            peaks.append(round(server.resident_mib("VmHWM")))
    total = server.rows("SELECT count(*), sum(n), sum(total) FROM by_device")
    equal(total, server.rows(f"SELECT {DEVICES}::bigint, count(*), sum(value) FROM readings"), "the view and its query")
    peaks.append(round(server.resident_mib("VmHWM")))
    lengths = server.rows("SELECT sum(length(note)), max(value) FROM noted")
    equal(lengths, server.rows("SELECT sum(length(note)), max(value) FROM readings"), "what is at rest and its query")
    peaks.append(round(server.resident_mib("VmHWM")))
    bytes_now, limit, evicted, reloaded = server.rows(
        "SELECT bytes, limit_bytes, evicted_bytes, reloaded_bytes FROM tidemark.memory WHERE component = 'state'"
    )[0]
    server.psql("FLUSH")
    peak = int(server.resident_mib("VmHWM") * (1 << 20))
    at_rest = sum(path.stat().st_size for path in (server.data_dir / "state").glob("*.pages"))
    print(
        f"limit {LIMIT >> 20} MiB, peak {peak >> 20} MiB; state at rest {at_rest >> 20} MiB, in memory"
        f" {int(bytes_now) >> 20} MiB, evicted {int(evicted) >> 20} MiB, reloaded {int(reloaded) >> 20} MiB; {peaks}"
    )
    expect(at_rest > 4 * LIMIT, f"state at rest: {at_rest}")
    expect(int(evicted) > 3 * LIMIT and int(reloaded) > LIMIT, f"evicted {evicted}, reloaded {reloaded}")
    expect(peak <= LIMIT * 1.15, f"peak {peak}, limit {LIMIT}")
    server.kill()
    server.start()
    equal(server.rows("SELECT count(*), sum(n), sum(total) FROM by_device"), total, "the view after a kill")
    again = int(server.resident_mib("VmHWM") * (1 << 20))
    print(f"peak of the start after a kill {again >> 20} MiB")
    expect(again <= LIMIT * 1.15, f"peak of the start {again}, limit {LIMIT}")
    server.stop()


def rows_by_key_leave_and_are_found(folder):
    """A PRIMARY KEY table several times as large as its share of memory: keys stay unique, and upserts find their rows."""
    server = Server(folder, settings={"TIDEMARK__MEMORY__LIMIT_BYTES": str(LIMIT)}).start()
    server.psql("CREATE TABLE readings (device bigint, minute bigint, note text, PRIMARY KEY (device, minute))")
    server.psql("CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS n, sum(length(note)) AS letters FROM readings")
    for step in range(KEYED_STEPS):
        server.psql(
            f"INSERT INTO readings SELECT n % {KEYED_DEVICES}, n / {KEYED_DEVICES}, repeat('note ', 40) || n"
            f" FROM generate_series({step * KEYED_ROWS}, {(step + 1) * KEYED_ROWS - 1}) AS s(n)"
        )
    rows = KEYED_STEPS * KEYED_ROWS

    def check(notes):
        # Old keys at random: none may come twice, and one that is there is changed.
        places = ", ".join(f"({place % KEYED_DEVICES}, {place // KEYED_DEVICES}, 'again')" for place in notes)
        refused = server.psql(f"INSERT INTO readings VALUES {places}", check=False).stderr
        expect("duplicate key value violates unique constraint" in refused, f"INSERT of keys that are there: {refused}")
        server.psql(f"INSERT INTO readings VALUES {places} ON CONFLICT DO NOTHING")
        server.psql(
            f"INSERT INTO readings VALUES {places} ON CONFLICT (device, minute) DO UPDATE SET note = readings.note || '!'"
        )
        place = notes[0]
        where = f"device = {place % KEYED_DEVICES} AND minute = {place // KEYED_DEVICES}"
        equal(server.value(f"SELECT right(note, 1) FROM readings WHERE {where}"), "!", "the row that was changed")
        server.psql(f"DELETE FROM readings WHERE {where}")
        server.psql(f"INSERT INTO readings SELECT {place % KEYED_DEVICES}, {place // KEYED_DEVICES}, repeat('x', 9)")
        equal(server.value("SELECT count(*) FROM readings"), str(rows), "rows")
        expected = server.rows("SELECT count(*), sum(length(note)) FROM readings")
        equal(server.rows("SELECT n, letters FROM totals"), expected, "the view and its query")

    check([place * 7919 % rows for place in range(1, 40)])
    peak = int(server.resident_mib("VmHWM") * (1 << 20))
    keyed = int(server.value("SELECT sum(bytes) FROM tidemark.memory WHERE component = 'table'"))
    written = server.value("SELECT sum(length(note)) FROM readings")
    print(f"limit {LIMIT >> 20} MiB, peak {peak >> 20} MiB; notes {int(written) >> 20} MiB, tables in memory {keyed >> 20} MiB")
    expect(int(written) > 2 * LIMIT, f"notes of {written} bytes")
    expect(peak <= LIMIT * 1.15, f"peak {peak}, limit {LIMIT}")
    server.kill()
    server.start()
    check([place * 104_729 % rows for place in range(1, 40)])
    again = int(server.resident_mib("VmHWM") * (1 << 20))
    print(f"peak after a kill {again >> 20} MiB")
    expect(again <= LIMIT * 1.15, f"peak after a kill {again}, limit {LIMIT}")
    server.stop()


def readers_that_stall_keep_little(folder):
    """Each reads one row of the view as of another commit, and every commit changes all of it. The first of them are told that it is
    not kept any longer; the last ones get all that they asked for."""
    settings = {"TIDEMARK__MEMORY__LIMIT_BYTES": str(LIMIT), "TIDEMARK__DATAFLOW__STATE_BYTES_MAX": str(STALLED_STATE)}
    server = Server(folder, settings=settings).start()
    server.psql("CREATE TABLE readings (device bigint, value bigint, note text) APPEND ONLY")
    server.psql(
        "CREATE MATERIALIZED VIEW by_device AS SELECT device, count(*) AS n, sum(value) AS total, max(note) AS note"
        " FROM readings GROUP BY device"
    )
    devices = f"generate_series(1, {STALLED_DEVICES}) AS s(n)"
    server.psql(f"INSERT INTO readings SELECT n, n, repeat('note ', 200) || n FROM {devices}")
    readers = []
    for step in range(STALLED):
        copied = copied_rows(server, "SELECT * FROM by_device")
        readers.append((copied, next(copied)))
        server.psql(f"INSERT INTO readings SELECT n, {step}, '' FROM {devices}")
        equal(server.value("SELECT min(n) FROM by_device"), str(step + 2), "readings of each device")
    peak = int(server.resident_mib("VmHWM") * (1 << 20))
    ended = 0
    for number, (copied, first) in enumerate(readers):
        try:
            rows = [first, *copied]
            equal(len(rows), STALLED_DEVICES, f"rows that reader {number} sees")
            equal({row[1] for row in rows}, {str(number + 1)}, f"readings of each device, as reader {number} sees them")
        except psycopg.Error as error:
            equal(error.sqlstate, "53400", f"SQLSTATE of reader {number}: {error}")
            expect("snapshot_bytes_max" in (error.diag.message_hint or ""), f"its hint: {error.diag.message_hint}")
            equal(number, ended, "the reader that is ended, among those who began first")
            ended += 1
    print(f"limit {LIMIT >> 20} MiB, peak {peak >> 20} MiB; of {STALLED} readers the first {ended} were ended, the others read all")
    expect(STALLED // 4 < ended < STALLED - 2, f"{ended} readers were ended")
    expect(peak <= LIMIT * 1.15, f"peak {peak}, limit {LIMIT}")
    expected = server.rows("SELECT count(*), sum(value) FROM readings")
    equal(server.rows("SELECT sum(n), sum(total) FROM by_device"), expected, "the view and its query")
    server.stop()


def readers_of_tables_that_stall_keep_little(folder):
    """The same over a table whose hot rows are flushed again and again: each reader holds those that were hot when it began, be it that
    it takes nothing from its socket, leaves a cursor open, or does not read a Flight stream."""
    server = Server(folder, settings={"TIDEMARK__MEMORY__LIMIT_BYTES": str(LIMIT)}).start()
    server.psql("CREATE TABLE readings (device bigint, note text) APPEND ONLY")
    readers = []
    for step in range(STALLED_AT_TABLE):
        for _ in range(STATEMENTS):
            server.psql(
                f"INSERT INTO readings SELECT {step}, repeat('a note of some length ', 10) || n"
                f" FROM generate_series(1, {STALLED_ROWS // STATEMENTS}) AS s(n)"
            )
        rows = KINDS[step % len(KINDS)](server, "SELECT device, note FROM readings")
        readers.append((rows, next(rows)))
    peak = int(server.resident_mib("VmHWM") * (1 << 20))
    ended = [0] * len(KINDS)
    for number, (rows, first) in enumerate(readers):
        try:
            devices = [first, *rows]
            equal(len(devices), (number + 1) * STALLED_ROWS, f"rows that reader {number} sees")
            equal(len(set(devices)), number + 1, f"statements that reader {number} sees")
        except psycopg.Error as error:
            equal(error.sqlstate, "53400", f"SQLSTATE of reader {number}: {error}")
            expect("memory.limit_bytes" in (error.diag.message_hint or ""), f"its hint: {error.diag.message_hint}")
            ended[number % len(KINDS)] += 1
        except pyarrow.ArrowException as error:
            expect("53400" in str(error) and "memory.limit_bytes" in str(error), f"reader {number}: {error}")
            ended[number % len(KINDS)] += 1
    names = ", ".join(f"{count} of {kind.__name__}" for count, kind in zip(ended, KINDS))
    print(f"limit {LIMIT >> 20} MiB, peak {peak >> 20} MiB; of {STALLED_AT_TABLE} readers of a table were ended: {names}; the others read all")
    expect(sum(ended) > STALLED_AT_TABLE // 4 and min(ended) > 0, f"readers that were ended: {names}")
    expect(peak <= LIMIT * 1.15, f"peak {peak}, limit {LIMIT}")
    equal(server.value("SELECT count(*) FROM readings"), str(STALLED_AT_TABLE * STALLED_ROWS), "rows")
    server.stop()


def large_writes_beside_compactions(folder):
    """What a compaction reads is far larger in memory than in its files, whose texts are alike."""
    server = Server(folder, settings={"TIDEMARK__MEMORY__LIMIT_BYTES": str(LIMIT)}).start()
    server.psql("CREATE TABLE readings (device bigint, value double precision, note text) APPEND ONLY")
    files = []
    for step in range(LARGE_STATEMENTS):
        server.psql(
            f"INSERT INTO readings SELECT n % 1000, n, repeat('note ', 400) || n"
            f" FROM generate_series({step * LARGE_ROWS}, {(step + 1) * LARGE_ROWS - 1}) AS s(n)"
        )
        files.append(int(server.value("SELECT files FROM tidemark.tables WHERE name = 'readings'")))
    peak = int(server.resident_mib("VmHWM") * (1 << 20))
    print(f"limit {LIMIT >> 20} MiB, peak {peak >> 20} MiB; files after each statement {files}")
    expect(any(later < earlier for earlier, later in zip(files, files[1:])), f"files were never compacted: {files}")
    expect(peak <= LIMIT * 1.15, f"peak {peak}, limit {LIMIT}")
    rows = LARGE_STATEMENTS * LARGE_ROWS
    equal(server.rows("SELECT count(*), sum(value) FROM readings"), [[str(rows), str(rows * (rows - 1) // 2)]], "rows")
    server.stop()


def copied_rows(server, query):
    """The rows of a query, from a COPY on a connection of its own, one by one, as lists of texts."""
    with psycopg.connect(server.address(), autocommit=True) as connection:
        with connection.cursor().copy(f"COPY ({query}) TO STDOUT") as copy:
            for row in copy:
                yield bytes(row).decode().rstrip("\n").split("\t")


def copied(server, query):
    """The first column alone."""
    yield from (row[0] for row in copied_rows(server, query))


def fetched(server, query):
    """The same from a cursor that the server holds."""
    with psycopg.connect(server.address()) as connection, connection.cursor("held") as cursor:
        cursor.itersize = 1000
        for row in cursor.execute(query):
            yield str(row[0])


def flown(server, query):
    """The same from Flight streams, one after the other."""
    with pyarrow.flight.FlightClient(server.flight_address()) as client:
        for endpoint in info_of(client, query).endpoints:
            for chunk in client.do_get(endpoint.ticket):
                yield from map(str, chunk.data.column(0).to_pylist())


#: How a table is read.
KINDS = (copied, fetched, flown)


if __name__ == "__main__":
    main(
        state_leaves_and_comes_back,
        rows_by_key_leave_and_are_found,
        readers_that_stall_keep_little,
        readers_of_tables_that_stall_keep_little,
        large_writes_beside_compactions,
    )
