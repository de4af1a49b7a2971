//! Whole COPYs: every type, every cut, every refusal with its place.

use arrow::compute::concat_batches;

use super::*;
use crate::types::SqlType;
use crate::types::text::{ColumnText, EncodeSettings};

fn column(name: &str, sql_type: SqlType) -> Column {
    Column { name: name.to_owned(), sql_type, not_null: false, default: None }
}

fn readings() -> Vec<Column> {
    let device = Column { not_null: true, ..column("device", SqlType::Text) };
    vec![column("time", SqlType::Timestamptz), device, column("temperature", SqlType::Float8)]
}

fn decode(columns: Vec<Column>, options: &CopyOptions, data: &[u8], piece: usize) -> Result<Vec<String>> {
    let mut decoder = CopyDecoder::new(columns, options, "readings", Tz::UTC)?;
    let mut batches = Vec::new();
    for piece in data.chunks(piece.max(1)) {
        batches.extend(decoder.push(piece)?);
    }
    batches.extend(decoder.finish()?);
    Ok(lines(&concat_batches(&decoder.schema(), &batches)?))
}

fn lines(batch: &RecordBatch) -> Vec<String> {
    let settings = EncodeSettings::default();
    let columns: Vec<_> = batch.columns().iter().map(|array| ColumnText::new(array.as_ref()).unwrap()).collect();
    let value = |column: &ColumnText<'_>, row| {
        let mut out = b"NULL".to_vec();
        if !column.is_null(row) {
            out.clear();
            column.write(row, &settings, &mut out);
        }
        String::from_utf8(out).unwrap()
    };
    let line = |row| columns.iter().map(|column| value(column, row)).collect::<Vec<_>>().join("|");
    (0..batch.num_rows()).map(line).collect()
}

fn check(columns: Vec<Column>, options: &CopyOptions, data: &str, expected: &[&str]) {
    for piece in 1..=data.len().max(1) {
        let found = decode(columns.clone(), options, data.as_bytes(), piece).unwrap();
        assert_eq!(found, expected, "pieces of {piece}");
    }
}

fn check_refused(options: &CopyOptions, data: &[u8], state: SqlState, message: &str, context: &str) {
    for piece in [1, 7, data.len()] {
        let error = decode(readings(), options, data, piece).unwrap_err();
        assert_eq!((error.state(), error.message()), (state, message));
        assert_eq!(error.context(), Some(context));
    }
}

#[test]
fn csv_rows_in_any_pieces() {
    check(
        readings(),
        &CopyOptions { header: CopyHeader::Present, null: "NA".to_owned(), ..CopyOptions::csv() },
        "time,device,temperature\n2024-07-01 12:00:00Z,truck_1,21.5\r\n2024-07-01,\"a\nb\",NA\nNA,,-0",
        &["2024-07-01 12:00:00+00|truck_1|21.5", "2024-07-01 00:00:00+00|a\nb|NULL", "NULL||-0"],
    );
}

#[test]
fn text_rows_in_any_pieces() {
    check(
        readings(),
        &CopyOptions::text(),
        "2024-07-01 12:00\ttruck\\t1\t1e3\n\\N\tü\t\\N\n\\.\nnot read",
        &["2024-07-01 12:00:00+00|truck\t1|1000", "NULL|ü|NULL"],
    );
}

#[test]
fn every_type() {
    let columns = vec![
        column("a", SqlType::Boolean),
        column("b", SqlType::Int2),
        column("c", SqlType::Int4),
        column("d", SqlType::Int8),
        column("e", SqlType::Float4),
        column("f", SqlType::Numeric { precision: 5, scale: 1 }),
        column("g", SqlType::Varchar(Some(3))),
        column("h", SqlType::Bytea),
        column("i", SqlType::Date),
        column("j", SqlType::Timestamp),
        column("k", SqlType::Interval),
    ];
    let nulls = ["NULL"; 11].join("|");
    check(
        columns,
        &CopyOptions::csv(),
        "t,-1,2,3,0.1,1.25,abc,\\x00ff,2024-02-29,2024-02-29 01:02:03.5,1 day\n,,,,,,,,,,\n",
        &["t|-1|2|3|0.1|1.3|abc|\\x00ff|2024-02-29|2024-02-29 01:02:03.5|1 day", &nulls],
    );
}

