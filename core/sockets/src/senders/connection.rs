//! Reads frames from a sender's connection and passes the events on, in order.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use evbus_wire::{Answer, Content, Decoder};
use tokio::net::UnixStream;
use tokio::sync::watch;

use crate::listeners::publisher::Publisher;
use crate::senders::departures::Departures;
use crate::senders::intake::{Confirmation as _, Intake};
use crate::senders::memory_budget::{MemoryBudget, NoRoom, Share};
use crate::senders::reading::Reading;
use evbus_event::Event;
use evbus_report::OncePerBurst;

/// How much is read at a time.
const READ_BYTES: usize = 64 * 1024;

/// The counters of incoming events.
#[derive(Debug, Default)]
pub struct PullCounters {
    pub(crate) connections: AtomicU64,
    pub(crate) events: AtomicU64,
    pub(crate) faults: AtomicU64,
    pub(crate) lost_sync: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) unfinished: AtomicU64,
    pub(crate) turned_away: AtomicU64,
    /// How many connections there may be.
    pub(crate) most_connections: AtomicU64,
    /// Sockets whose files are gone, now.
    pub(crate) lost_sockets: AtomicU64,
    /// Events that were not kept at every destination that they belong to.
    pub(crate) not_kept: AtomicU64,
    /// Events that were refused, and of which nobody was told.
    pub(crate) untold: AtomicU64,
    /// Connections that were closed.
    closed: OncePerBurst,
    /// Frames that hold no event.
    skipped: OncePerBurst,
    not_kept_burst: OncePerBurst,
}

impl PullCounters {
    /// Notes an event that is not kept everywhere.
    fn not_kept(&self, reason: &str) {
        self.not_kept.fetch_add(1, Ordering::Relaxed);
        if self.not_kept_burst.begins() {
            tracing::warn!(
                "an event from a socket was not kept: {reason} (logged once per burst; all are counted)"
            );
        }
    }

    /// Notes a frame that holds no event.
    fn skipped(&self, reason: &impl std::fmt::Display) {
        self.faults.fetch_add(1, Ordering::Relaxed);
        if self.skipped.begins() {
            tracing::warn!(
                "skipped a frame on a pull socket: {reason} (logged once per burst; all are counted)"
            );
        }
    }
}

/// What the connections of a server share.
#[derive(Debug, Clone)]
pub(crate) struct Common {
    pub(crate) publisher: Publisher,
    pub(crate) counters: Arc<PullCounters>,
    pub(crate) room: Arc<MemoryBudget>,
    pub(crate) departures: Departures,
    /// How long a frame that has begun may get no further.
    pub(crate) stall: Duration,
}

/// Serves one connection until the program at the other end closes it, or sends what is not a frame.
///
/// Never answers a program of Salt's. A program of this project, which is known by the heads of its
/// frames, gets an [`Answer`] at the end of its stream.
///
/// Reads no further while `intake` has an event in hand, so a full host slows the program down and
/// nobody else. If the program leaves meanwhile, the connection and its `slot` are let go as soon as
/// memory has room for the rest. A connection costs a read buffer while events arrive. An unfinished frame keeps only
/// what has come of it, takes its room from what all connections share, and must go on growing.
pub(crate) async fn serve<I: Intake>(
    stream: UnixStream,
    slot: impl Send,
    common: Common,
    intake: I,
    mut stop: watch::Receiver<bool>,
) {
    let mut connection = Connection {
        buffer: BytesMut::new(),
        decoder: Decoder::new(),
        share: Share::of(&common.room),
        common,
        intake,
        confirmation: I::Confirmation::default(),
        wants_answer: false,
        refusal: None,
        has_unmatched: false,
        refused: 0,
    };
    let mut stopping = false;
    let rest = loop {
        tokio::select! {
            biased;
            () = told(&mut stop), if !stopping => {
                stopping = true;
                // What the kernel has taken is still read, and then the stream ends; the program's
                // further writes fail, so that it knows they went nowhere. This fails only if
                // the other end is gone, and then the stream ends anyway.
                let _ = rustix::net::shutdown(&stream, rustix::net::Shutdown::Read);
            }
            more = connection.read(&stream) => match more {
                Ok(true) => {}
                Ok(false) => return connection.end(stream, slot).await,
                // A frame that is not whole is not an event, and there is nobody to tell.
                Err(_) => {
                    drop((stream, slot));
                    return connection.leave().await;
                }
            },
        }
        let in_sync = {
            let departures = connection.common.departures.clone();
            let held = connection.buffer.len();
            let mut handing_in = pin!(connection.hand_in());
            let rest = tokio::select! {
                biased;
                in_sync = &mut handing_in => Ok(in_sync),
                rest = departures.rest_of(&stream, held) => Err(rest),
            };
            match rest {
                Ok(in_sync) => in_sync,
                Err(rest) => {
                    drop((stream, slot));
                    let in_sync = handing_in.await;
                    break in_sync.then_some(rest);
                }
            }
        };
        if !in_sync {
            drop((stream, slot));
            return connection.leave().await;
        }
        // A program that never pauses leaves the others, and the listeners, their turn.
        tokio::task::yield_now().await;
    };
    if let Some(rest) = rest {
        connection.buffer.extend_from_slice(&rest.bytes);
        connection.hand_in().await;
    }
    connection.leave().await;
}

