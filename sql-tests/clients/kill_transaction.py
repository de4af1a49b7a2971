"""kill -9 between two statements of a transaction leaves nothing of it; after COMMIT's answer it leaves everything."""

import psycopg

from harness import Server, equal, main

SCHEMA = """
CREATE TABLE readings (device text, temperature double precision);
CREATE TABLE devices (name text PRIMARY KEY, load integer);
INSERT INTO readings VALUES ('truck_0', 1);
INSERT INTO devices VALUES ('truck_0', 1), ('truck_1', 1);
CREATE MATERIALIZED VIEW totals AS SELECT device, sum(temperature) AS total FROM readings GROUP BY device;
"""

STATEMENTS = [
    "INSERT INTO readings VALUES ('truck_0', 2), ('truck_1', 3)",
    "UPDATE devices SET load = load + 100",
    "DELETE FROM devices WHERE name = 'truck_1'",
    "CREATE TABLE extra (n integer)",
]

BEFORE = (
    [["truck_0", "1"]],
    [["truck_0", "1"], ["truck_1", "1"]],
    [["truck_0", "1"]],
    [],
)
AFTER = (
    [["truck_0", "1"], ["truck_0", "2"], ["truck_1", "3"]],
    [["truck_0", "101"]],
    [["truck_0", "3"], ["truck_1", "3"]],
    [["extra"]],
)


def state(server):
    return (
        sorted(server.rows("SELECT device, temperature FROM readings")),
        sorted(server.rows("SELECT name, load FROM devices")),
        sorted(server.rows("SELECT device, total FROM totals")),
        server.rows("SELECT tablename FROM pg_tables WHERE tablename = 'extra'"),
    )


def killed_after(folder, statements, commit):
    server = Server(folder).start()
    server.psql(lines=SCHEMA)
    connection = psycopg.connect(server.address())
    for statement in STATEMENTS[:statements]:
        connection.execute(statement)
    if commit:
        connection.commit()
    server.kill()
    connection.close()
    server.start()
    equal(state(server), AFTER if commit else BEFORE, "state after the new start")
    server.verify("totals")
    server.stop()


def between_first_and_second(folder):
    killed_after(folder, 1, commit=False)


def before_commit(folder):
    killed_after(folder, len(STATEMENTS), commit=False)


def after_commit(folder):
    killed_after(folder, len(STATEMENTS), commit=True)


if __name__ == "__main__":
    main(between_first_and_second, before_commit, after_commit)
