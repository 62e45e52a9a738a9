//! A body that is written while it is sent.
//!
//! The writer is a plain function on a thread of the blocking pool. What it writes travels in
//! pieces through a short queue: a slow client slows the writer down and costs no memory.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use http_body::Frame;
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::answer::{Fault, Rest};

/// Bytes of a piece: large enough that the queue costs nothing beside the writing.
const PIECE: usize = 64 * 1024;

/// Pieces that wait to be sent.
const MAX_WAITING: usize = 4;

/// A body that begins with `begin` and goes on with what `rest` writes.
pub(crate) fn body(begin: Vec<u8>, rest: Rest) -> Body {
    let (sender, receiver) = mpsc::channel(MAX_WAITING);
    tokio::task::spawn_blocking(move || {
        let mut out = Pieces { sender, held: begin };
        let written = rest.write(&mut out).and_then(|()| out.flush().map_err(Fault::Gone));
        match written {
            Ok(()) | Err(Fault::Gone(_)) => {}
            Err(fault) => {
                tracing::error!("an answer was cut short: {fault}");
                // The head has been sent: a connection that breaks off is all one can still say.
                let cut = io::Error::other("cut short");
                let _ = out.sender.blocking_send(Err(cut));
            }
        }
    });
    Body::new(Streamed::new(receiver))
}

/// Gathers what is written into pieces.
struct Pieces {
    sender: Sender<io::Result<Bytes>>,
    held: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(bytes);
        if self.held.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.held, Vec::with_capacity(PIECE + PIECE / 8));
        let sent = self.sender.blocking_send(Ok(Bytes::from(piece)));
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// A body of what comes through a queue.
pub(crate) struct Streamed {
    receiver: Receiver<io::Result<Bytes>>,
}

impl Streamed {
    pub(crate) fn new(receiver: Receiver<io::Result<Bytes>>) -> Self {
        Self { receiver }
    }
}

impl http_body::Body for Streamed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let piece = self.receiver.poll_recv(context);
        piece.map(|it| it.map(|it| it.map(Frame::data)))
    }
}
