//! From the first byte to ReadyForQuery: encryption requests, cancel requests, the start-up packet, SCRAM.
//!
//! Every error here is fatal: nothing of a client that has not proved who it is reaches the session. TLS is refused with
//! `N`, and bytes that a client sent behind its request, before the answer, end the connection: they could have been
//! injected by whoever sits in between (CVE-2021-23214).

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use pgwire::api::auth::sasl::SCRAM_SHA_256_METHOD;
use pgwire::api::auth::sasl::scram::{ScramSecret, ScramServerAuth, gen_salted_password};

use super::backend::Outbox;
use super::frontend::Fields;
use super::gate::{FrameReader, Phase, violation};
use crate::error::{Error, Result, SqlState};
use crate::session::{Authentication, Database, Login, Verifier};

const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
const PROTOCOL_MAJOR: u32 = 3;

/// What a client's first packets come to.
pub(super) enum Opening {
    Login(Login),
    Cancel {
        process_id: u32,
        secret: u32,
    },
    /// It went away, or was cut, without a word owed to it.
    Gone,
}

/// Reads up to the start-up packet.
pub(super) async fn open(reader: &mut FrameReader, out: &mut Outbox, peer: SocketAddr) -> Result<Opening> {
    let (mut ssl_asked, mut gss_asked) = (false, false);
    loop {
        let Some(packet) = reader.startup_packet().await? else { return Ok(Opening::Gone) };
        let mut fields = Fields(packet);
        let code = fields.u32()?;
        let asked = match code {
            SSL_REQUEST => &mut ssl_asked,
            GSS_REQUEST => &mut gss_asked,
            CANCEL_REQUEST => return Ok(cancel_request(&mut fields)),
            _ => return Ok(Opening::Login(startup(code, fields, out, peer)?)),
        };
        if std::mem::replace(asked, true) {
            return Err(violation("encryption was requested twice"));
        }
        if reader.has_buffered() {
            return Err(violation("received unencrypted data after an encryption request")
                .with_detail("This could be a defect of the client or an attempt to inject commands."));
        }
        out.raw(b'N');
        out.flush().await?;
    }
}

fn cancel_request(fields: &mut Fields) -> Opening {
    match (fields.u32(), fields.u32(), fields.finish()) {
        (Ok(process_id), Ok(secret), Ok(())) => Opening::Cancel { process_id, secret },
        _ => Opening::Gone,
    }
}

fn startup(version: u32, mut fields: Fields, out: &mut Outbox, peer: SocketAddr) -> Result<Login> {
    let (major, minor) = (version >> 16, version & 0xFFFF);
    if major != PROTOCOL_MAJOR {
        return Err(Error::new(
            SqlState::FEATURE_NOT_SUPPORTED,
            format!("unsupported frontend protocol {major}.{minor}: server supports 3.0"),
        ));
    }
    let mut parameters = startup_parameters(&mut fields)?;
    let unknown: Vec<String> = parameters.keys().filter(|name| name.starts_with("_pq_.")).cloned().collect();
    unknown.iter().for_each(|name| {
        parameters.remove(name);
    });
    if minor > 0 || !unknown.is_empty() {
        out.negotiate_protocol(0, &unknown);
    }
    login(parameters, peer)
}

/// Pairs of strings, ended by an empty name, with nothing behind it.
fn startup_parameters(fields: &mut Fields) -> Result<BTreeMap<String, String>> {
    let mut parameters = BTreeMap::new();
    loop {
        let name = fields.text()?;
        if name.is_empty() {
            fields.finish()?;
            return Ok(parameters);
        }
        parameters.insert(name, fields.text()?);
    }
}

fn login(mut parameters: BTreeMap<String, String>, peer: SocketAddr) -> Result<Login> {
    let user = parameters.remove("user").filter(|user| !user.is_empty()).ok_or_else(|| {
        Error::new(SqlState::INVALID_AUTHORIZATION, "no PostgreSQL user name specified in startup packet")
    })?;
    let database = parameters.remove("database").filter(|name| !name.is_empty()).unwrap_or_else(|| user.clone());
    if parameters.remove("replication").is_some_and(|value| !is_off(&value)) {
        return Err(Error::not_built("a replication connection"));
    }
    if let Some(encoding) = parameters.remove("client_encoding") {
        check_encoding(&encoding)?;
    }
    if let Some(options) = parameters.remove("options") {
        add_options(&options, &mut parameters)?;
    }
    let application_name = parameters.remove("application_name").unwrap_or_default();
    Ok(Login { user, database, peer, application_name, startup: parameters })
}

fn is_off(value: &str) -> bool {
    ["false", "off", "no", "0"].iter().any(|off| off.eq_ignore_ascii_case(value))
}

