//! Definitions as of the last durable commit: the manifest's, and what the log did to them since.

use super::finding::Finding;
use super::wal::line;
use crate::catalog::{Catalog, MaterializedView, Relation, Table, TableKind};
use crate::commit::read_record;
use crate::error::Result;
use crate::functions;
use crate::io::Disk;
use crate::plan::ViewPlan;
use crate::tier::{Manifest, Tier};
use crate::wal::survey;

/// Appends every relation. Returns what is wrong with the definitions themselves. Errors: 58030, the store's, and where no
/// manifest can be read.
pub async fn show_catalog(disk: &dyn Disk, tier: Option<&Tier>, out: &mut String) -> Result<Vec<Finding>> {
    let manifest = match tier {
        Some(tier) => tier.load().await?.manifest,
        None => Manifest::default(),
    };
    let catalog = catalog_at_head(disk, &manifest)?;
    for relation in catalog.relations() {
        match relation {
            Relation::Table(table) => show_table(table, out),
            Relation::View(view) => {
                line(out, &format!("view {} ({})", view.name, view.id));
                line(out, &format!("  {}", view.sql));
            }
            Relation::MaterializedView(view) => {
                line(
                    out,
                    &format!("materialized view {} ({}), a plan of {} bytes", view.name, view.id, view.plan.len()),
                );
                line(out, &format!("  {}", view.sql));
            }
        }
    }
    if catalog.relations().next().is_none() {
        line(out, "no relations");
    }
    Ok(bad_plans(&catalog))
}

/// The manifest's catalog with the log's changes. Records that do not decode are passed over: `check` names them.
pub(super) fn catalog_at_head(disk: &dyn Disk, manifest: &Manifest) -> Result<Catalog> {
    let mut catalog = manifest.catalog.clone();
    survey(disk, &mut |record| {
        if record.commit > manifest.commit
            && let Ok(commit) = read_record(&record)
        {
            commit.catalog.iter().for_each(|change| catalog.apply(change));
        }
        Ok(())
    })?;
    Ok(catalog)
}

/// Stored plans that this version cannot read.
pub(super) fn bad_plans(catalog: &Catalog) -> Vec<Finding> {
    let registry = functions::session_state(Default::default(), Default::default()).build();
    let bad = |view: &std::sync::Arc<MaterializedView>| {
        let error = ViewPlan::from_bytes(&view.plan, &registry).err()?;
        Some(Finding::error(format!("plan of materialized view {}", view.name), &error))
    };
    catalog.materialized_views().filter_map(bad).collect()
}

fn show_table(table: &Table, out: &mut String) {
    let kind = match &table.kind {
        _ if table.source.is_some() => "source",
        TableKind::Plain => "table",
        TableKind::AppendOnly => "append only table",
        TableKind::PrimaryKey { .. } => "table with a primary key",
    };
    line(out, &format!("{kind} {} ({}), version {}", table.name, table.id, table.schema_version));
    for (position, column) in table.columns.iter().enumerate() {
        let key = table.key().is_some_and(|key| key.contains(&position));
        let text = format!(
            "  {} {}{}{}",
            column.name,
            column.sql_type,
            if column.not_null { " not null" } else { "" },
            if key { " key" } else { "" }
        );
        line(out, &text);
    }
}
