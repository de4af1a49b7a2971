"""SQLAlchemy 2 over psycopg: what its inspector sees, reflection, Core and the ORM."""

import contextlib
import datetime
import decimal

import sqlalchemy as sa
from sqlalchemy import orm

from harness import Failure, Server, equal, expect, main

UTC = datetime.timezone.utc
NOON = datetime.datetime(2026, 6, 1, 12, tzinfo=UTC)

DEFINITIONS = """
CREATE TABLE devices (
    id bigint PRIMARY KEY, name text NOT NULL, kind varchar(20) DEFAULT 'truck', price numeric(10,2),
    active boolean DEFAULT true, first_seen timestamptz);
CREATE TABLE readings (device bigint, ts timestamp, temperature double precision, raw bytea) APPEND ONLY;
CREATE TABLE routes (origin integer, target integer, day date, length real, PRIMARY KEY (origin, target));
CREATE VIEW active_devices AS SELECT id, name FROM devices WHERE active;
CREATE MATERIALIZED VIEW by_device AS
    SELECT device, count(*) AS n, avg(temperature) AS mean FROM readings GROUP BY device;
"""


@contextlib.contextmanager
def engine_over(folder):
    """An engine over a server with the definitions above."""
    server = Server(folder).start()
    server.psql(DEFINITIONS)
    engine = sa.create_engine(f"postgresql+psycopg://tidemark@127.0.0.1:{server.port}/tidemark")
    yield engine
    engine.dispose()
    server.stop()


def names(folder):
    """Tables, views and schemas, by the inspector."""
    with engine_over(folder) as engine:
        inspector = sa.inspect(engine)
        equal(sorted(inspector.get_table_names()), ["devices", "readings", "routes"], "tables")
        equal(inspector.get_view_names(), ["active_devices"], "views")
        equal(inspector.get_materialized_view_names(), ["by_device"], "materialized views")
        equal(inspector.get_temp_table_names(), [], "temporary tables")
        equal(inspector.get_temp_view_names(), [], "temporary views")
        equal(inspector.get_sequence_names(), [], "sequences")
        expect("public" in inspector.get_schema_names(), "schema public")
        equal(inspector.default_schema_name, "public", "the default schema")
        equal(inspector.has_table("devices"), True, "has_table of a table")
        equal(inspector.has_table("by_device"), True, "has_table of a materialized view")
        equal(inspector.has_table("nothing"), False, "has_table of nothing")
        equal(inspector.has_schema("public"), True, "has_schema")
        equal(inspector.has_sequence("nothing"), False, "has_sequence")
        equal(inspector.get_enums(), [], "enums")
        equal(inspector.get_domains(), [], "domains")
        expect("temperature" in inspector.get_view_definition("by_device"), "a materialized view's definition")
        expect("devices" in inspector.get_view_definition("active_devices"), "a view's definition")
        expect("devices" in inspector.get_table_names(schema="public"), "tables of a schema by name")
        equal(engine.dialect.server_version_info[0] >= 14, True, "a version of PostgreSQL that is looked after")


def columns(folder):
    """Columns with their types, defaults and constraints."""
    with engine_over(folder) as engine:
        inspector = sa.inspect(engine)
        found = {column["name"]: column for column in inspector.get_columns("devices")}
        equal(list(found), ["id", "name", "kind", "price", "active", "first_seen"], "columns, in their order")
        for name, kind in {
            "id": sa.BigInteger, "name": sa.Text, "kind": sa.VARCHAR, "price": sa.Numeric, "active": sa.Boolean,
            "first_seen": sa.TIMESTAMP,
        }.items():
            expect(isinstance(found[name]["type"], kind), f"{name} is {found[name]['type']!r}")
        equal((found["price"]["type"].precision, found["price"]["type"].scale), (10, 2), "numeric(10,2)")
        equal(found["kind"]["type"].length, 20, "varchar(20)")
        equal(found["first_seen"]["type"].timezone, True, "timestamptz")
        equal([found[name]["nullable"] for name in found], [False, False, True, True, True, True], "nullable")
        expect("truck" in found["kind"]["default"], "a default")
        equal(found["name"]["default"], None, "no default")
        by_device = {column["name"]: column["type"] for column in inspector.get_columns("by_device")}
        expect(isinstance(by_device["n"], sa.BigInteger), "a count in a materialized view")
        expect(isinstance(by_device["mean"], sa.Double), "an average in a materialized view")
        equal(inspector.get_pk_constraint("devices")["constrained_columns"], ["id"], "a primary key")
        equal(inspector.get_pk_constraint("routes")["constrained_columns"], ["origin", "target"], "of two columns")
        equal(inspector.get_pk_constraint("readings")["constrained_columns"], [], "none")
        equal(inspector.get_indexes("devices"), [], "indexes besides the primary key's")
        equal(inspector.get_foreign_keys("devices"), [], "foreign keys")
        equal(inspector.get_unique_constraints("devices"), [], "unique constraints")
        equal(inspector.get_check_constraints("devices"), [], "check constraints")
        equal(inspector.get_table_comment("devices"), {"text": None}, "a comment")
        equal(inspector.get_table_options("devices"), {}, "options")
        try:
            inspector.get_columns("nothing")
            raise Failure("columns of a table that does not exist")
        except sa.exc.NoSuchTableError:
            pass


