"""The limit of memory: state of views several times as large as the limit leaves for disk and comes back, and the process
stays within the limit as the machine sees it."""

from harness import Server, equal, expect, main

LIMIT = 192 << 20
#: Each with some 600 bytes of state, most of them a text.
GROUPS = 1_400_000
STEPS = 20


def peak_bytes(server):
    for line in open(f"/proc/{server.process.pid}/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


def state_leaves_and_comes_back(folder):
    server = Server(folder, settings={"TIDEMARK__MEMORY__LIMIT_BYTES": str(LIMIT)}).start()
    server.psql("CREATE TABLE readings (device bigint, value double precision, note text) APPEND ONLY")
    server.psql(
        "CREATE MATERIALIZED VIEW by_device AS SELECT device, count(*) AS n, sum(value) AS total, min(value) AS low,"
        " max(value) AS high, avg(value) AS mean, max(note) AS note FROM readings GROUP BY device"
    )
    for step in range(STEPS):
        first, last = step * GROUPS // STEPS + 1, (step + 1) * GROUPS // STEPS
        server.psql(
            f"INSERT INTO readings SELECT value * 7919 % {GROUPS}, value::double precision / 4,"
            f" repeat('note ', 90) || value FROM generate_series({first}, {last}) AS s(value)"
        )
        equal(server.value("SELECT count(*) FROM by_device"), str(last), "devices")
    # Late rows for groups that left long ago, everywhere in the state.
    server.psql(f"INSERT INTO readings SELECT value * 997 % {GROUPS}, 1, 'late' FROM generate_series(1, 2000) AS t(value)")
    late = server.rows("SELECT count(*), sum(n) FROM by_device WHERE n > 1")
    equal(late, [["2000", "4000"]], "groups with a late row")
    total = server.rows("SELECT count(*), sum(n), sum(total) FROM by_device")
    equal(total, server.rows(f"SELECT {GROUPS}::bigint, count(*), sum(value) FROM readings"), "the view and its query")
    component, bytes_now, limit, evicted, reloaded = server.rows(
        "SELECT component, bytes, limit_bytes, evicted_bytes, reloaded_bytes FROM tidemark.memory WHERE component = 'state'"
    )[0]
    server.psql("FLUSH")
    peak = peak_bytes(server)
    at_rest = sum(path.stat().st_size for path in (server.data_dir / "state").glob("*.pages"))
    print(
        f"limit {LIMIT >> 20} MiB, peak {peak >> 20} MiB; state at rest {at_rest >> 20} MiB, in memory"
        f" {int(bytes_now) >> 20} MiB, evicted {int(evicted) >> 20} MiB, reloaded {int(reloaded) >> 20} MiB"
    )
    expect(at_rest > 3 * LIMIT, f"state at rest: {at_rest}")
    expect(int(evicted) > 3 * LIMIT and int(reloaded) > 0, f"evicted {evicted}, reloaded {reloaded}")
    expect(peak <= LIMIT * 1.15, f"peak {peak}, limit {LIMIT}")
    server.verify("by_device")
    server.kill()
    server.start()
    equal(server.rows("SELECT count(*), sum(n), sum(total) FROM by_device"), total, "the view after a kill")
    server.stop()


if __name__ == "__main__":
    main(state_leaves_and_comes_back)