/// Waits until the intake is to stop.
pub(crate) async fn told(stop: &mut watch::Receiver<bool>) {
    // An error means that the server is gone, which says the same.
    let _ = stop.wait_for(|stop| *stop).await;
}

struct Connection<I: Intake> {
    /// What has been read and makes no whole frame yet.
    buffer: BytesMut,
    decoder: Decoder,
    /// What the buffer takes beyond what every connection may have.
    share: Share,
    common: Common,
    intake: I,
    confirmation: I::Confirmation,
    wants_answer: bool,
    /// Why not all events are kept: the first reason.
    refusal: Option<String>,
    /// Some have no destination.
    has_unmatched: bool,
    /// Events that were refused.
    refused: u64,
}

/// What whole frames held.
struct Batch {
    /// How much of the buffer they take.
    len: usize,
    /// Those that go somewhere but to listeners.
    events: Vec<Event>,
    /// Of some it is not known whether they do.
    has_new: bool,
    /// False if what follows is not a frame.
    in_sync: bool,
}

impl<I: Intake> Connection<I> {
    /// At the end of the stream: waits until all events are safe, and tells a program that waits for it. If
    /// the program leaves before, its connection is let go.
    async fn end(self, stream: UnixStream, slot: impl Send) {
        if !self.wants_answer {
            drop((stream, slot));
            return self.leave().await;
        }
        let (departures, counters) = (
            self.common.departures.clone(),
            Arc::clone(&self.common.counters),
        );
        let refused = self.refused;
        let mut settling = pin!(self.settle());
        let answer = tokio::select! {
            biased;
            answer = &mut settling => Some(answer.write()),
            _rest = departures.rest_of(&stream, 0) => None,
        };
        let is_told = answer.as_ref().is_some_and(|answer| {
            (stream.try_write(answer)).is_ok_and(|written| written == answer.len())
        });
        drop((stream, slot));
        if !is_told {
            counters.untold.fetch_add(refused, Ordering::Relaxed);
        }
        if answer.is_none() {
            settling.await;
        }
    }

    /// Waits until all events are safe, of a program that is told nothing.
    async fn leave(self) {
        let untold = &self.common.counters.untold;
        untold.fetch_add(self.refused, Ordering::Relaxed);
        self.settle().await;
    }

    /// Waits until all events are safe or are known not to be. Returns the answer for a program that waits
    /// for one.
    async fn settle(mut self) -> Answer {
        if let Err(reason) = std::mem::take(&mut self.confirmation).written().await {
            self.common.counters.not_kept(&reason);
            self.refusal.get_or_insert(reason);
        }
        if !self.buffer.is_empty() {
            self.refusal
                .get_or_insert_with(|| "the last frame is incomplete".to_owned());
        }
        match self.refusal {
            Some(reason) => Answer::NotKept(reason),
            None if self.has_unmatched => Answer::Unmatched,
            None => Answer::Kept,
        }
    }

    /// Notes an event that is refused.
    fn refuse(&mut self, reason: String) {
        self.common.counters.not_kept(&reason);
        self.refused += 1;
        self.refusal.get_or_insert(reason);
    }

