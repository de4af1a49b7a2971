"""What people type first into psql: \\d and its family, pg_matviews, \\x, \\copy, \\gdesc, errors with a caret."""

from harness import Server, expect, main

SCHEMA = """
CREATE TABLE readings (device text NOT NULL, ts timestamptz, temperature double precision DEFAULT 20.5, price numeric(10,2));
CREATE TABLE devices (name varchar(20) PRIMARY KEY, load integer);
CREATE MATERIALIZED VIEW averages AS SELECT device, avg(temperature) AS temperature FROM readings GROUP BY device;
CREATE VIEW warm AS SELECT device FROM averages WHERE temperature > 30;
INSERT INTO readings (device) VALUES ('truck_0');
"""

# Command, and words that its output must hold.
COMMANDS = [
    ("\\d", ["readings", "devices", "averages", "warm", "materialized view", "table", "public", "tidemark"]),
    ("\\dt", ["readings", "devices"]),
    ("\\dt+", ["readings", "devices"]),
    ("\\dm", ["averages", "materialized view"]),
    ("\\dv", ["warm"]),
    ("\\d readings", ["device", "text", "not null", "timestamp with time zone", "double precision", "20.5", "numeric(10,2)"]),
    ("\\d devices", ["name", "character varying(20)", "devices_pkey", "PRIMARY KEY"]),
    ("\\d averages", ["Materialized view", "device", "temperature"]),
    ("\\d+ averages", ["Materialized view", "SELECT", "avg("]),
    ("\\d warm", ["View", "device"]),
    ("\\dn", ["public"]),
    ("\\du", ["tidemark"]),
    ("\\l", ["tidemark", "UTF8"]),
    ("\\dp", ["readings"]),
    ("\\di", ["devices_pkey"]),
    ("\\conninfo", ["tidemark"]),
    ("\\encoding", ["UTF8"]),
    ("SELECT device, temperature FROM readings \\gdesc", ["device", "text", "double precision"]),
    ("\\sv warm", ["SELECT"]),
    ("SELECT matviewname, definition FROM pg_matviews;", ["averages", "avg("]),
    ("TABLE readings;", ["truck_0", "20.5"]),
]


def backslash_commands(folder):
    server = Server(folder).start()
    server.psql(lines=SCHEMA)
    wrong = []
    for command, words in COMMANDS:
        done = server.psql(lines=command + "\n", check=False)
        missing = [word for word in words if word not in done.stdout]
        if done.returncode != 0 or done.stderr or missing:
            wrong.append(f"{command}: missing {missing}\n{done.stdout}{done.stderr}")
        if "_row_id" in done.stdout:
            wrong.append(f"{command} shows a hidden column\n{done.stdout}")
    expect(not wrong, "\n".join(wrong))
    server.stop()


def carets(folder):
    """psql draws the caret from the position; the hint names the nearest column."""
    server = Server(folder).start()
    server.psql(lines=SCHEMA)
    text = server.psql("SELECT device, temperatur FROM readings", check=False).stderr
    lines = text.splitlines()
    expect('ERROR:  column "temperatur" does not exist' in text, text)
    expect("LINE 1: SELECT device, temperatur FROM readings" in text, text)
    expect(any(line.index("^") == len("LINE 1: SELECT device, ") for line in lines if line.strip() == "^"), text)
    expect("HINT:" in text and "temperature" in text.split("HINT:")[1], text)
    text = server.psql("SELECT *\nFROM reading", check=False).stderr
    expect('relation "reading" does not exist' in text and "LINE 2: FROM reading" in text, text)
    text = server.psql("SELECT * FROM readings WHERE device = 'ü' AND temperatur > 1", check=False).stderr
    caret = [line for line in text.splitlines() if line.strip() == "^"]
    expect(caret and caret[0].index("^") == len("LINE 1: SELECT * FROM readings WHERE device = 'ü' AND "), text)
    server.stop()


if __name__ == "__main__":
    main(backslash_commands, carets)