/// Text goes in and out as UTF-8. SQL_ASCII says "do not convert", which is the same here.
fn check_encoding(encoding: &str) -> Result<()> {
    let letters: String = encoding.chars().filter(char::is_ascii_alphanumeric).collect();
    match letters.to_ascii_lowercase().as_str() {
        "utf8" | "unicode" | "sqlascii" => Ok(()),
        _ => Err(Error::new(SqlState::INVALID_PARAMETER, format!("client encoding {encoding} is not supported"))
            .with_hint("Set client_encoding to UTF8.")),
    }
}

/// `-c name=value` and `--name=value`, separated by white space, with `\` in front of a space that belongs to a value.
fn add_options(options: &str, parameters: &mut BTreeMap<String, String>) -> Result<()> {
    let mut words = option_words(options).into_iter();
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("--") {
            Some(setting) => Some(setting.to_owned()),
            None if word == "-c" => words.next(),
            None => word.strip_prefix("-c").map(str::to_owned),
        };
        let Some((name, value)) = setting.as_deref().and_then(|setting| setting.split_once('=')) else {
            return Err(Error::new(SqlState::INVALID_PARAMETER, format!("invalid command-line argument: {word}"))
                .with_hint("The options of a connection are settings: -c name=value."));
        };
        parameters.insert(name.replace('-', "_"), value.to_owned());
    }
    Ok(())
}

fn option_words(options: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut escaped = false;
    for letter in options.chars() {
        let in_word = escaped || !letter.is_whitespace();
        match words.last_mut() {
            _ if letter == '\\' && !escaped => escaped = true,
            Some(word) if in_word => {
                word.push(letter);
                escaped = false;
            }
            _ => words.push(String::new()),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Lets the user prove who they are, and says AuthenticationOk. False: the client went away.
pub(super) async fn authenticate(
    reader: &mut FrameReader,
    out: &mut Outbox,
    database: &dyn Database,
    login: &Login,
) -> Result<bool> {
    match database.authentication(&login.user, login.peer) {
        Authentication::Trust => {}
        Authentication::ScramSha256(verifier) => {
            if !scram(reader, out, verifier, &login.user).await? {
                return Ok(false);
            }
        }
        Authentication::Reject => {
            return Err(Error::new(
                SqlState::INVALID_AUTHORIZATION,
                format!("user \"{}\" may not connect from {}", login.user, login.peer.ip()),
            ));
        }
    }
    out.authentication_ok();
    Ok(true)
}

/// The exchange of RFC 5802: client-first, server-first, client-final, server-final.
async fn scram(reader: &mut FrameReader, out: &mut Outbox, verifier: Verifier, user: &str) -> Result<bool> {
    out.authentication_sasl(&[SCRAM_SHA_256_METHOD]);
    out.flush().await?;
    let Some(client_first) = reader.frame(Phase::Login).await? else { return Ok(false) };
    let client_first = initial_response(client_first.body)?;
    let secret = ScramSecret::Verifier {
        salt: verifier.salt,
        iterations: verifier.iterations as usize,
        stored_key: verifier.stored_key.to_vec(),
        server_key: verifier.server_key.to_vec(),
    };
    let wrong = |_| wrong_password(user);
    let (server_first, waiting) =
        ScramServerAuth::new().on_client_first_message_with_secret(&client_first, secret).map_err(wrong)?;
    out.authentication_sasl_continue(&server_first);
    out.flush().await?;
    let Some(client_final) = reader.frame(Phase::Login).await? else { return Ok(false) };
    let server_final = waiting.on_client_final_message(&client_final.body).map_err(wrong)?;
    out.authentication_sasl_final(&server_final);
    Ok(true)
}

/// SASLInitialResponse: the chosen mechanism, then its data.
fn initial_response(body: Bytes) -> Result<Bytes> {
    let mut fields = Fields(body);
    let mechanism = fields.text()?;
    if mechanism != SCRAM_SHA_256_METHOD {
        return Err(violation("client selected an invalid SASL authentication mechanism"));
    }
    let bytes = usize::try_from(fields.i32()?).map_err(|_| violation("malformed SCRAM message"))?;
    let data = fields.bytes(bytes)?;
    fields.finish()?;
    Ok(data)
}

/// What to store of a password: enough to check it, not enough to log in with. `salt` must be random, 16 bytes.
pub fn scram_verifier(password: &str, salt: Vec<u8>, iterations: u32) -> Result<Verifier> {
    let salted = gen_salted_password(password, &salt, iterations as usize);
    let secret = ScramSecret::verifier_from_salted_password(salt, salted, iterations as usize);
    let ScramSecret::Verifier { salt, stored_key, server_key, .. } = secret else {
        return Err(Error::internal("SCRAM gave no verifier"));
    };
    let key = |bytes: Vec<u8>| <[u8; 32]>::try_from(bytes).map_err(|_| Error::internal("a SCRAM key is not 32 bytes"));
    Ok(Verifier { salt, iterations, stored_key: key(stored_key)?, server_key: key(server_key)? })
}

fn wrong_password(user: &str) -> Error {
    Error::new(SqlState::INVALID_PASSWORD, format!("password authentication failed for user \"{user}\""))
}

#[cfg(test)]
mod tests;
