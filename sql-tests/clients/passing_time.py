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


def kept_since(server, commit):
    """What is kept of a view's changes behind a commit: commit, weight, device."""
    with psycopg.connect(server.address()) as reader:
        reader.execute(f"DECLARE changes CURSOR FOR SUBSCRIBE recent WITH (PROGRESS) AS OF COMMIT {commit}")
        told = reader.execute("FETCH ALL changes WITH (timeout = '0s')").fetchall()
    return sorted((number, int(weight), device) for (number, progressed, weight, device) in told if not progressed)


def kept_changes_go_on_over_kills(folder):
    """What was kept of the changes that time made is the same after kill -9, and goes on: together it adds up to the view."""
    server = Server(folder, settings=TICKS).start()
    server.psql(lines=SCHEMA)
    server.psql("ALTER MATERIALIZED VIEW recent SET (subscribe_retention = '1 hour')")
    with psycopg.connect(server.address()) as reader:
        reader.execute("DECLARE c CURSOR FOR SUBSCRIBE recent WITH (PROGRESS)")
        first = reader.execute("FETCH 1 c").fetchone()[0]
    for life in range(3):
        server.psql(lines=f"INSERT INTO readings VALUES (now() - INTERVAL '2 seconds', 'soon_{life}'),"
                          f" (now() + INTERVAL '1 hour', 'later_{life}');")
        eventually(lambda: f"soon_{life}" not in devices(server, "recent"), "a row goes")
        if life == 1:
            server.psql("FLUSH")
        before = kept_since(server, first)
        equal([change[1:] for change in before if change[2] == f"soon_{life}"], [(1, f"soon_{life}"), (-1, f"soon_{life}")], "changes")
        # This one goes when the server is down, or after.
        server.psql(lines=f"INSERT INTO readings VALUES (now() - INTERVAL '2.8 seconds', 'down_{life}');")
        server.kill()
        server.start()
        eventually(lambda: f"down_{life}" not in devices(server, "recent"), "a row goes after the start")
        after = kept_since(server, first)
        equal(after[:len(before)], before, "changes that were kept before the kill")
        content = {}
        for _, weight, device in after:
            content[device] = content.get(device, 0) + weight
        equal(sorted(device for device, count in content.items() if count), devices(server, "recent"), "what the changes add up to")
    server.verify("recent")
    server.stop()


if __name__ == "__main__":
    main(a_row_goes_by_itself, time_goes_on_over_a_kill, kept_changes_go_on_over_kills)
