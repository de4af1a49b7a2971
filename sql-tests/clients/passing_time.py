"""Rows of a view with now() come and go though nobody commits anything; a subscriber sees it, and so does a start after
kill -9."""

import psycopg

from harness import Server, equal, eventually, main

SCHEMA = """
CREATE TABLE readings (time timestamptz, device text);
CREATE MATERIALIZED VIEW recent AS SELECT device FROM readings WHERE time > now() - INTERVAL '3 seconds';
CREATE MATERIALIZED VIEW silent AS SELECT device, max(time) AS newest FROM readings GROUP BY device
    HAVING max(time) < now() - INTERVAL '3 seconds';
"""
TICKS = {"TIDEMARK__DATAFLOW__TICK_MS": "200"}


def devices(server, view):
    return sorted(device for (device,) in server.rows(f"SELECT device FROM {view}"))


def a_row_goes_by_itself(folder):
    server = Server(folder, settings=TICKS).start()
    server.psql(lines=SCHEMA)
    with psycopg.connect(server.address(), autocommit=False) as reader:
        reader.execute("DECLARE changes CURSOR FOR SUBSCRIBE recent")
        server.psql(lines="INSERT INTO readings VALUES (now(), 'truck_0'), (now() - INTERVAL '1 hour', 'truck_1');")
        changes = []
        while len(changes) < 2:
            changes += reader.execute("FETCH ALL changes WITH (timeout = '20s')").fetchall()
        # Its commit, its weight, its device.
        equal([(int(weight), device) for (_, weight, device) in changes], [(1, "truck_0"), (-1, "truck_0")], "changes")
    equal(devices(server, "recent"), [], "recent rows")
    eventually(lambda: devices(server, "silent") == ["truck_0", "truck_1"], "both devices are silent")
    for view in ["recent", "silent"]:
        server.verify(view)
    server.stop()


def time_goes_on_over_a_kill(folder):
    server = Server(folder, settings=TICKS).start()
    server.psql(lines=SCHEMA)
    server.psql(lines="INSERT INTO readings VALUES (now() + INTERVAL '2 seconds', 'truck_0'), (now() + INTERVAL '1 hour', 'truck_1');")
    equal(devices(server, "recent"), ["truck_0", "truck_1"], "recent rows")
    server.kill()
    server.start()
    eventually(lambda: devices(server, "recent") == ["truck_1"], "the row goes after the start")
    eventually(lambda: devices(server, "silent") == ["truck_0"], "the device is silent after the start")
    for view in ["recent", "silent"]:
        server.verify(view)
    server.stop()
    server.start()
    equal(devices(server, "recent"), ["truck_1"], "recent rows after a clean stop")
    server.verify("recent")
    server.stop()


if __name__ == "__main__":
    main(a_row_goes_by_itself, time_goes_on_over_a_kill)
