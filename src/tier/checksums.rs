//! Checksums of a file's blocks, as the manifest keeps them.
//!
//! Parquet as we write it has none of its own: a flipped bit in a page may decode to another value. With these whatever
//! range of a file is read can be checked, without reading the rest.

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

const BLOCK_BYTES_MIN: u64 = 64 << 10;
/// Larger files have larger blocks, so that the manifest stays small.
const BLOCKS_MAX: u64 = 1024;

/// crc32 of each block of a file; the last block may be shorter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Checksums {
    block_bytes: u64,
    blocks: Arc<[u32]>,
}

/// As it stands in the manifest: eight hexadecimal digits a block.
#[derive(Serialize, Deserialize)]
struct Written {
    block_bytes: u64,
    crc32: String,
}

impl Checksums {
    pub fn of(bytes: &[u8]) -> Checksums {
        let mut block_bytes = BLOCK_BYTES_MIN;
        while (bytes.len() as u64).div_ceil(block_bytes) > BLOCKS_MAX {
            block_bytes *= 2;
        }
        let blocks = bytes.chunks(block_bytes as usize).map(crc32fast::hash).collect();
        Checksums { block_bytes, blocks }
    }

    /// `range` widened to whole blocks of a file of `file_bytes`.
    pub fn widen(&self, range: Range<u64>, file_bytes: u64) -> Range<u64> {
        let start = range.start / self.block_bytes * self.block_bytes;
        let end = range.end.div_ceil(self.block_bytes).saturating_mul(self.block_bytes);
        start..end.min(file_bytes)
    }

    /// Offset of the first block of `bytes`, which begin at `start` (where a block does), that is not as it was written.
    pub fn first_bad(&self, start: u64, bytes: &[u8]) -> Option<u64> {
        let first = (start / self.block_bytes) as usize;
        let chunks = bytes.chunks(self.block_bytes as usize).enumerate();
        chunks
            .map(|(position, block)| (first + position, block))
            .find(|(block, bytes)| self.blocks.get(*block) != Some(&crc32fast::hash(bytes)))
            .map(|(block, _)| block as u64 * self.block_bytes)
    }

    /// What a whole file of `file_bytes` must be.
    pub fn fits(&self, file_bytes: u64) -> bool {
        file_bytes.div_ceil(self.block_bytes) == self.blocks.len() as u64
    }
}

impl From<Checksums> for Written {
    fn from(checksums: Checksums) -> Written {
        let crc32 = checksums.blocks.iter().map(|crc| format!("{crc:08x}")).collect();
        Written { block_bytes: checksums.block_bytes, crc32 }
    }
}

impl TryFrom<Written> for Checksums {
    type Error = String;

    fn try_from(written: Written) -> Result<Checksums, String> {
        let bad = || "checksums that are none".to_string();
        let digits_fit = written.crc32.is_ascii() && written.crc32.len().is_multiple_of(8);
        if !(digits_fit && written.block_bytes.is_power_of_two()) {
            return Err(bad());
        }
        let digits = (0..written.crc32.len()).step_by(8).map(|at| written.crc32.get(at..at + 8));
        let blocks: Option<Arc<[u32]>> =
            digits.map(|digits| u32::from_str_radix(digits?, 16).ok()).collect::<Option<Vec<u32>>>().map(Arc::from);
        Ok(Checksums { block_bytes: written.block_bytes, blocks: blocks.ok_or_else(bad)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_byte_is_found_in_its_block_and_nowhere_else() {
        let bytes: Vec<u8> = (0..200_000u32).map(|at| (at * 7) as u8).collect();
        let checksums = Checksums::of(&bytes);
        assert_eq!(checksums.first_bad(0, &bytes), None);
        assert_eq!(checksums.widen(70_000..70_001, 200_000), 65_536..131_072);
        assert_eq!(checksums.widen(199_999..200_000, 200_000), 196_608..200_000);
        for at in [0, 65_535, 65_536, 150_000, 199_999] {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            let block = at as u64 / 65_536 * 65_536;
            assert_eq!(checksums.first_bad(0, &bad), Some(block), "byte {at}");
            assert_eq!(checksums.first_bad(block, &bad[block as usize..]), Some(block), "byte {at}");
        }
        assert!(checksums.fits(200_000) && !checksums.fits(190_000));
        assert_eq!(checksums.first_bad(0, &[bytes.as_slice(), &[0; 70_000]].concat()), Some(196_608));
    }

    #[test]
    fn they_come_back_from_the_manifest_and_large_files_have_few() {
        let checksums = Checksums::of(&vec![3; 300_000]);
        let text = serde_json::to_string(&checksums).unwrap();
        assert_eq!(serde_json::from_str::<Checksums>(&text).unwrap(), checksums);
        for bad in [r#"{"block_bytes":0,"crc32":""}"#, r#"{"block_bytes":65536,"crc32":"1234567"}"#] {
            assert!(serde_json::from_str::<Checksums>(bad).is_err(), "{bad}");
        }
        assert!(Checksums::of(&vec![0; 80 << 20]).blocks.len() <= 1024);
    }
}
