//! Requests over a real socket.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

async fn get(address: std::net::SocketAddr, path: &str) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn health_and_metrics_until_stopped() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    let read: ReadMetrics = Arc::new(|| {
        let mut metrics = Metrics::default();
        metrics.commits.commits = 7;
        metrics
    });
    let server = tokio::spawn(serve(listener, read, stopped));
    assert!(get(address, "/health").await.starts_with("HTTP/1.1 200 OK"));
    let page = get(address, "/metrics").await;
    assert!(page.contains("text/plain; version=0.0.4"));
    assert!(page.contains("\ntidemark_commits_total 7\n"));
    assert!(get(address, "/nothing").await.starts_with("HTTP/1.1 404"));

    // A connection that says nothing does not keep the server from ending.
    let _idle = TcpStream::connect(address).await.unwrap();
    stop.send(true).unwrap();
    server.await.unwrap().unwrap();
}
