"""Many writers of one row: 16 clients, 1600 increments, and a view over it, all equal."""

import pathlib
import re
import shutil
import subprocess

from harness import Failure, Server, equal, expect, main


def pgbench_path():
    """Debian keeps it beside the server's programs."""
    beside = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/pgbench"))
    path = shutil.which("pgbench") or (str(beside[-1]) if beside else None)
    if path is None:
        raise Failure("pgbench is not installed: apt-get install postgresql-contrib")
    return path


def pgbench(server, script, *arguments):
    path = server.folder / "script.sql"
    path.write_text(script + "\n")
    done = subprocess.run(
        [pgbench_path(), "-n", "-f", str(path), *arguments],
        capture_output=True, text=True, timeout=240, env=server.environment(), check=False,
    )
    expect(done.returncode == 0, f"pgbench: {done.stdout}{done.stderr}")
    failed = re.search(r"number of failed transactions: (\d+)", done.stdout)
    expect(failed is None or failed.group(1) == "0", done.stdout)
    return done.stdout


def prepare(folder):
    server = Server(folder).start()
    server.psql(lines="""
        CREATE TABLE k (id integer PRIMARY KEY, v bigint);
        INSERT INTO k VALUES (1, 0), (2, 0);
        CREATE MATERIALIZED VIEW k_total AS SELECT sum(v) AS v, count(*) AS keys FROM k;
    """)
    return server


def finish(server, expected):
    equal(server.rows("SELECT id, v FROM k WHERE id = 1"), [["1", str(expected)]], "v")
    equal(server.rows("SELECT v, keys FROM k_total"), [[str(expected), "2"]], "the view over v")
    server.verify("k_total")
    server.kill()
    server.start()
    equal(server.rows("SELECT v FROM k WHERE id = 1"), [[str(expected)]], "v after kill -9 and a new start")
    equal(server.rows("SELECT v FROM k_total"), [[str(expected)]], "the view after kill -9 and a new start")
    server.stop()


def increments(folder):
    server = prepare(folder)
    pgbench(server, "update k set v = v + 1 where id = 1;", "-c16", "-j2", "-t100")
    finish(server, 1600)


def increments_prepared(folder):
    """The same over the extended protocol with prepared statements."""
    server = prepare(folder)
    pgbench(server, "update k set v = v + 1 where id = 1;", "-c8", "-j2", "-t50", "-M", "prepared")
    finish(server, 400)


if __name__ == "__main__":
    main(increments, increments_prepared)
