//! The tables that a fleet reports, and their columns.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, StringBuilder, TimestampMicrosecondArray};

use super::motion::{Channel, Truck};
use crate::types::SqlType;

/// Which of the fleet's reports a source holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FleetTable {
    Readings,
    Diagnostics,
}

/// One row before it has columns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Report {
    pub truck: Truck,
    pub tick: i64,
    /// When the truck measured it, which may be long before it arrives.
    pub time_us: i64,
}

/// A column that can be reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FleetColumn {
    pub name: &'static str,
    measure: Measure,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Measure {
    Time,
    TruckName,
    Latitude,
    Longitude,
    Elevation,
    Velocity,
    Heading,
    Grade,
    FuelConsumption,
    FuelState,
    CurrentLoad,
    Status,
}

const TIME: FleetColumn = FleetColumn { name: "time", measure: Measure::Time };
const TRUCK: FleetColumn = FleetColumn { name: "truck", measure: Measure::TruckName };

const READINGS: &[FleetColumn] = &[
    TIME,
    TRUCK,
    FleetColumn { name: "latitude", measure: Measure::Latitude },
    FleetColumn { name: "longitude", measure: Measure::Longitude },
    FleetColumn { name: "elevation", measure: Measure::Elevation },
    FleetColumn { name: "velocity", measure: Measure::Velocity },
    FleetColumn { name: "heading", measure: Measure::Heading },
    FleetColumn { name: "grade", measure: Measure::Grade },
    FleetColumn { name: "fuel_consumption", measure: Measure::FuelConsumption },
];

const DIAGNOSTICS: &[FleetColumn] = &[
    TIME,
    TRUCK,
    FleetColumn { name: "fuel_state", measure: Measure::FuelState },
    FleetColumn { name: "current_load", measure: Measure::CurrentLoad },
    FleetColumn { name: "status", measure: Measure::Status },
];

impl FleetTable {
    pub fn from_name(name: &str) -> Option<FleetTable> {
        match name {
            "readings" => Some(FleetTable::Readings),
            "diagnostics" => Some(FleetTable::Diagnostics),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            FleetTable::Readings => "readings",
            FleetTable::Diagnostics => "diagnostics",
        }
    }

    pub fn columns(self) -> &'static [FleetColumn] {
        match self {
            FleetTable::Readings => READINGS,
            FleetTable::Diagnostics => DIAGNOSTICS,
        }
    }
}

impl FleetColumn {
    pub fn sql_type(self) -> SqlType {
        match self.measure {
            Measure::Time => SqlType::Timestamptz,
            Measure::TruckName => SqlType::Text,
            Measure::Status => SqlType::Int4,
            _ => SqlType::Float8,
        }
    }

    /// The column of all reports. Some measures get lost; `nullable` says that the source's column takes NULLs for them.
    pub fn array(self, reports: &[Report], nullable: bool) -> ArrayRef {
        match self.measure {
            Measure::Time => {
                let times = reports.iter().map(|report| report.time_us);
                Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
            }
            Measure::TruckName => truck_names(reports),
            Measure::Status => {
                Arc::new(Int32Array::from_iter_values(reports.iter().map(|report| report.truck.status(report.time_us))))
            }
            Measure::Latitude => floats(reports, Truck::latitude),
            Measure::Longitude => floats(reports, Truck::longitude),
            Measure::Elevation => floats(reports, Truck::elevation),
            Measure::Velocity => floats(reports, Truck::velocity),
            Measure::Heading => floats(reports, Truck::heading),
            Measure::Grade => floats(reports, Truck::grade),
            Measure::FuelState => floats(reports, Truck::fuel_state),
            Measure::FuelConsumption => floats_or_null(reports, nullable, Truck::fuel_consumption),
            Measure::CurrentLoad => floats_or_null(reports, nullable, Truck::current_load),
        }
    }
}

fn truck_names(reports: &[Report]) -> ArrayRef {
    use std::fmt::Write;
    let mut names = StringBuilder::with_capacity(reports.len(), reports.len() * 10);
    for report in reports {
        // Writing into a builder cannot fail.
        let _ = write!(names, "truck_{}", report.truck.number);
        names.append_value("");
    }
    Arc::new(names.finish())
}

fn floats(reports: &[Report], measure: fn(Truck, i64) -> f64) -> ArrayRef {
    Arc::new(Float64Array::from_iter_values(reports.iter().map(|report| measure(report.truck, report.time_us))))
}

fn floats_or_null(reports: &[Report], nullable: bool, measure: fn(Truck, i64) -> f64) -> ArrayRef {
    const NULL_ONE_IN: u64 = 200;
    Arc::new(Float64Array::from_iter(reports.iter().map(|report| {
        let lost = nullable && report.truck.chance(Channel::NoValue, report.tick, NULL_ONE_IN);
        (!lost).then(|| measure(report.truck, report.time_us))
    })))
}
