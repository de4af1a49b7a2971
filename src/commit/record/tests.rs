use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int16Array,
    Int32Array, Int64Array, IntervalMonthDayNanoArray, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Field, IntervalMonthDayNano, Schema};

use super::*;
use crate::catalog::{Column, Table, TableKind};
use crate::types::SqlType;

/// A column of every SQL type, with a NULL in each.
fn every_type() -> RecordBatch {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("boolean", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("int2", Arc::new(Int16Array::from(vec![Some(i16::MIN), None]))),
        ("int4", Arc::new(Int32Array::from(vec![None, Some(i32::MAX)]))),
        ("int8", Arc::new(Int64Array::from(vec![Some(i64::MIN), None]))),
        ("float4", Arc::new(Float32Array::from(vec![Some(-0.0), None]))),
        ("float8", Arc::new(Float64Array::from(vec![Some(f64::INFINITY), None]))),
        (
            "numeric",
            Arc::new(Decimal128Array::from(vec![Some(10i128.pow(37)), None]).with_precision_and_scale(38, 10).unwrap()),
        ),
        ("text", Arc::new(StringArray::from(vec![Some("Grüße"), None]))),
        ("bytea", Arc::new(BinaryArray::from(vec![Some(&b"\0\xff"[..]), None]))),
        ("date", Arc::new(Date32Array::from(vec![Some(-1), None]))),
        ("timestamp", Arc::new(TimestampMicrosecondArray::from(vec![Some(i64::MAX), None]))),
        ("timestamptz", Arc::new(TimestampMicrosecondArray::from(vec![Some(1), None]).with_timezone("UTC"))),
        ("interval", Arc::new(IntervalMonthDayNanoArray::from(vec![Some(IntervalMonthDayNano::new(1, -2, 3)), None]))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn with_row_id(rows: &RecordBatch) -> RecordBatch {
    let mut fields: Vec<_> = rows.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(ROW_ID, DataType::Int64, false)));
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new(Int64Array::from_iter_values(0..rows.num_rows() as i64)));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

fn everything() -> Write {
    let rows = every_type();
    let column = Column { name: "v".into(), sql_type: SqlType::Int8, not_null: true, default: Some("1".into()) };
    let table = Table {
        id: RelationId(16_385),
        name: "t".into(),
        columns: vec![column],
        kind: TableKind::PrimaryKey { columns: vec![0] },
        schema_version: 1,
        upsert: false,
        source: None,
        stored: Vec::new(),
        dropped: Vec::new(),
        last_field_id: 0,
        watermark: None,
    };
    Write {
        tables: vec![
            TableWrite {
                table: RelationId(16_384),
                schema_version: 3,
                deletes: Some(with_row_id(&rows)),
                inserts: Some(rows.clone()),
            },
            TableWrite { table: RelationId(16_390), schema_version: 1, inserts: Some(rows.slice(0, 0)), deletes: None },
        ],
        catalog: vec![CatalogChange::CreateTable(Arc::new(table)), CatalogChange::Drop(RelationId(16_384))],
        positions: vec![SourcePosition { source: RelationId(16_384), position: vec![0, 255] }],
        tier: vec![TierChange { table: RelationId(16_384), flushed: CommitNumber(7), manifest: 9 }],
        watermarks: vec![WatermarkAdvance { table: RelationId(16_384), at_us: -7 }],
    }
}

fn body_of(writes: &[Write]) -> Vec<u8> {
    let encoded: Vec<Vec<u8>> = writes.iter().map(|write| encode_write(write).unwrap()).collect();
    encode_body(-5, (10..).zip(&encoded).map(|(id, write)| (id, write.as_slice())).collect::<Vec<_>>().into_iter())
}

#[test]
fn everything_a_write_holds_comes_back() {
    let writes = [everything(), Write::default()];
    let (timestamp_us, parts) = decode_body(&body_of(&writes)).unwrap();
    assert_eq!(timestamp_us, -5);
    assert_eq!(parts.iter().map(|part| part.first_row_id).collect::<Vec<_>>(), [10, 11]);
    for (part, write) in parts.iter().zip(&writes) {
        assert_eq!(format!("{:?}", part.write), format!("{write:?}"));
    }
    assert_eq!(first_row_ids(&parts[0].write, 10), (vec![10, 12], 12));
}

#[test]
fn a_body_cut_anywhere_is_refused_and_never_panics() {
    let body = body_of(&[everything()]);
    for length in 0..body.len() {
        let error = decode_body(&body[..length]).unwrap_err();
        assert_eq!(error.state(), SqlState::DATA_CORRUPTED, "cut at {length}");
    }
    let mut longer = body.clone();
    longer.push(0);
    assert_eq!(decode_body(&longer).unwrap_err().detail(), Some("1 bytes follow its end."));
}

#[test]
fn a_later_version_is_refused_by_its_number() {
    let mut body = body_of(&[Write::default()]);
    body[0] = 3;
    let error = decode_body(&body).unwrap_err();
    assert_eq!(error.state(), SqlState::FEATURE_NOT_SUPPORTED);
    assert_eq!(error.message(), "a commit record has version 3");
}

#[test]
fn a_record_from_before_watermarks_is_read() {
    let write = Write { watermarks: Vec::new(), ..everything() };
    let mut body = body_of(std::slice::from_ref(&write));
    body[0] = 1;
    body.truncate(body.len() - 4);
    let (_, parts) = decode_body(&body).unwrap();
    assert_eq!(format!("{:?}", parts[0].write), format!("{write:?}"));
}

#[test]
fn batches_that_would_not_combine_are_refused_before_anything_happened() {
    let rows = every_type();
    let write = |inserts: Option<RecordBatch>, deletes: Option<RecordBatch>| TableWrite {
        table: RelationId(16_384),
        schema_version: 1,
        inserts,
        deletes,
    };
    let refused = |tables: Vec<TableWrite>| {
        encode_write(&Write { tables, ..Write::default() }).unwrap_err().message().to_string()
    };
    let said = refused(vec![write(None, Some(rows.clone()))]);
    assert_eq!(said, "internal error: deletes of table 16384 without row ids");
    let other = rows.project(&[0, 1]).unwrap();
    let said = refused(vec![write(Some(rows.clone()), Some(with_row_id(&other)))]);
    assert_eq!(said, "internal error: batches of table 16384 differ in their columns");
    let said = refused(vec![write(Some(rows), None), write(Some(other), None)]);
    assert_eq!(said, "internal error: batches of table 16384 differ in their columns");
}
