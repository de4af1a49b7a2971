"""Arrow Flight SQL with ADBC and pyarrow: types, one commit, parallel endpoints, metadata, logins, errors, cancel."""

import base64
import concurrent.futures
import datetime
import decimal
import pathlib
import threading
import time

import adbc_driver_flightsql
import adbc_driver_flightsql.dbapi
import adbc_driver_manager
import psycopg
import pyarrow
import pyarrow.flight

from harness import Failure, Server, equal, eventually, expect, main

TICKS_PER_SECOND = 100
ENDLESS = "SELECT n, n * n AS m FROM generate_series(1, 100000000000) AS t(n)"


def connect(server, **options):
    return adbc_driver_flightsql.dbapi.connect(server.flight_address(), db_kwargs=options, autocommit=True)


def fetch(connection, sql, parameters=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetch_arrow_table()


def info_of(client, sql, options=None):
    """GetFlightInfo of a query, as a client without ADBC makes it: a CommandStatementQuery in an Any, by hand."""
    url = b"type.googleapis.com/arrow.flight.protocol.sql.CommandStatementQuery"
    text = sql.encode()
    query = b"\x0a" + varint(len(text)) + text
    any_ = b"\x0a" + varint(len(url)) + url + b"\x12" + varint(len(query)) + query
    return client.get_flight_info(pyarrow.flight.FlightDescriptor.for_command(any_), options)


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def refused(call, *words):
    """Runs it; it must fail, and say all of these words."""
    try:
        call()
    except (adbc_driver_manager.Error, pyarrow.ArrowException) as error:
        for word in words:
            expect(word in str(error), f"{word!r} is not in: {error}")
        return error
    raise Failure(f"not refused; expected {words}")


KINDS = """
CREATE TABLE kinds (
    id integer PRIMARY KEY, b boolean, i2 smallint, i8 bigint, f4 real, f8 double precision, n numeric(38, 10), t text,
    v varchar(8), y bytea, d date, ts timestamp, tz timestamptz, iv interval
)"""
VALUES = [
    (1, True, -32768, 2**63 - 1, 1.5, 0.1, decimal.Decimal("1234567890123456789012345678.0123456789"), "Gerät 🚚", "x",
     b"\x00\xff", datetime.date(2026, 2, 28), datetime.datetime(2026, 1, 2, 3, 4, 5, 6),
     datetime.datetime(1999, 12, 31, 23, 59, 59, 999999, datetime.timezone.utc), datetime.timedelta(days=3, seconds=7)),
    (2, False, 32767, -(2**63), -0.0, float("inf"), decimal.Decimal("-0.0000000001"), "", "", b"",
     datetime.date(1, 1, 1), datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31, tzinfo=datetime.timezone.utc),
     datetime.timedelta(0)),
    (3, *[None] * 13),
]


def types_round_trip(folder):
    """The same values as psycopg gets, from hot and from cold rows, and from a view."""
    server = Server(folder).start()
    with psycopg.connect(server.address(), autocommit=True) as sql, connect(server) as flight:
        sql.execute("SET TimeZone = 'UTC'")
        sql.execute(KINDS)
        for row in VALUES:
            sql.execute(f"INSERT INTO kinds VALUES ({', '.join(['%s'] * len(row))})", row)
        sql.execute("CREATE MATERIALIZED VIEW kinds_view AS SELECT * FROM kinds")
        for state in ("hot", "cold"):
            for relation in ("kinds", "kinds_view"):
                query = f"SELECT * FROM {relation} ORDER BY id"
                table = fetch(flight, query)
                expected = sql.execute(query).fetchall()
                equal([plain(row) for row in rows_of(table)], expected, f"{state} rows of {relation}")
            sql.execute("FLUSH")
        names = {"n": pyarrow.decimal128(38, 10), "tz": pyarrow.timestamp("us", "UTC"), "ts": pyarrow.timestamp("us"),
                 "t": pyarrow.string(), "v": pyarrow.string(), "y": pyarrow.binary(), "d": pyarrow.date32(),
                 "iv": pyarrow.month_day_nano_interval(), "i2": pyarrow.int16(), "f4": pyarrow.float32()}
        schema = fetch(flight, "SELECT * FROM kinds").schema
        equal(len(schema.names), 14, "columns, none of them hidden")
        for name, expected in names.items():
            equal(schema.field(name).type, expected, f"type of {name}")
        months = fetch(flight, "SELECT '14 months -3 days 01:00:00.000001'::text::interval AS iv")["iv"][0].as_py()
        equal((months.months, months.days, months.nanoseconds), (14, -3, 3_600_000_001_000), "an interval's parts")
    server.stop()


