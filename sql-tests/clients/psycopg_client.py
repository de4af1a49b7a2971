"""psycopg 3, in text and in binary: every type there and back, transactions, COPY both ways, and bad input."""

import datetime
import decimal
import math
import socket
import struct
import time
import uuid

import psycopg
import psycopg.types.json

from harness import Failure, Server, equal, expect, main

UTC = datetime.timezone.utc

# Column type, and values that must come back equal.
TYPES = {
    "boolean": [True, False],
    "smallint": [-32768, 0, 32767],
    "integer": [-(2**31), 0, 2**31 - 1],
    "bigint": [-(2**63), 0, 2**63 - 1],
    "real": [0.5, -1.25, math.inf],
    "double precision": [0.1, -0.0, 5e-324, 1.7976931348623157e308, -math.inf],
    "numeric(38,10)": [decimal.Decimal("1234567890123456789012345678.0123456789"), decimal.Decimal("-0.0000000001")],
    "numeric(6,0)": [decimal.Decimal("999999"), decimal.Decimal("0")],
    "text": ["", "plain", "Ünïcödé 🚚", "tab\there", "line\nbreak", "back\\slash", "it's"],
    "varchar(5)": ["", "äöüßx"],
    "bytea": [b"", b"\x00\xff\\\n", bytes(range(256))],
    "date": [datetime.date(1, 1, 1), datetime.date(2026, 2, 28), datetime.date(9999, 12, 31)],
    "timestamp": [datetime.datetime(1900, 1, 1, 0, 0, 0, 1), datetime.datetime(2026, 1, 1, 23, 59, 59, 999999)],
    "timestamptz": [datetime.datetime(2026, 6, 1, 12, tzinfo=UTC), datetime.datetime(1969, 12, 31, 23, tzinfo=UTC)],
    "uuid": [uuid.UUID(int=0), uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")],
    "interval": [datetime.timedelta(days=3, seconds=4, microseconds=5), datetime.timedelta(0), datetime.timedelta(-1)],
}


def types_there_and_back(folder):
    server = Server(folder).start()
    wrong = []
    with psycopg.connect(server.address(), autocommit=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name, values in TYPES.items():
            connection.execute(f"CREATE TABLE t (n integer, v {name})")
            for binary in (False, True):
                for place in ("hot", "cold"):
                    try:
                        wrong += there_and_back(connection, name, values, binary, place)
                    except psycopg.Error as error:
                        wrong.append(f"{name}, binary {binary}, {place}: {error!r}")
            connection.execute("DROP TABLE t")
    expect(not wrong, "\n".join(wrong))
    server.stop()


def there_and_back(connection, name, values, binary, place):
    connection.execute("DELETE FROM t")
    cursor = connection.cursor(binary=binary)
    placeholder = "%b" if binary else "%t"
    for n, value in enumerate([*values, None]):
        cursor.execute(f"INSERT INTO t VALUES (%s, {placeholder})", (n, value))
    if place == "cold":
        connection.execute("FLUSH")
    back = [row[0] for row in cursor.execute("SELECT v FROM t ORDER BY n").fetchall()]
    wrong = []
    for sent, received in zip([*values, None], back, strict=True):
        same_sign = not isinstance(sent, float) or math.copysign(1, sent) == math.copysign(1, received)
        if sent != received or type(sent) is not type(received) or not same_sign:
            wrong.append(f"{name}, binary {binary}, {place}: sent {sent!r}, received {received!r}")
    return wrong


def json_and_arrays(folder):
    """jsonb both ways in text and binary, and arrays of a view."""
    server = Server(folder).start()
    payload = {"device": "pump", "levels": [1, 2.5, None], "ok": True, "größe": "1 µm \"x\""}
    with psycopg.connect(server.address(), autocommit=True) as connection:
        connection.execute("CREATE TABLE messages (n integer, payload jsonb)")
        connection.execute(
            "CREATE MATERIALIZED VIEW devices AS SELECT payload->>'device' AS device, array_agg(n) AS rows,"
            " jsonb_agg(payload->'levels') AS levels FROM messages GROUP BY 1"
        )
        for n, (binary, place) in enumerate((b, p) for b in (False, True) for p in ("%t", "%b")):
            cursor = connection.cursor(binary=binary)
            cursor.execute(f"INSERT INTO messages VALUES (%s, {place})", (n, psycopg.types.json.Jsonb(payload)))
            equal(cursor.execute("SELECT payload FROM messages WHERE n = %s", (n,)).fetchone(), (payload,), "payload")
            equal(cursor.execute("SELECT payload->'ok' FROM messages WHERE n = %s", (n,)).fetchone(), (True,), "a part")
        connection.execute("FLUSH")
        for binary in (False, True):
            row = connection.cursor(binary=binary).execute("SELECT * FROM devices").fetchone()
            equal(row, ("pump", [0, 1, 2, 3], [[1, 2.5, None]] * 4), "the view")
            found = connection.execute(
                "SELECT count(*) FROM messages WHERE payload @> %s", (psycopg.types.json.Jsonb({"ok": True}),), binary=binary
            )
            equal(found.fetchone(), (4,), "containment")
    server.stop()


def transactions(folder):
    server = Server(folder).start()
    with psycopg.connect(server.address()) as connection:
        connection.execute("CREATE TABLE readings (device text, temperature double precision)")
        connection.commit()
        with connection.transaction():
            connection.execute("INSERT INTO readings VALUES (%s, %s)", ("truck_0", 1.5))
        try:
            with connection.transaction():
                connection.execute("INSERT INTO readings VALUES (%s, %s)", ("truck_1", 2.5))
                connection.execute("SELECT 1 / 0")
        except psycopg.errors.DivisionByZero:
            pass
        equal(connection.execute("SELECT * FROM readings").fetchall(), [("truck_0", 1.5)], "after a failed transaction")
        connection.rollback()
        cursor = connection.cursor()
        cursor.executemany("INSERT INTO readings VALUES (%s, %s)", [(f"truck_{n}", float(n)) for n in range(200)])
        connection.commit()
        equal(connection.execute("SELECT count(*) FROM readings").fetchone(), (201,), "after executemany")
        with connection.pipeline():
            for n in range(50):
                connection.execute("INSERT INTO readings VALUES (%s, %s)", ("piped", n))
        connection.commit()
        count = connection.execute("SELECT count(*) FROM readings WHERE device = 'piped'").fetchone()
        equal(count, (50,), "after a pipeline")
        equal(connection.info.transaction_status, psycopg.pq.TransactionStatus.INTRANS, "status after a query")
    server.stop()


def nested_transactions(folder):
    """Savepoints as psycopg uses them: an inner transaction fails, and the outer one goes on."""
    server = Server(folder).start()
    with psycopg.connect(server.address()) as connection:
        connection.execute("CREATE TABLE readings (device text PRIMARY KEY, temperature integer)")
        connection.commit()
        with connection.transaction():
            connection.execute("INSERT INTO readings VALUES ('truck_0', 1)")
            for device in ("truck_1", "truck_0", "truck_2"):
                try:
                    with connection.transaction():
                        connection.execute("INSERT INTO readings VALUES (%s, 2)", (device,))
                except psycopg.errors.UniqueViolation:
                    pass
            try:
                with connection.transaction(savepoint_name="slow"):
                    connection.execute("INSERT INTO readings VALUES ('truck_3', 3)")
                    connection.execute("SET LOCAL statement_timeout = '100ms'")
                    connection.execute("SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b")
                raise Failure("statement_timeout did not end the query")
            except psycopg.errors.QueryCanceled:
                pass
            equal(connection.execute("SHOW statement_timeout").fetchone(), ("0",), "after the inner transaction")
        rows = connection.execute("SELECT device FROM readings ORDER BY device").fetchall()
        equal(rows, [("truck_0",), ("truck_1",), ("truck_2",)], "after nested transactions")
    server.stop()


def array_parameters(folder):
    """`= ANY` over a list, in text and in binary, and how it is described."""
    server = Server(folder).start()
    with psycopg.connect(server.address(), autocommit=True) as connection:
        connection.execute("CREATE TABLE readings (n bigint, device text, price numeric(6,2), x double precision, at timestamptz)")
        at = datetime.datetime(2026, 1, 1, 12, tzinfo=UTC)
        rows = [(1, "a", "1.50", 0.5, at), (2, 'b,"c"', "2.00", math.nan, None), (3, None, None, -0.0, None)]
        connection.cursor().executemany("INSERT INTO readings VALUES (%s, %s, %s, %s, %s)", rows)
        questions = [
            ("n = ANY", [1, 3, 300], [1, 3]), ("n = ANY", [], []), ("n <> ALL", [1, 2**40], [2, 3]),
            ("device = ANY", ['b,"c"', "z"], [2]), ("device <> ALL", ["a"], [2]),
            ("price = ANY", [decimal.Decimal("1.5"), decimal.Decimal("1.996")], [1]), ("x = ANY", [0.0, math.nan], [2, 3]),
            ("at = ANY", [at], [1]), ("n = ANY", [1, None], [1]), ("n <> ALL", [1, None], []),
        ]
        for placeholder in ("%t", "%b"):
            for condition, values, expected in questions:
                sql = f"SELECT n FROM readings WHERE {condition}({placeholder}) ORDER BY n"
                found = [n for (n,) in connection.execute(sql, (values,)).fetchall()]
                equal(found, expected, f"{condition} {values} with {placeholder}")
        try:
            connection.execute("SELECT n FROM readings WHERE n = ANY(%s)", (["x"],))
            raise Failure("text was taken for a bigint")
        except psycopg.errors.InvalidTextRepresentation:
            pass
        for name, sql, oids in [
            (b"a", b"SELECT n FROM readings WHERE n = ANY($1) AND device <> ALL($2)", [1016, 1009]),
            (b"b", b"DELETE FROM readings WHERE price = ANY($1) AND n > $2", [1231, 20]),
            (b"c", b"UPDATE readings SET x = $1 WHERE at = ANY($2)", [701, 1185]),
        ]:
            connection.pgconn.prepare(name, sql)
            described = connection.pgconn.describe_prepared(name)
            equal([described.param_type(at) for at in range(described.nparams)], oids, f"types of the parameters of {sql}")
    server.stop()


def slow_view(folder):
    """A statement that waits for a view is ended by statement_timeout with the slow view's name, and need not wait."""
    server = Server(folder, settings={"TIDEMARK__DATAFLOW__ROWS_PER_STEP_MAX": "200"}).start()
    with psycopg.connect(server.address(), autocommit=True) as connection:
        connection.execute("CREATE TABLE readings (k integer, v integer)")
        connection.execute("CREATE MATERIALIZED VIEW quick AS SELECT count(*) AS n FROM readings")
        for n in range(100):
            rows = f"generate_series({n * 200 + 1}, {n * 200 + 200})"
            connection.execute(f"INSERT INTO readings SELECT 1, i FROM {rows} AS s(i)")
        equal(connection.execute("SELECT n FROM quick").fetchone(), (20000,), "the view")
        connection.execute("SET statement_timeout = '300ms'")
        heavy = (
            "CREATE MATERIALIZED VIEW heavy AS SELECT count(*) AS n FROM readings a JOIN readings b ON a.k = b.k"
            " WHERE (a.v * b.v + a.v) % 7 = 3"
        )
        for sql, words in (
            (heavy, '"heavy" is being filled'),
            ("SELECT n FROM quick", '"quick" had not applied the commit to be read, while materialized view "heavy"'),
        ):
            try:
                connection.execute(sql)
                raise Failure(f"not ended: {sql}")
            except psycopg.errors.QueryCanceled as error:
                expect(words in (error.diag.message_detail or ""), f"{sql}: {error.diag.message_detail}")
        connection.execute("SET statement_timeout = 0")
        connection.execute("INSERT INTO readings VALUES (1, 1)")
        status = "SELECT status FROM tidemark.views WHERE name = 'heavy'"
        equal(connection.execute(status).fetchone(), ("creating",), "the slow view's status")
        connection.execute("SET read_mode = 'snapshot'")
        equal(connection.execute("SELECT n FROM quick").fetchone(), (20000,), "the newest commit that is applied")
        equal(connection.execute(status).fetchone(), ("creating",), "the slow view's status after the read")
    server.kill()


def prepared_statements(folder):
    """One statement executed often enough that psycopg prepares it, while its table changes."""
    server = Server(folder).start()
    with psycopg.connect(server.address(), autocommit=True) as connection:
        connection.execute("CREATE TABLE readings (device text, temperature double precision)")
        for n in range(12):
            connection.execute("INSERT INTO readings VALUES (%s, %s)", (f"truck_{n}", n))
            row = connection.execute("SELECT count(*), max(temperature) FROM readings WHERE temperature <= %s", (n,))
            equal(row.fetchone(), (n + 1, float(n)), "a prepared query")
        row = connection.execute("SELECT %s::int + 1, %s::text || 'x', %s::numeric * 2", (41, "a", decimal.Decimal("1.5")))
        equal(row.fetchone(), (42, "ax", decimal.Decimal("3.0")), "parameters with casts")
        row = connection.execute("SELECT device FROM readings WHERE device = %s AND temperature > %s", ("truck_3", 1))
        equal(row.fetchall(), [("truck_3",)], "parameters whose types are inferred")
    server.stop()


def copy_both_ways(folder):
    server = Server(folder).start()
    rows = [(f"truck_{n}", n / 8 if n % 7 else None, "a\tb\\c\n\"d\"" if n % 5 else "") for n in range(5000)]
    with psycopg.connect(server.address(), autocommit=True) as connection:
        connection.execute("CREATE TABLE readings (device text, temperature double precision, note text)")
        cursor = connection.cursor()
        with cursor.copy("COPY readings FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        equal(cursor.rowcount, 5000, "rows that COPY says")
        with cursor.copy("COPY (SELECT * FROM readings) TO STDOUT") as copy:
            copy.set_types(["text", "float8", "text"])
            back = list(copy.rows())
        key = lambda row: (row[0], row[2])
        equal(sorted(back, key=key), sorted(rows, key=key), "rows that COPY gives back")
        with cursor.copy("COPY readings TO STDOUT WITH (FORMAT csv)") as copy:
            text = b"".join(bytes(chunk) for chunk in copy)
        connection.execute("DELETE FROM readings")
        with cursor.copy("COPY readings FROM STDIN WITH (FORMAT csv)") as copy:
            for start in range(0, len(text), 997):  # cuts anywhere, in the middle of lines and of characters
                copy.write(text[start:start + 997])
        back = connection.execute("SELECT * FROM readings").fetchall()
        equal(sorted(back, key=key), sorted(rows, key=key), "rows after CSV there and back")
        try:
            with cursor.copy("COPY readings FROM STDIN") as copy:
                copy.write_row(("lost", 1, ""))
                raise KeyError("the client changes its mind")
        except KeyError:
            pass
        equal(connection.execute("SELECT count(*) FROM readings WHERE device = 'lost'").fetchone(), (0,), "CopyFail")
    server.stop()


def copy_in_a_transaction(folder):
    """psycopg opens a transaction for everything, COPY included: its rows come at COMMIT, or not at all."""
    server = Server(folder).start()
    with psycopg.connect(server.address()) as connection, psycopg.connect(server.address(), autocommit=True) as other:
        connection.execute("CREATE TABLE readings (device text, temperature double precision)")
        connection.commit()
        for end, rows in ((connection.rollback, 0), (connection.commit, 2)):
            connection.execute("INSERT INTO readings VALUES ('truck_0', 0)")
            with connection.cursor().copy("COPY readings FROM STDIN") as copy:
                copy.write_row(("truck_1", 1.5))
            own = connection.execute("SELECT count(*) FROM readings").fetchone()
            equal(own, (2,), "own rows within the transaction")
            equal(other.execute("SELECT count(*) FROM readings").fetchone(), (0,), "others' view of them")
            end()
            equal(other.execute("SELECT count(*) FROM readings").fetchone(), (rows,), f"rows after {end.__name__}")
    server.stop()


def copy_cut_in_the_middle(folder):
    """A connection that breaks in the middle of COPY leaves nothing, and the server goes on."""
    server = Server(folder).start()
    watcher = psycopg.connect(server.address(), autocommit=True)
    watcher.execute("CREATE TABLE readings (device text, temperature double precision)")
    watcher.execute("CREATE MATERIALIZED VIEW total AS SELECT count(*) AS n FROM readings")
    for how in ("close", "reset"):
        connection = psycopg.connect(server.address(), autocommit=True)
        with socket.socket(fileno=socket.dup(connection.fileno())) as wire:
            connection.pgconn.exec_(b"COPY readings FROM STDIN")
            for n in range(20000):
                connection.pgconn.put_copy_data(f"truck_{n}\t{n}\n".encode())
            if how == "reset":
                wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                wire.shutdown(socket.SHUT_RDWR)
            connection.pgconn.finish()
        time.sleep(0.2)
        equal(watcher.execute("SELECT count(*) FROM readings").fetchone(), (0,), f"rows after a {how}")
    with watcher.cursor().copy("COPY readings FROM STDIN") as copy:
        copy.write("truck_0\t1\n")
    equal(watcher.execute("SELECT n FROM total").fetchone(), (1,), "the view after the next COPY")
    watcher.close()
    server.stop()


# Statement, data for COPY or None, SQLSTATE, and words of message or context.
BAD_INPUT = [
    ("INSERT INTO readings (temperature) VALUES ('warm')", None, "22P02", "double precision"),
    ("COPY readings FROM STDIN", b"truck_0\t1\t1\ntruck_1\twarm\t1\n", "22P02", "line 2, column temperature"),
    ("COPY readings FROM STDIN", b"truck_0\t1\t1\t1\n", "22P04", "line 1"),
    ("COPY readings FROM STDIN", b"truck_0\t1\t1\ntruck_0\n", "22P04", "line 2"),
    ("COPY readings FROM STDIN", b"truck_\xff\t1\t1\n", "22021", "UTF8"),
    ("COPY readings FROM STDIN", b"truck_0\t1\t99999999999\n", "22003", "column load"),
    ("COPY readings FROM STDIN WITH (FORMAT csv)", b'"truck_0,1,1\n', "22P04", "quote"),
    ("COPY readings (device, nothing) FROM STDIN", b"", "42703", "nothing"),
    ("COPY nothing FROM STDIN", b"", "42P01", "nothing"),
    ("COPY readings FROM STDIN WITH (FORMAT parquet)", b"", "22023", "parquet"),
    ("SELECT humidity FROM readings", None, "42703", "humidity"),
    ("SELECT * FROM nothing", None, "42P01", "nothing"),
    ("SELECT 1 / 0", None, "22012", "division by zero"),
    ("SELECT 2147483647 + 1", None, "22003", "integer out of range"),
    ("SELECT 9223372036854775807 + 1", None, "22003", "bigint out of range"),
    ("SELECT (SELECT device FROM two)", None, "21000", "more than one row"),
    ("SELEC 1", None, "42601", "SELEC"),
    ("CREATE MATERIALIZED VIEW v AS SELECT device FROM readings LIMIT 1", None, "0A000", ""),
    ("CREATE INDEX i ON readings (device)", None, "0A000", "CREATE INDEX"),
    ("SELECT * FROM '/etc/passwd'", None, "42P01", "passwd"),
    ('SELECT * FROM "/etc/passwd"', None, "42P01", "passwd"),
    ('SELECT * FROM "file:///etc/passwd"', None, "42P01", "passwd"),
    ("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'", None, None, ""),
    ("COPY readings FROM '/etc/passwd'", None, "0A000", ""),
    ("COPY readings TO PROGRAM 'true'", None, "0A000", ""),
]


def bad_input(folder):
    server = Server(folder).start()
    wrong = []
    with psycopg.connect(server.address(), autocommit=True) as connection:
        connection.execute("CREATE TABLE readings (device text, temperature double precision, load integer)")
        connection.execute("CREATE TABLE two (device text)")
        connection.execute("INSERT INTO two VALUES ('a'), ('b')")
        for sql, data, state, words in BAD_INPUT:
            try:
                refused(connection, sql, data, state, words)
            except Failure as failure:
                wrong.append(str(failure))
            equal(connection.execute("SELECT count(*) FROM readings").fetchone(), (0,), f"rows after {sql}")
    expect(not wrong, "\n".join(wrong))
    server.stop()


def refused(connection, sql, data, state, words):
    try:
        if data is None:
            connection.execute(sql)
        else:
            with connection.cursor().copy(sql) as copy:
                copy.write(data)
    except psycopg.Error as error:
        text = f"{error.diag.message_primary} {error.diag.message_detail} {error.diag.context}"
        if (state and error.sqlstate != state) or words not in text or error.sqlstate in (None, "XX000"):
            raise Failure(f"{sql}: expected {state} with {words!r}, got {error.sqlstate} {text}") from None
        return
    raise Failure(f"{sql}: expected {state}, but it was taken")


def view_warnings(folder):
    """Reading a view that leaves erring rows out says so."""
    server = Server(folder).start()
    notices = []
    with psycopg.connect(server.address(), autocommit=True) as connection:
        connection.add_notice_handler(lambda notice: notices.append((notice.severity, notice.message_primary)))
        connection.execute("CREATE TABLE readings (device text, distance integer, seconds integer)")
        connection.execute("CREATE MATERIALIZED VIEW speeds AS SELECT device, distance / seconds AS speed FROM readings")
        connection.execute("INSERT INTO readings VALUES ('truck_0', 10, 5), ('truck_1', 10, 0)")
        equal(connection.execute("SELECT * FROM speeds").fetchall(), [("truck_0", 2)], "the view's rows")
        expect(any(severity == "WARNING" for severity, _ in notices), f"no WARNING, but {notices}")
        notices.clear()
        connection.execute("DELETE FROM readings WHERE seconds = 0")
        connection.execute("SELECT * FROM speeds").fetchall()
        expect(not any(severity == "WARNING" for severity, _ in notices), f"a healed view still warns: {notices}")
    server.stop()


def cancel(folder):
    """A query can be canceled, and statement_timeout ends it."""
    server = Server(folder).start()
    with psycopg.connect(server.address(), autocommit=True) as connection:
        connection.execute("CREATE TABLE n (v bigint)")
        with connection.cursor().copy("COPY n FROM STDIN") as copy:
            copy.write("".join(f"{n}\n" for n in range(3000)))
        heavy = "SELECT count(*) FROM n a, n b, n c WHERE (a.v * b.v + c.v) % 7 = 3"
        connection.execute("SET statement_timeout = '300ms'")
        try:
            connection.execute(heavy)
            raise Failure("statement_timeout did not end the query")
        except psycopg.errors.QueryCanceled:
            pass
        connection.execute("RESET statement_timeout")
        equal(connection.execute("SELECT count(*) FROM n").fetchone(), (3000,), "after a timeout")
        cursor = connection.cursor()
        connection.pgconn.send_query(heavy.encode())
        time.sleep(0.3)
        connection.cancel()
        started = time.monotonic()
        result = connection.pgconn.get_result()
        expect(time.monotonic() - started < 10, "the canceled query went on for over 10 s")
        state = result.error_field(psycopg.pq.DiagnosticField.SQLSTATE)
        equal(state, b"57014", "SQLSTATE of the canceled query")
        while connection.pgconn.get_result():
            pass
        cursor.execute("SELECT 1")
    server.stop()


def flush_in_a_pipeline(folder):
    """FLUSH runs where nothing was written before it, also without a Sync of its own; behind a write it is refused."""
    server = Server(folder).start()
    with psycopg.connect(server.address(), autocommit=True) as connection:
        connection.execute("CREATE TABLE readings (n integer)")
        connection.execute("INSERT INTO readings VALUES (1)")
        with connection.pipeline():
            connection.execute("FLUSH")
            rows = connection.execute("SELECT rows_hot, rows_cold FROM tidemark.tables").fetchall()
        equal(rows, [(0, 1)], "rows after FLUSH in a pipeline")
        try:
            with connection.pipeline():
                connection.execute("INSERT INTO readings VALUES (2)")
                connection.execute("FLUSH")
            raise Failure("FLUSH behind a write of its own transaction")
        except psycopg.errors.ActiveSqlTransaction:
            pass
        equal(connection.execute("SELECT n FROM readings").fetchall(), [(1,)], "rows after the refused one")
    server.stop()


if __name__ == "__main__":
    main(
        flush_in_a_pipeline,
        types_there_and_back, json_and_arrays, transactions, nested_transactions, array_parameters, prepared_statements, copy_both_ways, copy_in_a_transaction,
        copy_cut_in_the_middle, bad_input, view_warnings, slow_view, cancel,
    )
