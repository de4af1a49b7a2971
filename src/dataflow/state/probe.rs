//! A hash table of row numbers: finds the row of a key among the rows of a chunk.
//!
//! Open addressing with linear probing over one array of words, so that a key that is there is mostly found with one
//! line of cache here and one among the keys. A word holds 32 bits of the hash beside the row: only rows whose bits
//! agree are compared, and the table grows and shrinks without looking at keys. Removing closes the gap
//! (Knuth, The Art of Computer Programming 3, 6.4, algorithm R).
//!
//! Does not know: keys.
//!
//! Invariants:
//!   * at most 5/8 of the words are in use
//!   * no empty word lies between a row's home and its word

const WORDS_MIN: usize = 8;

#[derive(Debug, Clone, Default)]
pub struct Probe {
    /// 32 bits of hash above row + 1; 0 is empty. A power of two of them, or none.
    words: Vec<u64>,
    rows: usize,
}

/// The bits of a hash that this table uses; the higher ones choose the chunk.
#[inline]
fn hash_bits(hash: u64) -> u64 {
    hash & 0xffff_ffff
}

#[inline]
fn word_of(hash: u64, row: u32) -> u64 {
    hash_bits(hash) << 32 | u64::from(row + 1)
}

#[inline]
fn row_of(word: u64) -> u32 {
    (word as u32).wrapping_sub(1)
}

impl Probe {
    pub fn with_capacity(rows: usize) -> Self {
        let mut probe = Probe::default();
        if rows > 0 {
            probe.words = vec![0; words_for(rows)];
        }
        probe
    }

    /// The row for which `is_same`, asked only of rows whose hash agrees in 32 bits.
    #[inline]
    pub fn find(&self, hash: u64, is_same: impl Fn(u32) -> bool) -> Option<u32> {
        let mask = self.words.len().checked_sub(1)?;
        let bits = hash_bits(hash);
        let mut place = bits as usize & mask;
        loop {
            let word = self.words[place];
            if word == 0 {
                return None;
            }
            if word >> 32 == bits && is_same(row_of(word)) {
                return Some(row_of(word));
            }
            place = (place + 1) & mask;
        }
    }

    /// The row is not in the table yet.
    pub fn insert(&mut self, hash: u64, row: u32) {
        if (self.rows + 1) * 8 > self.words.len() * 5 {
            self.grow();
        }
        self.rows += 1;
        put(&mut self.words, word_of(hash, row));
    }

    fn grow(&mut self) {
        let mut words = vec![0; (self.words.len() * 2).max(WORDS_MIN)];
        for word in self.words.iter().filter(|word| **word != 0) {
            put(&mut words, *word);
        }
        self.words = words;
    }

    /// The row that was `from` is `to` from now on.
    pub fn renumber(&mut self, hash: u64, from: u32, to: u32) {
        if let Some(place) = self.place_of(word_of(hash, from)) {
            self.words[place] = word_of(hash, to);
        }
    }

    pub fn remove(&mut self, hash: u64, row: u32) {
        let Some(mut hole) = self.place_of(word_of(hash, row)) else { return };
        self.rows -= 1;
        let mask = self.words.len() - 1;
        let mut next = hole;
        loop {
            next = (next + 1) & mask;
            let word = self.words[next];
            if word == 0 {
                break;
            }
            // What would be cut off from its home by the hole moves into it.
            let home = (word >> 32) as usize & mask;
            if (next.wrapping_sub(home) & mask) >= (next.wrapping_sub(hole) & mask) {
                self.words[hole] = word;
                hole = next;
            }
        }
        self.words[hole] = 0;
    }

    fn place_of(&self, word: u64) -> Option<usize> {
        let mask = self.words.len().checked_sub(1)?;
        let mut place = (word >> 32) as usize & mask;
        while self.words[place] != word {
            if self.words[place] == 0 {
                return None;
            }
            place = (place + 1) & mask;
        }
        Some(place)
    }

    pub fn memory_bytes(&self) -> usize {
        self.words.capacity() * 8
    }
}

fn words_for(rows: usize) -> usize {
    (rows * 8 / 5 + 1).next_power_of_two().max(WORDS_MIN)
}

#[inline]
fn put(words: &mut [u64], word: u64) {
    let mask = words.len() - 1;
    let mut place = (word >> 32) as usize & mask;
    while words[place] != 0 {
        place = (place + 1) & mask;
    }
    words[place] = word;
}

#[cfg(test)]
mod tests;
