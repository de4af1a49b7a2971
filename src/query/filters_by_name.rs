//! DataFusion's rules that push filters down a physical plan, kept from plans in which two columns have one name.
//!
//! They follow a column through a projection by its name (55.2): of `SELECT a.d, b.d FROM a RIGHT JOIN b ON ... WHERE least(a.d, b.d) = 'x'` they
//! make a filter of `b` that reads `least(b.d, b.d)`, and TopK's filters go the same way. What a query's text filters by
//! is pushed down in the logical plan, where columns have their tables' names too, and is given to scans from there.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;

/// A rule, or none where it would take one column for another.
#[derive(Debug)]
struct WhereNamesDiffer(Arc<dyn PhysicalOptimizerRule + Send + Sync>);

/// The rule itself, unless it is one that goes by names.
pub fn guarded(rule: Arc<dyn PhysicalOptimizerRule + Send + Sync>) -> Arc<dyn PhysicalOptimizerRule + Send + Sync> {
    if rule.name().starts_with("FilterPushdown") { Arc::new(WhereNamesDiffer(rule)) } else { rule }
}

impl PhysicalOptimizerRule for WhereNamesDiffer {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        if names_differ(&plan) { self.0.optimize(plan, config) } else { Ok(plan) }
    }

    fn name(&self) -> &str {
        self.0.name()
    }

    fn schema_check(&self) -> bool {
        self.0.schema_check()
    }
}

fn names_differ(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let schema = plan.schema();
    let mut names = HashSet::with_capacity(schema.fields().len());
    schema.fields().iter().all(|field| names.insert(field.name())) && plan.children().into_iter().all(names_differ)
}