def rows_of(table):
    return [tuple(row.values()) for row in table.to_pylist()]


def plain(row):
    """Intervals without months as psycopg gives them."""
    is_interval = lambda value: hasattr(value, "nanoseconds") and hasattr(value, "months")
    length = lambda value: datetime.timedelta(days=value.days, microseconds=value.nanoseconds // 1000)
    return tuple(length(value) if is_interval(value) else value for value in row)


def read_your_writes(folder):
    """What is acknowledged over SQL is read over Flight at once, in tables and in views, and the other way round."""
    server = Server(folder).start()
    with psycopg.connect(server.address(), autocommit=True) as sql, connect(server) as flight:
        sql.execute("CREATE TABLE readings (id bigint)")
        sql.execute("CREATE MATERIALIZED VIEW total AS SELECT count(*) AS n, sum(id) AS s FROM readings")
        for n in range(1, 31):
            sql.execute("INSERT INTO readings VALUES (%s)", (n,))
            if n % 10 == 0:
                sql.execute("FLUSH")
            equal(rows_of(fetch(flight, "SELECT count(*) FROM readings")), [(n,)], "rows of the table")
            equal(rows_of(fetch(flight, "SELECT n, s FROM total")), [(n, n * (n + 1) // 2)], "the view")
        sql.execute("DELETE FROM readings WHERE id > 10")
        equal(rows_of(fetch(flight, "SELECT n, s FROM total")), [(10, 55)], "the view after a delete")
    server.stop()


def parallel_endpoints(folder):
    """The parts of a large table, read at the same time by clients of their own, are the table at one commit."""
    server = Server(folder, settings={"TIDEMARK__QUERY__THREADS": "4"}).start()
    rows, half = 300_000, 150_000
    with psycopg.connect(server.address(), autocommit=True) as sql:
        sql.execute("CREATE TABLE readings (id bigint NOT NULL, name text)")
        insert = "INSERT INTO readings SELECT n, 'truck_' || n FROM generate_series({}, {}) AS t(n)"
        sql.execute(insert.format(0, half - 1))
        sql.execute("FLUSH")
        sql.execute(insert.format(half, rows - 1))
        sql.execute("DELETE FROM readings WHERE id = 7 OR id = 200000")
        expected = sql.execute("SELECT count(*), sum(id), sum(length(name)) FROM readings").fetchone()

        client = pyarrow.flight.connect(server.flight_address())
        info = info_of(client, "SELECT id, name FROM readings")
        expect(len(info.endpoints) > 1, f"{len(info.endpoints)} endpoints")
        # Changes behind the promise are not seen by any part.
        sql.execute("UPDATE readings SET id = id + 1000000 WHERE id < 1000")
        sql.execute("FLUSH")
        with concurrent.futures.ThreadPoolExecutor() as pool:
            read = lambda endpoint: pyarrow.flight.connect(server.flight_address()).do_get(endpoint.ticket).read_all()
            parts = list(pool.map(read, info.endpoints))
        for part in parts:
            expect(part.num_rows > 20_000 and part.schema == info.schema, f"{part.num_rows} rows, {part.schema}")
        equal(summary(pyarrow.concat_tables(parts)), tuple(int(value) for value in expected), "all parts together")
        gone = refused(lambda: client.do_get(info.endpoints[0].ticket).read_all(), "34000", "the result is gone")
        expect("HINT" in str(gone), str(gone))
        # ADBC reads all endpoints by itself.
        with connect(server) as flight:
            now = sql.execute("SELECT count(*), sum(id), sum(length(name)) FROM readings").fetchone()
            equal(summary(fetch(flight, "SELECT id, name FROM readings")), tuple(int(value) for value in now), "ADBC")
        # Views too: of groups, of rows that only come, and of rows with their counts.
        sql.execute("CREATE MATERIALIZED VIEW named AS SELECT id, max(name) AS name FROM readings GROUP BY id")
        sql.execute("CREATE MATERIALIZED VIEW copies AS SELECT id, name FROM readings WHERE id >= 0")
        for view in ("named", "copies"):
            expected = sql.execute(f"SELECT count(*), sum(id), sum(length(name)) FROM {view}").fetchone()
            info = info_of(client, f"SELECT id, name FROM {view}")
            expect(len(info.endpoints) > 1, f"{len(info.endpoints)} endpoints of {view}")
            sql.execute("UPDATE readings SET id = id + 2000000 WHERE id BETWEEN 1000 AND 2000")
            parts = [client.do_get(endpoint.ticket).read_all() for endpoint in info.endpoints]
            for part in parts:
                expect(part.num_rows > 5_000, f"a part of {part.num_rows} rows of {view}")
            equal(summary(pyarrow.concat_tables(parts)), tuple(int(value) for value in expected), f"the parts of {view}")
            sql.execute("UPDATE readings SET id = id - 2000000 WHERE id BETWEEN 2001000 AND 2002000")
    server.stop()


def summary(table):
    ids = table["id"].to_pylist()
    equal(len(set(ids)), len(ids), "different rows")
    return len(ids), sum(ids), sum(len(name) for name in table["name"].to_pylist())


def metadata(folder):
    server = Server(folder).start()
    with psycopg.connect(server.address(), autocommit=True) as sql, connect(server) as flight:
        sql.execute("CREATE TABLE readings (time timestamptz, device text, value double precision, PRIMARY KEY (device, time))")
        sql.execute("CREATE VIEW latest AS SELECT device, value FROM readings")
        sql.execute("CREATE MATERIALIZED VIEW means AS SELECT device, avg(value) AS mean FROM readings GROUP BY device")
        objects = flight.adbc_get_objects(depth="all", catalog_filter="tidemark").read_all().to_pylist()
        schemas = {schema["db_schema_name"]: schema["db_schema_tables"] for schema in objects[0]["catalog_db_schemas"]}
        tables = {table["table_name"]: table for table in schemas["public"]}
        equal({name: table["table_type"] for name, table in tables.items()},
              {"readings": "TABLE", "latest": "VIEW", "means": "MATERIALIZED VIEW"}, "tables")
        equal([column["column_name"] for column in tables["readings"]["table_columns"]], ["time", "device", "value"],
              "columns")
        expect("pg_class" in {table["table_name"] for table in schemas["pg_catalog"]}, "pg_class is not listed")
        schema = flight.adbc_get_table_schema("readings", db_schema_filter="public")
        equal(schema.types, [pyarrow.timestamp("us", "UTC"), pyarrow.string(), pyarrow.float64()], "the table's schema")
        expect("MATERIALIZED VIEW" in flight.adbc_get_table_types(), "table types")
        equal(flight.adbc_get_info()["vendor_name"], "Tidemark", "name of the server")
        with flight.cursor() as cursor:
            equal(cursor.adbc_execute_schema("SELECT count(*) AS n FROM means").field("n").type, pyarrow.int64(),
                  "schema of a query that is not run")
    server.stop()


def logins(folder):
    """A password opens the door and a wrong one does not, in each way that clients know."""
    server = Server(folder, password="right one").start()
    key = adbc_driver_manager.DatabaseOptions
    with connect(server, **{key.USERNAME.value: "tidemark", key.PASSWORD.value: "right one"}) as flight:
        equal(rows_of(fetch(flight, "SELECT 1")), [(1,)], "ADBC with the password")

    def attempt(**options):
        with connect(server, **options) as flight:
            fetch(flight, "SELECT 1")

    wrong = lambda: attempt(**{key.USERNAME.value: "tidemark", key.PASSWORD.value: "wrong"})
    refused(wrong, "28P01", "password authentication failed")
    refused(lambda: attempt(**{key.USERNAME.value: "root", key.PASSWORD.value: "right one"}), "28000")
    refused(attempt, "28000", "HINT")

    client = pyarrow.flight.connect(server.flight_address())
    token = client.authenticate_basic_token(b"tidemark", b"right one")
    options = pyarrow.flight.FlightCallOptions(headers=[token])
    equal(len(info_of(client, "SELECT 1", options).endpoints), 1, "endpoints with a token")
    basic = b"Basic " + base64.b64encode(b"tidemark:right one")
    options = pyarrow.flight.FlightCallOptions(headers=[(b"authorization", basic)])
    equal(len(info_of(client, "SELECT 1", options).endpoints), 1, "endpoints with a password for one call")
    error = refused(lambda: client.authenticate_basic_token(b"tidemark", b"wrong"), "28P01")
    expect(isinstance(error, pyarrow.flight.FlightUnauthenticatedError), repr(error))
    error = refused(lambda: info_of(client, "SELECT 1"), "28000")
    expect(isinstance(error, pyarrow.flight.FlightUnauthenticatedError), repr(error))
    server.stop()


def errors(folder):
    """SQLSTATE, hint and the right kind of exception; and what is not built is refused by name."""
    server = Server(folder).start()
    server.psql("CREATE TABLE readings (temperature bigint)")
    server.psql("INSERT INTO readings VALUES (0)")
    with connect(server) as flight:
        error = refused(lambda: fetch(flight, "SELECT temperatur FROM readings"), "42703", 'Perhaps you meant "temperature"')
        expect(isinstance(error, adbc_driver_manager.ProgrammingError), repr(error))
        details = {name: value for name, value in error.details}
        expect(b"42703" in details.values() or "42703" in str(details), f"no SQLSTATE among the details: {details}")
        refused(lambda: fetch(flight, "SELECT 1 / temperature FROM readings"), "22012", "division by zero")
        refused(lambda: fetch(flight, "SELECT * FROM nothing"), "42P01")
        error = refused(lambda: fetch(flight, "INSERT INTO readings VALUES (1)"), "0A000", "--listen-sql")
        expect(isinstance(error, adbc_driver_manager.NotSupportedError), repr(error))
        with flight.cursor() as cursor:
            rows = pyarrow.table({"temperature": [1]})
            refused(lambda: cursor.adbc_ingest("readings", rows, mode="append"), "0A000", "COPY")
        equal(rows_of(fetch(flight, "SELECT count(*) FROM readings")), [(1,)], "rows afterwards")
    server.stop()


def parameters(folder):
    server = Server(folder).start()
    server.psql("CREATE TABLE readings (id integer, device text, value numeric(10, 2), time timestamptz)")
    server.psql("INSERT INTO readings VALUES (1, 'a', 1.25, '2026-01-01 00:00Z'), (2, 'b', 2.50, '2026-01-02 00:00Z')")
    with connect(server) as flight:
        one = lambda sql, *values: rows_of(fetch(flight, sql, list(values)))
        equal(one("SELECT id FROM readings WHERE device = $1", "b"), [(2,)], "a text")
        equal(one("SELECT id FROM readings WHERE id >= $1 AND device < $2", 1, "b"), [(1,)], "a number and a text")
        equal(one("SELECT id FROM readings WHERE value > $1", decimal.Decimal("1.25")), [(2,)], "a decimal")
        moment = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.timezone.utc)
        equal(one("SELECT id FROM readings WHERE time > $1", moment), [(2,)], "a time")
        equal(one("SELECT id FROM readings WHERE device = $1", None), [], "NULL")
        refused(lambda: one("SELECT $1::integer", "x"), "22P02")
        refused(lambda: one("SELECT $1::smallint", 70000), "22003")
        refused(lambda: one("SELECT $1::integer + $2::integer", 1), "08P01")
    server.stop()


def cpu_seconds(server):
    fields = pathlib.Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def is_idle(server):
    before = cpu_seconds(server)
    time.sleep(0.5)
    return cpu_seconds(server) - before < 0.1


def cancel(folder):
    """A query stops, and the server comes to rest, when it is cancelled, left, or takes too long."""
    server = Server(folder).start()
    busy = "SELECT count(*) FROM generate_series(1, 1000000000000) AS a(n) WHERE n % 7 = 8"
    with connect(server) as flight, flight.cursor() as cursor:
        timer = threading.Timer(1.0, cursor.adbc_cancel)
        timer.start()
        started = time.monotonic()

        def run():
            cursor.execute(busy)
            cursor.fetch_arrow_table()

        refused(run)
        timer.join()
        expect(time.monotonic() - started < 30, "cancelled too late")
        eventually(lambda: is_idle(server), "at rest after adbc_cancel")

    client = pyarrow.flight.connect(server.flight_address())
    info = info_of(client, ENDLESS)
    reader = client.do_get(info.endpoints[0].ticket)
    expect(reader.read_chunk().data.num_rows > 0, "no rows")
    # Nobody reads: the server must wait, not gather.
    eventually(lambda: is_idle(server), "at rest while nobody reads")
    reader.cancel()
    del reader
    # A stream that is left in the middle may be begun again, and another client may cancel the query for good.
    reader = client.do_get(info.endpoints[0].ticket)
    first = reader.read_chunk().data
    # Threads share the work, so that it may begin with any of the first few batches.
    expect(first.column(0)[0].as_py() < 1_000_000, f"begins with {first.column(0)[0]}")
    cancelled = pyarrow.flight.connect(server.flight_address()).do_action(
        pyarrow.flight.Action("CancelFlightInfo", cancel_request(info)))
    equal([bytes(result.body) for result in cancelled], [b"\x08\x01"], "CANCELLED")
    refused(lambda: drain(reader), "57014", "user request")
    eventually(lambda: is_idle(server), "at rest after CancelFlightInfo")

    options = pyarrow.flight.FlightCallOptions(headers=[(b"tidemark-set-statement-timeout", b"300ms")])
    info = info_of(client, busy, options)
    # Its own code: pyarrow makes a KeyboardInterrupt of a cancelled `read_all`, and a timeout is none.
    try:
        client.do_get(info.endpoints[0].ticket).read_all()
        raise Failure("a query without end is read")
    except pyarrow.flight.FlightTimedOutError as error:
        expect("57014" in str(error) and "statement timeout" in str(error), str(error))
    eventually(lambda: is_idle(server), "at rest after the timeout")
    server.stop()


def cancel_request(info):
    """CancelFlightInfoRequest by hand: the info is its first field."""
    serialized = info.serialize()
    return b"\x0a" + varint(len(serialized)) + serialized


def drain(reader):
    while reader.read_chunk().data is not None:
        pass


def clean_stop(folder):
    """SIGTERM ends a server although a client is in the middle of an endless result, and tells the client."""
    server = Server(folder).start()
    client = pyarrow.flight.connect(server.flight_address())
    reader = client.do_get(info_of(client, ENDLESS).endpoints[0].ticket)
    reader.read_chunk()
    ended = []

    def read_on():
        try:
            drain(reader)
        except (pyarrow.ArrowException, StopIteration) as error:
            ended.append(str(error))

    thread = threading.Thread(target=read_on)
    thread.start()
    server.stop()
    thread.join(30)
    expect(ended and "57P01" in ended[0], f"what the client heard: {ended}")


if __name__ == "__main__":
    main(
        types_round_trip, read_your_writes, parallel_endpoints, metadata, logins, errors, parameters, cancel, clean_stop,
    )
