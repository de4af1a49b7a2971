//! From a query's syntax to a logical plan, and which plans can be materialized views.

mod view_plan;

pub use view_plan::{AggregateCall, AggregateFunction, Node, OperatorId, ViewPlan};
