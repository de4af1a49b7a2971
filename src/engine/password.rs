//! The user's password: given once in `TIDEMARK_PASSWORD`, kept as what SCRAM needs to check it (RFC 5802), never itself.

use std::sync::Arc;

use pgwire::api::auth::sasl::scram::{ScramSecret, gen_salted_password};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::io::{Disk, Rng, disk_error, replace_file};
use crate::session::Verifier;

const FILE: &str = "password.json";
const FORMAT: u32 = 1;
const ITERATIONS: u32 = 4096;

#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    salt: Vec<u8>,
    iterations: u32,
    stored_key: Vec<u8>,
    server_key: Vec<u8>,
}

/// The stored verifier; at the first start it is made from `password`.
pub fn load_or_create(disk: &Arc<dyn Disk>, rng: &dyn Rng, password: Option<&str>) -> Result<Option<Verifier>> {
    if disk.list("").map_err(|error| disk_error("list", "the data directory", error))?.iter().any(|name| name == FILE) {
        let bytes = disk.read(FILE).map_err(|error| disk_error("read", FILE, error))?;
        let damaged = || {
            Error::corrupted(format!("\"{FILE}\" is damaged"))
                .with_hint("Remove it and set TIDEMARK_PASSWORD to choose a new password.")
        };
        let stored: Stored = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
        return verifier(stored).map(Some).ok_or_else(damaged);
    }
    let Some(password) = password.filter(|password| !password.is_empty()) else { return Ok(None) };
    let salt: Vec<u8> = [rng.next_u64(), rng.next_u64()].iter().flat_map(|word| word.to_be_bytes()).collect();
    let salted = gen_salted_password(password, &salt, ITERATIONS as usize);
    let secret = ScramSecret::verifier_from_salted_password(salt, salted, ITERATIONS as usize);
    let ScramSecret::Verifier { salt, stored_key, server_key, .. } = secret else {
        return Err(Error::internal("no verifier from a password"));
    };
    let stored = Stored { format: FORMAT, salt, iterations: ITERATIONS, stored_key, server_key };
    replace_file(&**disk, FILE, &serde_json::to_vec(&stored).map_err(Error::internal)?)?;
    Ok(verifier(stored))
}

fn verifier(stored: Stored) -> Option<Verifier> {
    if stored.format != FORMAT {
        return None;
    }
    Some(Verifier {
        salt: stored.salt,
        iterations: stored.iterations,
        stored_key: stored.stored_key.try_into().ok()?,
        server_key: stored.server_key.try_into().ok()?,
    })
}
