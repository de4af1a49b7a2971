//! What `string_agg` and `array_agg` put together, and `nth_value` chooses from: values in an order that does not depend on the order
//! of rows.
//!
//! Rows stand in the order of the ORDER BY, and among equals in that of the value; without ORDER BY in that of the value, NULL
//! last. string_agg leaves NULL out, array_agg keeps it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, StringArray, UInt32Array, new_null_array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{SortOptions, take};
use arrow::datatypes::{DataType, Field};
use arrow::row::{RowConverter, Rows, SortField};

use super::floats::canonical_array;
use crate::error::{Error, Result};

/// How values are put in order, and what becomes of them.
#[derive(Debug)]
pub struct Gathered {
    form: GatheredForm,
    directions: String,
    value: DataType,
    keys: Vec<DataType>,
    /// The keys, then the value.
    converter: RowConverter,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GatheredForm {
    /// Texts with this between them.
    Text { separator: String },
    /// An array; `distinct`: each value once.
    Array { distinct: bool },
}

impl PartialEq for Gathered {
    fn eq(&self, other: &Self) -> bool {
        let made_of = |it: &Self| (it.form.clone(), it.directions.clone(), it.value.clone(), it.keys.clone());
        made_of(self) == made_of(other)
    }
}

/// The booleans that tell which rows array_agg takes, with NULL where they are false.
pub fn null_where_not_taken(taken: &ArrayRef) -> ArrayRef {
    let taken = taken.as_boolean().iter().map(|taken| taken.filter(|taken| *taken));
    Arc::new(taken.collect::<BooleanArray>())
}

/// A group's entries, each with the number of its rows.
pub type Entries<'a> = Vec<(&'a [u8], i64)>;

impl Gathered {
    /// `directions`: two letters a key, `a` or `d` for the direction, `f` or `l` for NULL first or last. `value`: the type of
    /// the values; text for texts.
    pub fn new(form: GatheredForm, directions: &str, value: &DataType, keys: &[DataType]) -> Result<Self> {
        let mut letters = directions.chars();
        let mut fields = Vec::with_capacity(keys.len() + 1);
        for key in keys {
            let (direction, nulls) = (letters.next(), letters.next());
            let options = SortOptions { descending: direction == Some('d'), nulls_first: nulls == Some('f') };
            fields.push(SortField::new_with_options(key.clone(), options));
        }
        fields.push(match form {
            // What stored states have; a text that is NULL has no entry.
            GatheredForm::Text { .. } => SortField::new(DataType::Utf8),
            GatheredForm::Array { .. } => {
                let options = SortOptions { descending: false, nulls_first: false };
                SortField::new_with_options(value.clone(), options)
            }
        });
        let (directions, keys) = (directions.to_string(), keys.to_vec());
        Ok(Gathered { form, directions, value: value.clone(), keys, converter: RowConverter::new(fields)? })
    }

    pub fn form(&self) -> &GatheredForm {
        &self.form
    }

    /// The type of what is put together.
    pub fn data_type(&self) -> DataType {
        match self.form {
            GatheredForm::Text { .. } => DataType::Utf8,
            GatheredForm::Array { .. } => DataType::List(Arc::new(self.element())),
        }
    }

    fn element(&self) -> Field {
        Field::new_list_field(self.value.clone(), true)
    }

    /// Entries whose bytes compare as the rows stand.
    pub fn entries(&self, value: &ArrayRef, keys: &[ArrayRef]) -> Result<Rows> {
        let columns: Vec<ArrayRef> = keys.iter().map(canonical_array).chain([Arc::clone(value)]).collect();
        Ok(self.converter.convert_columns(&columns)?)
    }

    /// What the entries of each group make, of [`Gathered::data_type`]; NULL for no entries.
    pub fn gather(&self, groups: &[Entries<'_>]) -> Result<ArrayRef> {
        match &self.form {
            GatheredForm::Text { separator } => {
                let texts = groups.iter().map(|entries| self.join(entries, separator));
                Ok(Arc::new(texts.collect::<Result<StringArray>>()?))
            }
            GatheredForm::Array { .. } => self.list(groups),
        }
    }

    /// The values of these entries; NULL where there is none.
    pub fn values_of(&self, entries: &[Option<&[u8]>]) -> Result<ArrayRef> {
        let values = self.values(entries.iter().copied().flatten())?;
        let mut next = 0..;
        let places: UInt32Array = entries.iter().map(|entry| entry.and_then(|_| next.next())).collect();
        match values.is_empty() {
            true => Ok(new_null_array(&self.value, entries.len())),
            false => Ok(take(&values, &places, None)?),
        }
    }

    fn values<'a>(&self, entries: impl Iterator<Item = &'a [u8]>) -> Result<ArrayRef> {
        let parser = self.converter.parser();
        let values = self.converter.convert_rows(entries.map(|entry| parser.parse(entry)))?.pop();
        values.ok_or_else(|| Error::internal("an entry without a value"))
    }

    fn join(&self, entries: &Entries<'_>, separator: &str) -> Result<Option<String>> {
        if entries.is_empty() {
            return Ok(None);
        }
        let values = self.values(entries.iter().map(|(entry, _)| *entry))?;
        let values = values.as_string::<i32>();
        let repeated = entries.iter().enumerate().flat_map(|(row, (_, weight))| {
            std::iter::repeat_n(values.value(row), usize::try_from(*weight).unwrap_or(0))
        });
        Ok(Some(repeated.collect::<Vec<_>>().join(separator)))
    }

    fn list(&self, groups: &[Entries<'_>]) -> Result<ArrayRef> {
        let distinct = matches!(self.form, GatheredForm::Array { distinct: true });
        let values = self.values(groups.iter().flatten().map(|(entry, _)| *entry))?;
        let times = |weight: i64| if distinct { 1 } else { usize::try_from(weight).unwrap_or(0) };
        let all = groups.iter().flatten().enumerate();
        let places = all.flat_map(|(row, (_, weight))| std::iter::repeat_n(row as u32, times(*weight)));
        let values = take(&values, &UInt32Array::from_iter_values(places), None)?;
        let lengths = groups.iter().map(|entries| entries.iter().map(|(_, weight)| times(*weight)).sum::<usize>());
        let nulls = NullBuffer::from_iter(groups.iter().map(|entries| !entries.is_empty()));
        let lists =
            ListArray::try_new(Arc::new(self.element()), OffsetBuffer::from_lengths(lengths), values, Some(nulls))?;
        Ok(Arc::new(lists))
    }
}