    /// Reads once; false at the end of the stream. May be dropped while it waits.
    async fn read(&mut self, stream: &UnixStream) -> io::Result<bool> {
        loop {
            self.readable(stream).await?;
            self.make_room().await?;
            self.buffer.reserve(READ_BYTES);
            match stream.try_read_buf(&mut self.buffer) {
                Ok(0) => return Ok(false),
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // The program may be silent for days; it keeps no more than it sent.
                    if self.buffer.len() < READ_BYTES {
                        self.keep_from(0);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until there is something to read. A frame that has begun must go on.
    async fn readable(&self, stream: &UnixStream) -> io::Result<()> {
        if self.buffer.is_empty() {
            return stream.readable().await;
        }
        let stall = self.common.stall;
        let goes_on = tokio::time::timeout(stall, stream.readable());
        tokio::select! {
            biased;
            () = self.share.evicted(), if self.share.is_held() => Err(self.close_unfinished(
                format_args!("no more of it arrived for a while, and other frames need its memory"),
            )),
            readable = goes_on => match readable {
                Ok(readable) => readable,
                Err(_) => Err(self.close_unfinished(format_args!(
                    "no more of it arrived for {} s", stall.as_secs()
                ))),
            },
        }
    }

    /// Takes room for more of a long frame. What every connection may have is not counted: two reads.
    async fn make_room(&mut self) -> io::Result<()> {
        let (len, capacity) = (self.buffer.len(), self.buffer.capacity());
        if len <= READ_BYTES || capacity - len >= READ_BYTES {
            return Ok(());
        }
        // The buffer doubles when it grows.
        match self.share.grow((2 * capacity).max(len + READ_BYTES)).await {
            Ok(()) => Ok(()),
            Err(NoRoom) => Err(self.close_unfinished(format_args!(
                "no memory is left for it, because many other frames are unfinished too"
            ))),
        }
    }

    fn close_unfinished(&self, reason: std::fmt::Arguments<'_>) -> io::Error {
        let counters = &self.common.counters;
        counters.unfinished.fetch_add(1, Ordering::Relaxed);
        if counters.closed.begins() {
            tracing::warn!(
                "closed a connection to a pull socket with {} bytes of an unfinished frame: {reason} (logged once per burst; all are counted)",
                self.buffer.len()
            );
        }
        io::ErrorKind::TimedOut.into()
    }

    /// Keeps what stands behind the first `taken` bytes, and no more memory than that needs.
    fn keep_from(&mut self, taken: usize) {
        self.buffer = BytesMut::from(&self.buffer[taken..]);
        if self.buffer.capacity() > 2 * READ_BYTES {
            self.share.shrink(self.buffer.capacity());
        } else {
            self.share.give_back();
        }
    }

    /// Hands in every event that is whole; false if the connection must end.
    async fn hand_in(&mut self) -> bool {
        // A listener that connected before an event was written is in before it is published.
        self.common.publisher.accept_waiting();
        self.share.hand_in();
        let batch = self.publish();
        if batch.has_new {
            self.intake.prepare(&batch.events).await;
        }
        if !batch.events.is_empty() {
            let counter = &self.common.counters.events;
            counter.fetch_add(batch.events.len() as u64, Ordering::Relaxed);
            let taken = self.intake.take(batch.events).await;
            self.confirmation.extend(taken.confirmation);
            self.has_unmatched |= taken.has_unmatched;
            for reason in taken.refused {
                self.refuse(reason);
            }
        }
        if batch.len > 0 && self.share.is_held() {
            self.keep_from(batch.len);
        } else {
            self.buffer.advance(batch.len);
            self.share.handed_in();
        }
        self.common.publisher.pace().await;
        batch.in_sync
    }

    /// Reads every whole frame in the buffer and sends all to the listeners at once.
    fn publish(&mut self) -> Batch {
        let counters = &self.common.counters;
        let mut reading = Reading::begin(&self.intake, &self.common.publisher, self.buffer.len());
        let mut taken = 0;
        let in_sync = loop {
            let (payload, len) = match self.decoder.next(&self.buffer[taken..]) {
                Ok(Some(frame)) => frame,
                Ok(None) => break true,
                Err(reason) => {
                    counters.lost_sync.fetch_add(1, Ordering::Relaxed);
                    if counters.closed.begins() {
                        tracing::warn!(
                            "closed a connection to a pull socket: {reason} (logged once per burst; all are counted)"
                        );
                    }
                    break false;
                }
            };
            taken += len;
            if let Err(reason) = reading.take(payload) {
                self.wants_answer |= Content::is_of_evbus(payload);
                counters.skipped(&reason);
                self.refusal
                    .get_or_insert_with(|| format!("a frame contains no event: {reason}"));
            }
        };
        let read = reading.publish();
        counters.events.fetch_add(read.unmatched, Ordering::Relaxed);
        self.wants_answer |= read.is_ours;
        self.has_unmatched |= read.unmatched > 0;
        for reason in read.too_long {
            self.refuse(reason);
        }
        Batch {
            len: taken,
            events: read.events,
            has_new: read.has_new,
            in_sync,
        }
    }
}
