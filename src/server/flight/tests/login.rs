//! Who gets in, and with what.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tonic::Code;

use super::{Client, Running, number, refused, sqlstate, start, start_with};
use crate::server::pg::scram_verifier;
use crate::settings::Settings;

/// A server whose user has the password `right`.
async fn with_password(change: impl FnOnce(&mut Settings)) -> Running {
    start_with(|settings| {
        let verifier = scram_verifier("right", b"0123456789abcdef".to_vec(), 4096).unwrap();
        let stored = serde_json::json!({
            "format": 1, "salt": verifier.salt, "iterations": verifier.iterations,
            "stored_key": verifier.stored_key, "server_key": verifier.server_key,
        });
        std::fs::create_dir_all(&settings.data_dir).unwrap();
        std::fs::write(settings.data_dir.join("password.json"), stored.to_string()).unwrap();
        change(settings);
    })
    .await
}

async fn state_of(client: &mut Client) -> (Code, String) {
    let status = refused(client.execute("SELECT 1".into(), None).await);
    (status.code(), sqlstate(&status))
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_lets_in_and_its_token_too() {
    let running = with_password(|_| ()).await;
    let mut client = running.client().await;
    assert_eq!(state_of(&mut client).await, (Code::Unauthenticated, "28000".into()));
    let wrong = client.handshake("tidemark", "wrong").await.unwrap_err().to_string();
    assert!(wrong.contains("28P01: password authentication failed for user"), "{wrong}");
    let unknown = client.handshake("someone", "right").await.unwrap_err().to_string();
    assert!(unknown.contains("28000: role"), "{unknown}");
    client.handshake("tidemark", "right").await.unwrap();
    assert_eq!(number(&mut client, "SELECT CAST(1 AS bigint)").await, 1);
    client.set_token("0123456789abcdef0123456789abcdef".into());
    assert_eq!(state_of(&mut client).await, (Code::Unauthenticated, "28000".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_may_come_with_each_call() {
    let running = with_password(|_| ()).await;
    let mut client = running.client().await;
    client.set_header("authorization", basic("tidemark", "right"));
    assert_eq!(number(&mut client, "SELECT CAST(1 AS bigint)").await, 1);
    // Without padding, as clients written in Go send it.
    client.set_header("authorization", basic("tidemark", "wrong").trim_end_matches('=').to_owned());
    assert_eq!(state_of(&mut client).await, (Code::Unauthenticated, "28P01".into()));
    for malformed in ["Basic !", "Digest x", "right", "Basic cmlnaHQ="] {
        client.set_header("authorization", malformed);
        assert_eq!(state_of(&mut client).await, (Code::Unauthenticated, "28000".into()), "{malformed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unused_token_expires() {
    let running = with_password(|settings| settings.flight.session_age_ms = 1000).await;
    let mut client = running.client().await;
    client.handshake("tidemark", "right").await.unwrap();
    assert_eq!(number(&mut client, "SELECT CAST(1 AS bigint)").await, 1);
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    assert_eq!(state_of(&mut client).await, (Code::Unauthenticated, "28000".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn local_clients_of_a_server_that_trusts_them_need_nothing() {
    let running = start().await;
    let mut client = running.client().await;
    assert_eq!(number(&mut client, "SELECT CAST(1 AS bigint)").await, 1);
    client.handshake("tidemark", "anything").await.unwrap();
    client.set_token("of a former server".into());
    assert_eq!(number(&mut client, "SELECT CAST(1 AS bigint)").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_in_before_there_is_a_password() {
    let running = start_with(|_| ()).await;
    let mut client = running.client().await;
    client.set_header("authorization", basic("tidemark", ""));
    assert_eq!(state_of(&mut client).await, (Code::Unauthenticated, "28000".into()));
}