#[test]
fn wrong_values_name_line_and_column() {
    let csv = CopyOptions::csv();
    check_refused(
        &csv,
        b"2024-07-01,a,1\n2024-07-01,\"b\nb\",1\n2024-07-01,c,abc\n",
        SqlState::INVALID_TEXT_REPRESENTATION,
        "invalid input syntax for type double precision: \"abc\"",
        "COPY readings, line 4, column temperature: \"abc\"",
    );
    check_refused(
        &csv,
        b"2024-07-01,,1\n",
        SqlState::NOT_NULL_VIOLATION,
        "null value in column \"device\" of relation \"readings\" violates not-null constraint",
        "COPY readings, line 1: \"2024-07-01,,1\"",
    );
    check_refused(
        &csv,
        b",a,1\n,b\n",
        SqlState::BAD_COPY_FORMAT,
        "missing data for column \"temperature\"",
        "COPY readings, line 2: \",b\"",
    );
    check_refused(
        &csv,
        b",a,1,2\n",
        SqlState::BAD_COPY_FORMAT,
        "extra data after last expected column",
        "COPY readings, line 1: \",a,1,2\"",
    );
    check_refused(
        &csv,
        b",a,1\n,\xff,2\n",
        SqlState::INVALID_ENCODING,
        "invalid byte sequence for encoding \"UTF8\": 0xff",
        "COPY readings, line 2",
    );
    check_refused(
        &csv,
        b",\"a,1\n,b,2\n",
        SqlState::BAD_COPY_FORMAT,
        "unterminated CSV quoted field",
        "COPY readings, line 1",
    );
}

#[test]
fn headers_may_have_to_match() {
    let options = CopyOptions { header: CopyHeader::Match, ..CopyOptions::csv() };
    check(readings(), &options, "time,\"device\",temperature\n,a,1\n", &["NULL|a|1"]);
    check_refused(
        &options,
        b"time,truck,temperature\n",
        SqlState::BAD_COPY_FORMAT,
        "column name mismatch in header line field 2: got \"truck\", expected \"device\"",
        "COPY readings, line 1: \"time,truck,temperature\"",
    );
    check_refused(
        &options,
        b"time\n",
        SqlState::BAD_COPY_FORMAT,
        "wrong number of fields in header line: got 1, expected 3",
        "COPY readings, line 1: \"time\"",
    );
}

#[test]
fn forced_nulls_and_texts() {
    let columns = || vec![column("a", SqlType::Text), column("b", SqlType::Text)];
    let options =
        CopyOptions { force_null: vec!["a".to_owned()], force_not_null: vec!["b".to_owned()], ..CopyOptions::csv() };
    check(columns(), &options, "\"\",\n", &["NULL|"]);
    check(columns(), &CopyOptions::csv(), "\"\",\n", &["|NULL"]);
    let unknown = CopyOptions { force_null: vec!["c".to_owned()], ..CopyOptions::csv() };
    assert_eq!(decode(columns(), &unknown, b"", 1).unwrap_err().state(), SqlState::UNDEFINED_COLUMN);
}

#[test]
fn contradicting_options_are_refused() {
    for options in [
        CopyOptions { delimiter: b'"', ..CopyOptions::csv() },
        CopyOptions { delimiter: b'\n', ..CopyOptions::csv() },
        CopyOptions { null: "a,b".to_owned(), ..CopyOptions::csv() },
        CopyOptions { delimiter: b'a', ..CopyOptions::text() },
        CopyOptions { delimiter: 0xc3, ..CopyOptions::csv() },
    ] {
        assert_eq!(options.validate().unwrap_err().state(), SqlState::INVALID_PARAMETER);
    }
}

#[test]
fn many_rows_come_in_several_batches() {
    let data: String = (0..150_000).map(|row| format!("{row}\n")).collect();
    let mut decoder = CopyDecoder::new(vec![column("a", SqlType::Int4)], &CopyOptions::text(), "t", Tz::UTC).unwrap();
    let mut batches = decoder.push(data.as_bytes()).unwrap();
    batches.extend(decoder.finish().unwrap());
    let rows: Vec<_> = batches.iter().map(RecordBatch::num_rows).collect();
    assert_eq!(rows, [65_536, 65_536, 18_928]);
}
