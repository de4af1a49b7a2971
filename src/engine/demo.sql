-- The demo of Tidemark: a fleet of trucks that report, and views over what they report.
--
--   tidemark demo                                   starts a server and feeds it this file
--   tidemark demo --print-sql | psql -f - ...       the same on any server
--
-- Every statement may run again: what exists is left as it is.

-- Two streams of generated rows, with the dirt of real ones: some rows come late, some never, some twice, some incomplete.
-- The columns are the connector's own.
CREATE SOURCE IF NOT EXISTS readings
    WITH (connector = 'fleet', table = 'readings', trucks = 40, rate = 400, seed = 1);

CREATE SOURCE IF NOT EXISTS diagnostics
    WITH (connector = 'fleet', table = 'diagnostics', trucks = 40, rate = 80, seed = 1);

-- Who the trucks are. Change a row and the views over it follow:
--   UPDATE trucks SET driver = 'Trish' WHERE name = 'truck_7';
CREATE TABLE IF NOT EXISTS trucks (
    name text PRIMARY KEY,
    fleet text NOT NULL,
    driver text NOT NULL,
    model text NOT NULL,
    device_version text NOT NULL,
    load_capacity double precision NOT NULL,
    fuel_capacity double precision NOT NULL,
    nominal_fuel_consumption double precision NOT NULL
);

INSERT INTO trucks VALUES
    ('truck_0', 'North', 'Derek', 'F-150', 'v2.3', 2000, 200, 15),
    ('truck_1', 'West', 'Derek', 'G-2000', 'v1.0', 5000, 300, 19),
    ('truck_2', 'South', 'Seth', 'F-150', 'v2.0', 2000, 200, 15),
    ('truck_3', 'West', 'Seth', 'F-150', 'v2.0', 2000, 200, 15),
    ('truck_4', 'West', 'Derek', 'G-2000', 'v2.0', 5000, 300, 19),
    ('truck_5', 'East', 'Trish', 'F-150', 'v2.0', 2000, 200, 15),
    ('truck_6', 'West', 'Rodney', 'G-2000', 'v2.0', 5000, 300, 19),
    ('truck_7', 'North', 'Derek', 'G-2000', 'v2.0', 5000, 300, 19),
    ('truck_8', 'South', 'Seth', 'H-2', 'v1.5', 1500, 150, 12),
    ('truck_9', 'West', 'Andy', 'F-150', 'v2.0', 2000, 200, 15),
    ('truck_10', 'North', 'Derek', 'F-150', 'v2.0', 2000, 200, 15),
    ('truck_11', 'North', 'Seth', 'H-2', 'v1.5', 1500, 150, 12),
    ('truck_12', 'South', 'Seth', 'G-2000', 'v2.0', 5000, 300, 19),
    ('truck_13', 'South', 'Rodney', 'G-2000', 'v1.5', 5000, 300, 19),
    ('truck_14', 'North', 'Derek', 'G-2000', 'v1.0', 5000, 300, 19),
    ('truck_15', 'South', 'Trish', 'F-150', 'v2.0', 2000, 200, 15),
    ('truck_16', 'South', 'Trish', 'H-2', 'v2.0', 1500, 150, 12),
    ('truck_17', 'West', 'Derek', 'F-150', 'v2.3', 2000, 200, 15),
    ('truck_18', 'South', 'Albert', 'F-150', 'v1.5', 2000, 200, 15),
    ('truck_19', 'South', 'Trish', 'G-2000', 'v2.0', 5000, 300, 19),
    ('truck_20', 'West', 'Albert', 'H-2', 'v1.0', 1500, 150, 12),
    ('truck_21', 'West', 'Albert', 'F-150', 'v1.5', 2000, 200, 15),
    ('truck_22', 'North', 'Rodney', 'F-150', 'v2.0', 2000, 200, 15),
    ('truck_23', 'East', 'Derek', 'G-2000', 'v2.0', 5000, 300, 19),
    ('truck_24', 'East', 'Albert', 'H-2', 'v2.0', 1500, 150, 12),
    ('truck_25', 'North', 'Albert', 'F-150', 'v2.0', 2000, 200, 15),
    ('truck_26', 'South', 'Seth', 'F-150', 'v1.0', 2000, 200, 15),
    ('truck_27', 'West', 'Andy', 'G-2000', 'v2.0', 5000, 300, 19),
    ('truck_28', 'North', 'Andy', 'F-150', 'v1.5', 2000, 200, 15),
    ('truck_29', 'East', 'Albert', 'G-2000', 'v1.0', 5000, 300, 19),
    ('truck_30', 'West', 'Albert', 'G-2000', 'v2.0', 5000, 300, 19),
    ('truck_31', 'East', 'Andy', 'G-2000', 'v1.5', 5000, 300, 19),
    ('truck_32', 'West', 'Derek', 'G-2000', 'v1.0', 5000, 300, 19),
    ('truck_33', 'East', 'Trish', 'F-150', 'v1.5', 2000, 200, 15),
    ('truck_34', 'West', 'Seth', 'H-2', 'v1.0', 1500, 150, 12),
    ('truck_35', 'South', 'Seth', 'H-2', 'v1.5', 1500, 150, 12),
    ('truck_36', 'East', 'Derek', 'G-2000', 'v2.0', 5000, 300, 19),
    ('truck_37', 'West', 'Andy', 'G-2000', 'v1.5', 5000, 300, 19),
    ('truck_38', 'South', 'Andy', 'F-150', 'v2.3', 2000, 200, 15),
    ('truck_39', 'West', 'Andy', 'F-150', 'v2.3', 2000, 200, 15)
ON CONFLICT DO NOTHING;

-- Averages per truck and minute, with the truck's fleet and driver.
CREATE MATERIALIZED VIEW IF NOT EXISTS truck_minutes AS
SELECT m.truck, t.fleet, t.driver, m.minute, m.readings, m.velocity, m.fuel_consumption
FROM (
    SELECT truck, time_bucket(INTERVAL '1 minute', time) AS minute, count(*) AS readings,
           avg(velocity) AS velocity, avg(fuel_consumption) AS fuel_consumption
    FROM readings
    GROUP BY truck, time_bucket(INTERVAL '1 minute', time)
) AS m
JOIN trucks AS t ON t.name = m.truck;

-- The newest reading of each truck, however late or often a row came.
CREATE MATERIALIZED VIEW IF NOT EXISTS latest_readings AS
SELECT truck, max(time) AS time, last(latitude, time) AS latitude, last(longitude, time) AS longitude,
       last(velocity, time) AS velocity
FROM readings
GROUP BY truck;

-- Trucks whose tank is below 10 % by their newest report.
CREATE MATERIALIZED VIEW IF NOT EXISTS low_fuel AS
SELECT d.truck, t.driver, d.time, d.fuel_state
FROM (
    SELECT truck, max(time) AS time, last(fuel_state, time) AS fuel_state
    FROM diagnostics
    GROUP BY truck
) AS d
JOIN trucks AS t ON t.name = d.truck
WHERE d.fuel_state < 0.1;

-- Trucks that stood still for ten minutes.
CREATE MATERIALIZED VIEW IF NOT EXISTS standing_trucks AS
SELECT truck, time_bucket(INTERVAL '10 minutes', time) AS ten_minutes, avg(velocity) AS velocity
FROM readings
GROUP BY truck, time_bucket(INTERVAL '10 minutes', time)
HAVING avg(velocity) < 1;
