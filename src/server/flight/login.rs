//! Who calls: asked at every call, before its message is read.
//!
//! ```text
//! authorization: Basic user:password    checked against the verifier; Handshake answers with a token
//! authorization: Bearer token           a login that is remembered
//! none                                  enough for local clients of a server that trusts them
//! ```

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use tokio::sync::Semaphore;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::NamedService;
use tonic::transport::server::TcpConnectInfo;

use super::status::status;
use super::store::{Id, Store};
use crate::error::{Error, Result, SqlState};
use crate::session::{Authentication, Database, NAME, Verifier};

const AUTHORIZATION: &str = "authorization";
/// Clients written in Go send no padding, most others do.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// Passwords that are checked at a time: a check takes milliseconds of a core, and anybody may ask for one.
const CHECKS_MAX: usize = 2;

/// A client that may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    pub user: String,
    pub peer: SocketAddr,
}

/// What a client shows to prove who it is.
enum Proof {
    None,
    Password { user: String, password: String },
    Token(Id),
}

/// Lets clients in.
pub(super) struct Gate {
    database: Arc<dyn Database>,
    /// Users by token.
    tokens: Store<String>,
    checks: Semaphore,
}

impl Gate {
    pub fn new(database: Arc<dyn Database>, tokens: Store<String>) -> Gate {
        Gate { database, tokens, checks: Semaphore::new(CHECKS_MAX) }
    }

    /// Remembers the caller's login. The token is to be sent as `Bearer`.
    pub fn issue(&self, caller: &Caller) -> Result<String> {
        let id = self.tokens.put(Arc::new(caller.user.clone()))?;
        Ok(format!("{:032x}", u128::from_be_bytes(id)))
    }

    pub fn sweep(&self) {
        self.tokens.sweep();
    }

    async fn admit(&self, proof: Proof, peer: SocketAddr) -> Result<Caller> {
        let (user, password) = match proof {
            Proof::Password { user, password } => (user, Some(password)),
            Proof::None => (NAME.to_owned(), None),
            Proof::Token(id) => match self.tokens.get(&id) {
                Some(user) => return Ok(Caller { user: user.as_ref().clone(), peer }),
                None if self.database.authentication(NAME, peer) == Authentication::Trust => (NAME.to_owned(), None),
                None => {
                    return Err(Error::new(SqlState::INVALID_AUTHORIZATION, "the token is unknown or has expired")
                        .with_hint("Log in again with user and password."));
                }
            },
        };
        match (self.database.authentication(&user, peer), password) {
            (Authentication::Trust, _) => Ok(Caller { user, peer }),
            (Authentication::ScramSha256(verifier), Some(password)) => {
                self.check(verifier, password, &user).await?;
                Ok(Caller { user, peer })
            }
            (Authentication::ScramSha256(_), None) => {
                Err(Error::new(SqlState::INVALID_AUTHORIZATION, "no user and password given")
                    .with_hint(format!("The user is {NAME}; send its password as Basic authorization.")))
            }
            (Authentication::Reject, _) => Err(Error::new(
                SqlState::INVALID_AUTHORIZATION,
                format!("user \"{user}\" may not connect from {}", peer.ip()),
            )),
        }
    }

    async fn check(&self, verifier: Verifier, password: String, user: &str) -> Result<()> {
        let _turn = self.checks.acquire().await.map_err(Error::internal)?;
        let accepted = tokio::task::spawn_blocking(move || verifier.accepts(&password)).await;
        if accepted.map_err(Error::internal)? {
            return Ok(());
        }
        Err(Error::new(SqlState::INVALID_PASSWORD, format!("password authentication failed for user \"{user}\"")))
    }
}

fn proof(headers: &http::HeaderMap) -> Result<Proof> {
    let Some(header) = headers.get(AUTHORIZATION) else { return Ok(Proof::None) };
    let malformed = || {
        Error::new(SqlState::INVALID_AUTHORIZATION, "malformed authorization")
            .with_hint("Send \"Basic\" with base64 of user:password, or \"Bearer\" with the token of a login.")
    };
    let (scheme, value) = header.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(malformed)?;
    if scheme.eq_ignore_ascii_case("Bearer") {
        let token = u128::from_str_radix(value.trim(), 16).map(u128::to_be_bytes);
        // What never was a token is as unknown as one that expired.
        return Ok(Proof::Token(token.unwrap_or_default()));
    }
    if !scheme.eq_ignore_ascii_case("Basic") {
        return Err(malformed());
    }
    let decoded = BASE64.decode(value.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    match decoded.as_deref().and_then(|text| text.split_once(':')) {
        Some((user, password)) => Ok(Proof::Password { user: user.to_owned(), password: password.to_owned() }),
        None => Err(malformed()),
    }
}

/// A service whose calls all pass the gate; they find their [`Caller`] among the request's extensions.
#[derive(Clone)]
pub(super) struct Guarded<S> {
    pub gate: Arc<Gate>,
    pub inner: S,
}

impl<S: NamedService> NamedService for Guarded<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Guarded<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<http::Response<Body>, Infallible>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let gate = self.gate.clone();
        // The one that is ready serves; its copy waits for the next call.
        let copy = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, copy);
        let peer = request.extensions().get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
        let proof = proof(request.headers());
        Box::pin(async move {
            let admitted = match (proof, peer) {
                (Ok(proof), Some(peer)) => gate.admit(proof, peer).await,
                (Err(error), _) => Err(error),
                (_, None) => Err(Error::new(SqlState::CONNECTION_FAILURE, "the client is gone")),
            };
            match admitted {
                Ok(caller) => {
                    request.extensions_mut().insert(caller);
                    inner.call(request).await
                }
                Err(error) => {
                    tracing::info!(?peer, %error, "Flight call refused");
                    Ok(status(&error).into_http())
                }
            }
        })
    }
}
