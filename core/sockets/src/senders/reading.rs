//! The frames of one read, which go to the listeners at once.

use std::cell::RefCell;

use evbus_wire::Fault;
use evbus_wire::mapping::NoJson;

use crate::listeners::frames::Frames;
use crate::listeners::publisher::Publisher;
use crate::senders::decode::{Decoded, Scratch};
use crate::senders::intake::{Intake, Wanted};
use evbus_event::{Event, now_unix_ns};

thread_local! {
    /// Not a connection's own, which may be silent for days.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Frames that are being read.
pub(crate) struct Reading<'a, I> {
    intake: &'a I,
    publisher: &'a Publisher,
    is_open: bool,
    is_heard: bool,
    now_unix_ns: u64,
    scratch: Scratch,
    frames: Frames,
    /// The profile of the last event, or nothing, and whether it has a destination: one profile often comes many
    /// times in a row.
    last: &'a str,
    wanted: Wanted,
    /// How many events of this profile had no destination and are not counted yet.
    unmatched: u64,
    read: Read,
}

/// What the frames held.
#[derive(Default)]
pub(crate) struct Read {
    /// Events that go somewhere but to listeners.
    pub(crate) events: Vec<Event>,
    /// Of some it is not known whether they do.
    pub(crate) has_new: bool,
    /// How many go to listeners only.
    pub(crate) unmatched: u64,
    /// Some came from a program of ours.
    pub(crate) is_ours: bool,
    /// Why events are not kept that are too long for destinations.
    pub(crate) too_long: Vec<String>,
}

impl<'a, I: Intake> Reading<'a, I> {
    /// Begins to read what came in a buffer of so many bytes.
    pub(crate) fn begin(intake: &'a I, publisher: &'a Publisher, bytes: usize) -> Self {
        let is_open = intake.is_open();
        let is_heard = is_open && publisher.has_listeners();
        let mut frames = Frames::of_this_thread();
        if is_heard {
            frames.expect(bytes);
        }
        Self {
            intake,
            publisher,
            is_open,
            is_heard,
            now_unix_ns: now_unix_ns(),
            scratch: SCRATCH.take(),
            frames,
            last: "",
            wanted: Wanted::Yes,
            unmatched: 0,
            read: Read::default(),
        }
    }

    /// Reads a frame, and makes an event of it if it is wanted.
    ///
    /// # Errors
    ///
    /// There is no event in it.
    pub(crate) fn take(&mut self, payload: &'a [u8]) -> Result<(), Fault> {
        let frame = Decoded::read(payload, self.last, self.is_heard, &mut self.scratch)?;
        let profile = frame.profile();
        if profile != self.last {
            self.count_unmatched();
            self.last = profile;
            self.wanted = if self.is_open {
                self.intake.wants(profile)
            } else {
                Wanted::Yes
            };
        }
        let event = match self.wanted {
            Wanted::No => None,
            Wanted::Yes | Wanted::NotKnown => {
                Some(frame.event(self.now_unix_ns, &mut self.scratch))
            }
        };
        match event {
            Some(Ok(_)) => {}
            Some(Err(NoJson::Malformed(reason))) => return Err(Fault::Data(reason)),
            // Nothing has walked all of it.
            None | Some(Err(NoJson::TooLong)) => frame.check()?,
        }
        self.read.is_ours |= frame.is_ours();
        if self.is_heard {
            let written = frame.frame(&self.scratch);
            self.publisher.add(profile, written, &mut self.frames);
        }
        match event {
            None => self.unmatched += 1,
            Some(Ok(event)) => {
                self.read.has_new |= self.wanted == Wanted::NotKnown;
                self.read.events.push(event);
            }
            Some(Err(error)) => {
                let reason = format!("the event for profile {profile:?} is not kept: {error}");
                self.read.too_long.push(reason);
            }
        }
        Ok(())
    }

    fn count_unmatched(&mut self) {
        if self.unmatched > 0 {
            self.intake.unmatched(self.last, self.unmatched);
            self.read.unmatched += self.unmatched;
            self.unmatched = 0;
        }
    }

    /// Sends the frames to the listeners.
    pub(crate) fn publish(mut self) -> Read {
        self.count_unmatched();
        self.scratch.trim();
        SCRATCH.set(self.scratch);
        self.publisher.publish_frames(self.frames);
        self.read
    }
}
