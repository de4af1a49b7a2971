//! Clients' sockets, no more at a time than the server takes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::transport::server::{Connected, TcpConnectInfo};

/// After a failed accept, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A connection, counted until it ends.
pub(super) struct Socket {
    stream: TcpStream,
    _counted: OwnedSemaphorePermit,
}

/// Connections as they come; what is too many is closed at once.
pub(super) fn sockets(listener: TcpListener, connections_max: usize) -> impl Stream<Item = io::Result<Socket>> {
    let free = Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS)));
    futures::stream::unfold((listener, free), |(listener, free)| async move {
        let socket = accept(&listener, &free).await;
        Some((Ok(socket), (listener, free)))
    })
}

async fn accept(listener: &TcpListener, free: &Arc<Semaphore>) -> Socket {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => match free.clone().try_acquire_owned() {
                Ok(counted) => {
                    // Small answers go out at once; without it only slower.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%peer, %error, "TCP_NODELAY");
                    }
                    return Socket { stream, _counted: counted };
                }
                Err(_) => tracing::warn!(%peer, "Flight connection refused: too many connections"),
            },
            Err(error) => {
                tracing::warn!(%error, "accepting a Flight connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl Connected for Socket {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
