"""Real sensor data through a real psql, with views running, half of it tiered, and the server killed twice.

The weather of three airports and an industrial machine's temperature are loaded by \\copy with NULL 'NA', in chunks and
out of order. The server is killed once between an acknowledged chunk and its flush, and once in the middle of a COPY. At
the end every view verifies, and every number equals the one computed from the files here, bit by bit.
"""

import collections
import csv
import datetime
import fractions
import math
import random
import subprocess

from harness import DATA, Failure, Server, equal, expect, main

WEATHER = DATA / "nyc_weather_2013.csv"
MACHINE = DATA / "machine_temperature.csv"
CHUNKS = 8

SCHEMA = """
CREATE TABLE weather (
    origin text NOT NULL, year integer, month integer, day integer, hour integer,
    temp double precision, dewp double precision, humid double precision, wind_dir integer,
    wind_speed double precision, wind_gust double precision, precip double precision, pressure double precision,
    visib double precision, time_hour timestamptz
);
CREATE TABLE airports (code text PRIMARY KEY, name text, region text);
CREATE TABLE machine (ts timestamp, value double precision) APPEND ONLY;

CREATE MATERIALIZED VIEW weather_hourly AS
SELECT origin, time_bucket(INTERVAL '1 hour', time_hour) AS hour, count(*) AS readings, avg(temp) AS temp,
    max(wind_gust) AS gust
FROM weather GROUP BY origin, time_bucket(INTERVAL '1 hour', time_hour);
CREATE MATERIALIZED VIEW weather_daily AS
SELECT origin, time_bucket(INTERVAL '1 day', time_hour) AS day, count(*) AS readings, count(temp) AS known,
    sum(temp) AS total, avg(temp) AS temp, min(temp) AS low, max(temp) AS high, sum(precip) AS precip
FROM weather GROUP BY origin, time_bucket(INTERVAL '1 day', time_hour);
CREATE MATERIALIZED VIEW weather_monthly AS
SELECT origin, date_trunc('month', time_hour) AS month, count(*) AS readings, avg(humid) AS humid,
    sum(wind_dir) AS wind_dir, min(pressure) AS low_pressure, last(temp, time_hour) AS closing
FROM weather GROUP BY origin, date_trunc('month', time_hour);
CREATE MATERIALIZED VIEW weather_by_region AS
SELECT a.region, count(*) AS readings, sum(w.temp) AS total, avg(w.temp) AS temp
FROM weather w JOIN airports a ON a.code = w.origin GROUP BY a.region;
CREATE MATERIALIZED VIEW warm_days AS
SELECT origin, count(*) AS days FROM weather_daily WHERE high > 80 GROUP BY origin;
CREATE MATERIALIZED VIEW machine_daily AS
SELECT time_bucket(INTERVAL '1 day', ts) AS day, count(*) AS readings, avg(value) AS mean, min(value) AS low,
    max(value) AS high, sum(value) AS total
FROM machine GROUP BY time_bucket(INTERVAL '1 day', ts);

INSERT INTO airports VALUES
    ('EWR', 'Newark', 'New York'), ('JFK', 'John F. Kennedy', 'New York'), ('LGA', 'La Guardia', 'New York'),
    ('SFO', 'San Francisco', 'California');
"""

VIEWS = ["weather_hourly", "weather_daily", "weather_monthly", "weather_by_region", "warm_days", "machine_daily"]