def reflection(folder):
    """MetaData.reflect and autoload_with, and queries of what they found."""
    with engine_over(folder) as engine:
        metadata = sa.MetaData()
        metadata.reflect(engine)
        equal(sorted(metadata.tables), ["devices", "readings", "routes"], "reflected tables")
        with_views = sa.MetaData()
        with_views.reflect(engine, views=True)
        equal(sorted(with_views.tables), ["active_devices", "by_device", "devices", "readings", "routes"], "with views")
        devices = sa.Table("devices", sa.MetaData(), autoload_with=engine)
        equal([column.name for column in devices.primary_key], ["id"], "a reflected primary key")
        with engine.begin() as connection:
            connection.execute(devices.insert(), [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}])
        with engine.connect() as connection:
            rows = connection.execute(sa.select(devices.c.id, devices.c.kind, devices.c.active).order_by(devices.c.id))
            equal(rows.all(), [(1, "truck", True), (2, "truck", True)], "rows with defaults")


def created_tables(folder):
    """Tables that SQLAlchemy creates, finds, and drops."""
    with engine_over(folder) as engine:
        metadata = sa.MetaData()
        sa.Table(
            "samples", metadata,
            sa.Column("id", sa.Integer, primary_key=True, autoincrement=False), sa.Column("at", sa.DateTime(timezone=True)),
            sa.Column("value", sa.Float, nullable=False), sa.Column("note", sa.String(40), server_default="none"),
        )
        metadata.create_all(engine)
        metadata.create_all(engine)
        equal(sa.inspect(engine).has_table("samples"), True, "created")
        metadata.drop_all(engine)
        equal(sa.inspect(engine).has_table("samples"), False, "dropped")


def core(folder):
    """INSERT, SELECT, UPDATE and DELETE with bind parameters of every type, and results by name."""
    with engine_over(folder) as engine:
        metadata = sa.MetaData()
        devices = sa.Table("devices", metadata, autoload_with=engine)
        readings = sa.Table("readings", metadata, autoload_with=engine)
        by_device = sa.Table("by_device", metadata, autoload_with=engine)
        with engine.begin() as connection:
            done = connection.execute(
                devices.insert().values(
                    id=1, name="a", price=decimal.Decimal("12.50"), active=None, first_seen=NOON,
                ).returning(devices.c.id, devices.c.price)
            )
            equal(done.one(), (1, decimal.Decimal("12.50")), "INSERT RETURNING")
            connection.execute(devices.insert(), [{"id": n, "name": f"d{n}", "first_seen": NOON} for n in range(2, 50)])
            start = datetime.datetime(2026, 6, 1)
            connection.execute(readings.insert(), [
                {"device": n % 3, "ts": start + datetime.timedelta(minutes=n), "temperature": n / 2, "raw": bytes([n])}
                for n in range(30)
            ])
        with engine.connect() as connection:
            count = connection.scalar(sa.select(sa.func.count()).select_from(devices).where(devices.c.id > 10))
            equal(count, 39, "count with a bind parameter")
            some = sa.select(devices.c.id).where(devices.c.id.in_([3, 5, 700])).order_by(devices.c.id.desc())
            equal(connection.scalars(some).all(), [5, 3], "IN with a list")
            like = sa.select(devices.c.name).where(devices.c.name.startswith("d4")).order_by(devices.c.name).limit(2).offset(1)
            equal(connection.scalars(like).all(), ["d40", "d41"], "LIKE, LIMIT and OFFSET")
            null = sa.select(devices.c.id).where(devices.c.active.is_(None))
            equal(connection.scalars(null).all(), [1], "IS NULL")
            seen = sa.select(devices.c.first_seen).where(devices.c.first_seen.between(NOON, NOON)).limit(1)
            equal(connection.scalar(seen), NOON, "a timestamptz there and back")
            joined = (
                sa.select(devices.c.name, sa.func.max(readings.c.temperature).label("most"))
                .join(readings, readings.c.device == devices.c.id).group_by(devices.c.name)
                .having(sa.func.count() > 5).order_by(sa.desc("most"))
            )
            equal(connection.execute(joined).mappings().all(), [{"name": "d2", "most": 14.5}, {"name": "a", "most": 14.0}], "a join")
            view = sa.select(by_device).order_by(by_device.c.device)
            equal(connection.execute(view).all(), [(0, 10, 6.75), (1, 10, 7.25), (2, 10, 7.75)], "a materialized view")
            raw = sa.select(readings.c.raw).where(readings.c.ts == start + datetime.timedelta(minutes=7))
            equal(connection.scalar(raw), b"\x07", "bytes")
            text = sa.text("SELECT :a + 1, CAST(:b AS text), :c").bindparams(a=1, b="x", c=None)
            equal(connection.execute(text).one(), (2, "x", None), "text with parameters")
            case = sa.select(sa.case((devices.c.id < 3, "low"), else_="high")).where(devices.c.id.in_([2, 3])).order_by(devices.c.id)
            equal(connection.scalars(case).all(), ["low", "high"], "CASE")
            ranked = sa.select(sa.func.row_number().over(order_by=devices.c.id)).limit(1)
            equal(connection.scalar(ranked), 1, "row_number")
            cte = sa.select(devices.c.id).where(devices.c.id < 4).cte("few")
            equal(connection.scalar(sa.select(sa.func.sum(cte.c.id))), 6, "WITH")
            streamed = connection.execution_options(stream_results=True, yield_per=7).execute(sa.select(devices.c.id))
            equal(len(streamed.all()), 49, "a server-side cursor")
        with engine.begin() as connection:
            equal(connection.execute(devices.update().where(devices.c.id > 40).values(kind="van")).rowcount, 9, "UPDATE")
            equal(connection.execute(devices.delete().where(devices.c.id == sa.bindparam("x")), {"x": 49}).rowcount, 1, "DELETE")
            upsert = sa.dialects.postgresql.insert(devices).values(id=1, name="again")
            upsert = upsert.on_conflict_do_update(index_elements=["id"], set_={"name": upsert.excluded.name})
            connection.execute(upsert)
            equal(connection.scalar(sa.select(devices.c.name).where(devices.c.id == 1)), "again", "ON CONFLICT")
        with engine.connect() as connection:
            connection.execute(devices.delete())
            connection.rollback()
            equal(connection.scalar(sa.select(sa.func.count()).select_from(devices)), 48, "after a rollback")


