//! Pieces of the start-up packet; the exchange itself is tested over sockets.

use super::*;

fn options(text: &str) -> Result<Vec<(String, String)>> {
    let mut parameters = BTreeMap::new();
    add_options(text, &mut parameters)?;
    Ok(parameters.into_iter().collect())
}

#[test]
fn options_are_settings() {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(options("  ").unwrap(), []);
    assert_eq!(options("-c a=1  -cb=2 --c-d=3=4").unwrap(), [pair("a", "1"), pair("b", "2"), pair("c_d", "3=4")]);
    assert_eq!(options(r"-c path=x\ y\\z").unwrap(), [pair("path", r"x y\z")]);
    for bad in ["-c", "-c a", "-B 4", "--a", "a=1"] {
        assert_eq!(options(bad).unwrap_err().state().0, "22023", "{bad}");
    }
}

#[test]
fn encodings() {
    for good in ["UTF8", "utf-8", "'utf-8'", "UNICODE", "SQL_ASCII"] {
        assert!(check_encoding(good).is_ok(), "{good}");
    }
    assert!(check_encoding("LATIN1").is_err());
}

#[test]
fn the_database_is_the_user_s_where_none_is_named() {
    let peer = "127.0.0.1:1".parse().unwrap();
    let parameters = |pairs: &[(&str, &str)]| pairs.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
    let ada = login(parameters(&[("user", "ada"), ("DateStyle", "ISO")]), peer).unwrap();
    assert_eq!((ada.database.as_str(), ada.startup.len()), ("ada", 1));
    assert_eq!(login(parameters(&[("user", "")]), peer).unwrap_err().state().0, "28000");
    assert!(login(parameters(&[("user", "ada"), ("replication", "off")]), peer).is_ok());
}

#[test]
fn a_verifier_holds_no_password_and_shows_no_key() {
    let verifier = scram_verifier("secret", b"0123456789abcdef".to_vec(), 4096).unwrap();
    assert_eq!(verifier, scram_verifier("secret", b"0123456789abcdef".to_vec(), 4096).unwrap());
    assert_ne!(verifier.stored_key, scram_verifier("other", verifier.salt.clone(), 4096).unwrap().stored_key);
    assert_eq!(format!("{verifier:?}"), "Verifier { iterations: 4096, .. }");
}