def chunked(path, folder, name, count):
    """Cuts a file's rows, shuffled always the same way, into `count` files with the header; returns their paths."""
    header, *lines = path.read_text().splitlines()
    random.Random(2013).shuffle(lines)
    paths = []
    for index in range(count):
        chunk = folder / f"{name}-{index}.csv"
        part = lines[index * len(lines) // count:(index + 1) * len(lines) // count]
        chunk.write_text("\n".join([header, *part]) + "\n")
        paths.append((chunk, len(part)))
    return paths


def copy_in(server, table, path):
    server.psql(lines=f"\\copy {table} FROM '{path}' WITH (FORMAT csv, HEADER, NULL 'NA')\n")


def count(server, table):
    return int(server.value(f"SELECT count(*) FROM {table}"))


def kill_within_copy(server, table, path):
    """Sends half of a chunk by psql, kills the server, and sees psql fail."""
    header, *lines = path.read_text().splitlines()
    client = subprocess.Popen(
        ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c",
         f"\\copy {table} FROM pstdin WITH (FORMAT csv, HEADER, NULL 'NA')"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=server.environment(),
    )
    client.stdin.write("\n".join([header, *lines[:len(lines) // 2]]) + "\n")
    client.stdin.flush()
    server.kill()
    try:
        _, errors = client.communicate("\n".join(lines[len(lines) // 2:]) + "\n", timeout=60)
    except BrokenPipeError:
        errors = client.stderr.read()
        client.wait(60)
    expect(client.returncode != 0, f"psql did not notice the server's death: {errors}")


def load(server, folder):
    """Both files in chunks, with the deaths in between. Returns nothing: the rows are in."""
    weather = chunked(WEATHER, folder, "weather", CHUNKS)
    machine = chunked(MACHINE, folder, "machine", 4)
    rows = 0
    for index, (path, size) in enumerate(weather):
        if index == CHUNKS // 2:
            server.psql("FLUSH")
            server.psql("UPDATE airports SET region = 'New Jersey' WHERE code = 'EWR'")
            server.psql("DELETE FROM airports WHERE code = 'SFO'")
        if index == CHUNKS // 2 + 2:
            kill_within_copy(server, "weather", path)
            server.start()
            equal(count(server, "weather"), rows, "rows after the server was killed in the middle of a COPY")
        copy_in(server, "weather", path)
        rows += size
        if index == CHUNKS // 2:
            server.kill()
            server.start()
            expect(server.replayed_commits() > 0, "start-up replayed no commit after an acknowledged chunk")
        equal(count(server, "weather"), rows, f"rows after chunk {index}")
    for index, (path, _) in enumerate(machine):
        copy_in(server, "machine", path)
        if index == 1:
            server.psql("FLUSH")


def number(text):
    return None if text is None or text == "NA" else float(text)


def exact_sum(values):
    """The correctly rounded sum of the known values, None without any."""
    known = [value for value in values if value is not None]
    return math.fsum(known) if known else None


def exact_mean(values):
    known = [value for value in values if value is not None]
    return float(sum(map(fractions.Fraction, known)) / len(known)) if known else None


def least(values):
    return min((value for value in values if value is not None), default=None)


def greatest(values):
    return max((value for value in values if value is not None), default=None)


def read_weather():
    with open(WEATHER, newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["at"] = datetime.datetime.strptime(row["time_hour"], "%Y-%m-%dT%H:%M:%SZ")
    return rows


def grouped(rows, key):
    groups = collections.defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return groups


def compare(server, sql, expected, what):
    """Rows of a query against expected ones: texts, integers, and floats bit by bit."""
    kinds = next(iter(expected))
    actual = set()
    for row in server.rows(sql):
        actual.add(tuple(
            value if value is None or isinstance(kind, str) else type(kind)(value)
            for value, kind in zip(row, kinds, strict=True)
        ))
    if actual != expected:
        missing, extra = sorted(expected - actual, key=str)[:5], sorted(actual - expected, key=str)[:5]
        raise Failure(f"{what}: expected but missing {missing}, not expected {extra}")


def floats(rows, column):
    return [number(row[column]) for row in rows]


def check_totals(server):
    weather = read_weather()
    day = lambda row: (row["origin"], row["at"].strftime("%Y-%m-%d"))
    daily = grouped(weather, day)
    compare(
        server,
        "SELECT origin, day::date, readings, known, total, temp, low, high, precip FROM weather_daily"
        " WHERE known > 0 AND precip IS NOT NULL",
        {
            (origin, date, len(rows), sum(value is not None for value in floats(rows, "temp")),
             exact_sum(floats(rows, "temp")), exact_mean(floats(rows, "temp")), least(floats(rows, "temp")),
             greatest(floats(rows, "temp")), exact_sum(floats(rows, "precip")))
            for (origin, date), rows in daily.items()
            if least(floats(rows, "temp")) is not None and least(floats(rows, "precip")) is not None
        },
        "weather_daily",
    )
    hourly = grouped(weather, lambda row: (row["origin"], row["at"].strftime("%Y-%m-%d %H:00:00+00")))
    compare(
        server,
        "SELECT origin, hour, readings, temp FROM weather_hourly WHERE temp IS NOT NULL",
        {
            (origin, hour, len(rows), exact_mean(floats(rows, "temp")))
            for (origin, hour), rows in hourly.items() if least(floats(rows, "temp")) is not None
        },
        "weather_hourly",
    )
    monthly = grouped(weather, lambda row: (row["origin"], row["at"].strftime("%Y-%m-01")))
    compare(
        server,
        "SELECT origin, month::date, readings, humid, wind_dir, low_pressure FROM weather_monthly",
        {
            (origin, month, len(rows), exact_mean(floats(rows, "humid")),
             sum(int(row["wind_dir"]) for row in rows if row["wind_dir"] != "NA"), least(floats(rows, "pressure")))
            for (origin, month), rows in monthly.items()
        },
        "weather_monthly",
    )
    regions = grouped(weather, lambda row: "New Jersey" if row["origin"] == "EWR" else "New York")
    compare(
        server,
        "SELECT region, readings, total, temp FROM weather_by_region",
        {
            (region, len(rows), exact_sum(floats(rows, "temp")), exact_mean(floats(rows, "temp")))
            for region, rows in regions.items()
        },
        "weather_by_region",
    )
    warm = collections.Counter(
        origin for (origin, _), rows in daily.items() if (greatest(floats(rows, "temp")) or 0) > 80
    )
    compare(server, "SELECT origin, days FROM warm_days", set(warm.items()), "warm_days")
    with open(MACHINE, newline="") as file:
        machine = grouped(csv.DictReader(file), lambda row: row["timestamp"][:10])
    compare(
        server,
        "SELECT day::date, readings, mean, low, high, total FROM machine_daily",
        {
            (date, len(rows), exact_mean(floats(rows, "value")), least(floats(rows, "value")),
             greatest(floats(rows, "value")), exact_sum(floats(rows, "value")))
            for date, rows in machine.items()
        },
        "machine_daily",
    )
    equal(count(server, "weather"), len(weather), "rows of weather")
    equal(count(server, "machine"), sum(map(len, machine.values())), "rows of machine")


def real_data(folder):
    server = Server(folder).start()
    server.psql(lines=SCHEMA)
    load(server, server.folder)
    for view in VIEWS:
        server.verify(view)
    check_totals(server)
    server.stop()
    server.start()
    for view in VIEWS:
        server.verify(view)
    check_totals(server)
    server.stop()


if __name__ == "__main__":
    main(real_data)