class Base(orm.DeclarativeBase):
    pass


class Device(Base):
    __tablename__ = "devices"
    id: orm.Mapped[int] = orm.mapped_column(sa.BigInteger, primary_key=True, autoincrement=False)
    name: orm.Mapped[str]
    kind: orm.Mapped[str | None] = orm.mapped_column(sa.String(20), server_default="truck")
    price: orm.Mapped[decimal.Decimal | None] = orm.mapped_column(sa.Numeric(10, 2))
    first_seen: orm.Mapped[datetime.datetime | None] = orm.mapped_column(sa.DateTime(timezone=True))


def sessions(folder):
    """The ORM: add, commit, change, roll back, savepoints, errors."""
    with engine_over(folder) as engine:
        with orm.Session(engine) as session:
            session.add_all([Device(id=1, name="a", price=decimal.Decimal("1.25")), Device(id=2, name="b", first_seen=NOON)])
            session.commit()
            device = session.get(Device, 1)
            equal((device.name, device.kind, device.price), ("a", "truck", decimal.Decimal("1.25")), "an object read back")
            device.name = "changed"
            session.commit()
            equal(session.scalar(sa.select(Device.name).where(Device.id == 1)), "changed", "an object changed")
            session.delete(session.get(Device, 2))
            session.flush()
            equal(session.scalar(sa.select(sa.func.count(Device.id))), 1, "within the transaction")
            session.rollback()
            equal(session.scalar(sa.select(sa.func.count(Device.id))), 2, "after a rollback")
            session.commit()
            with session.begin():
                session.add(Device(id=3, name="kept"))
                with contextlib.suppress(ZeroDivisionError), session.begin_nested():
                    session.add(Device(id=4, name="dropped"))
                    session.flush()
                    raise ZeroDivisionError
            equal(session.scalars(sa.select(Device.id).order_by(Device.id)).all(), [1, 2, 3], "a savepoint rolled back")
            session.commit()
            session.expunge_all()
            session.add(Device(id=1, name="twice"))
            try:
                session.commit()
                raise Failure("a key that is there already")
            except sa.exc.IntegrityError as error:
                equal(error.orig.sqlstate, "23505", "SQLSTATE")
            session.rollback()
            equal(session.query(Device).filter(Device.name.ilike("%KEPT%")).one().id, 3, "after the error")


if __name__ == "__main__":
    main(names, columns, reflection, created_tables, core, sessions)
