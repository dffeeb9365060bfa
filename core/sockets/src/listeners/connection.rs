//! One listener's connection.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use evbus_wire::Framing;
use tokio::io::Interest;
use tokio::net::UnixStream;

use crate::listeners::broadcast::Broadcast;
use crate::listeners::log::Reader;

/// Sends a listener what comes after its place in the log, as fast as it reads, until it is gone;
/// then gives up its seat. The publisher aborts the task to cut the listener off.
pub(crate) async fn send(
    broadcast: Arc<Broadcast>,
    framing: Framing,
    stream: UnixStream,
    mut reader: Reader,
    sent: Arc<AtomicU64>,
) {
    // However it ends, the listener is gone: there is nobody to tell, and nothing to mend.
    let _ = send_all(&broadcast, framing, &stream, &mut reader, &sent).await;
    broadcast.leave(framing, &sent);
}

async fn send_all(
    broadcast: &Broadcast,
    framing: Framing,
    stream: &UnixStream,
    reader: &mut Reader,
    sent: &AtomicU64,
) -> io::Result<()> {
    loop {
        let mut appended = pin!(broadcast.appended(framing).notified());
        // From here on nothing is missed: either it is in the log below, or it wakes this task.
        appended.as_mut().enable();
        loop {
            let written = {
                let slices = reader.gather();
                match slices.as_ref() {
                    [] => None,
                    slices => Some(stream.try_write_vectored(slices)),
                }
            };
            match written {
                // Another listener may have sealed what came after the look above.
                None if broadcast.seal(framing) || reader.has_more() => {}
                None => break,
                Some(Ok(count)) => {
                    reader.advance(count);
                    sent.fetch_add(count as u64, Ordering::AcqRel);
                    broadcast.progress.notify_waiters();
                    tokio::task::coop::consume_budget().await;
                }
                Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    let ready = stream
                        .ready(Interest::READABLE | Interest::WRITABLE)
                        .await?;
                    if ready.is_readable() {
                        check_presence(stream)?;
                    }
                }
                Some(Err(error)) => return Err(error),
            }
        }
        tokio::select! {
            () = appended => {}
            readable = stream.readable() => {
                readable?;
                check_presence(stream)?;
            }
        }
    }
}

/// Reads what the listener sent, which nobody asked for; fails if it has gone or has closed its
/// side, which counts as gone.
fn check_presence(stream: &UnixStream) -> io::Result<()> {
    let mut ignored = [0; 1024];
    match stream.try_read(&mut ignored) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
    }
}
