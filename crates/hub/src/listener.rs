//! Connections: so many at once, and none that says nothing for long.
//!
//! A connection counts until it is closed; who comes later waits in the system's queue. One that
//! neither sends nor takes a byte for [`MAX_IDLE`] is closed, so that nobody can hold them all. With
//! TLS the greeting is a part of the connection's own work: a client that dawdles over it keeps
//! nobody else waiting.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};

use crate::tls::Greeting;

/// Connections at once: a thousand agents, and room below the usual limit of descriptors.
const MAX_CONNECTIONS: usize = 4_000;

/// Longer than a client thinks between two requests, and than a search takes to its first byte.
const MAX_IDLE: Duration = Duration::from_secs(150);

/// A listener that hands out no more than [`MAX_CONNECTIONS`] connections.
pub(crate) struct Bounded {
    listener: TcpListener,
    room: Arc<Semaphore>,
    greeting: Option<Greeting>,
}

impl Bounded {
    pub(crate) fn new(listener: TcpListener, greeting: Option<Greeting>) -> Self {
        Self { listener, room: Arc::new(Semaphore::new(MAX_CONNECTIONS)), greeting }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let room = Arc::clone(&self.room).acquire_owned().await;
        let room = room.expect("the semaphore is never closed");
        let (stream, address) = Listener::accept(&mut self.listener).await;
        // A failure costs some milliseconds, nothing else.
        let _ = stream.set_nodelay(true);
        let stream = match &self.greeting {
            Some(greeting) => {
                Stream::Greeting(Box::new(TlsAcceptor::from(greeting.config()).accept(stream)))
            }
            None => Stream::Plain(stream),
        };
        let idle = Box::pin(tokio::time::sleep(MAX_IDLE));
        (Connection { stream, idle, _room: room }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection with its place among all, and the time at which its silence ends it.
pub(crate) struct Connection {
    stream: Stream,
    idle: Pin<Box<Sleep>>,
    _room: OwnedSemaphorePermit,
}

/// The bytes of a connection.
enum Stream {
    Plain(TcpStream),
    /// TLS that is not agreed upon yet.
    Greeting(Box<Accept<TcpStream>>),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What both kinds of streams can do.
trait Bytes: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Bytes for T {}

impl Stream {
    /// The stream, once it can carry bytes.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Pin<&mut dyn Bytes>>> {
        if let Self::Greeting(accept) = self {
            let stream = std::task::ready!(Pin::new(accept).poll(context))?;
            *self = Self::Tls(Box::new(stream));
        }
        Poll::Ready(match self {
            Self::Plain(stream) => Ok(Pin::new(stream)),
            Self::Tls(stream) => Ok(Pin::new(stream)),
            Self::Greeting(_) => unreachable!("it became a stream above"),
        })
    }

    /// Does something with the stream when it can carry bytes.
    fn poll_with<T>(
        &mut self,
        context: &mut Context<'_>,
        how: impl FnOnce(Pin<&mut dyn Bytes>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let stream = std::task::ready!(self.poll_ready(context))?;
        how(stream, context)
    }
}

impl Connection {
    /// A byte that moved begins the silence anew; a silence too long is an error.
    fn watched<T>(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        moved: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match moved {
            Poll::Ready(done) => {
                self.idle.as_mut().reset(Instant::now() + MAX_IDLE);
                Poll::Ready(done)
            }
            Poll::Pending => {
                std::task::ready!(self.idle.as_mut().poll(context));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let moved = self.stream.poll_with(context, |it, context| it.poll_read(context, into));
        self.watched(context, moved)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let moved = self.stream.poll_with(context, |it, context| it.poll_write(context, bytes));
        self.watched(context, moved)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_with(context, |it, context| it.poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_with(context, |it, context| it.poll_shutdown(context))
    }
}
