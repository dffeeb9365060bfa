//! Programs that leave while the host is full.
//!
//! What a program wrote before it left is still taken, but its connection serves nobody any more. So
//! that programs which give up one after the other do not keep others out, the rest of what such a
//! program wrote is read into memory, within a bound, and its connection is let go.

use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long events wait for room before the host checks whether their program is still there, and how
/// often it checks.
const INTERVAL: Duration = Duration::from_secs(1);

/// What the memory is counted in.
const UNIT: usize = 1024;

/// What a program that has left takes beside the bytes that it wrote.
const OVERHEAD_UNITS: usize = 8;

/// Memory for what programs have left behind. A clone is the same.
#[derive(Debug, Clone)]
pub(crate) struct Departures(Arc<Semaphore>);

/// The rest of what a program wrote.
#[derive(Debug)]
pub(crate) struct Rest {
    pub(crate) bytes: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

impl Departures {
    /// All programs that have left may have left this many bytes together.
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes / UNIT)))
    }

    /// Resolves when the program at the other end has left, and there is room for what it left: the
    /// rest of its stream, and the `held` bytes that have been read already.
    pub(crate) async fn rest_of(&self, stream: &UnixStream, held: usize) -> Rest {
        loop {
            tokio::time::sleep(INTERVAL).await;
            if has_left(stream)
                && let Some(rest) = self.take(stream, held)
            {
                return rest;
            }
        }
    }

    fn take(&self, stream: &UnixStream, held: usize) -> Option<Rest> {
        let len = usize::try_from(rustix::io::ioctl_fionread(stream).ok()?).ok()?;
        let units = (held + len) / UNIT + OVERHEAD_UNITS;
        let room = Arc::clone(&self.0)
            .try_acquire_many_owned(u32::try_from(units).ok()?)
            .ok()?;
        let mut bytes = Vec::with_capacity(len);
        // Nobody writes any more, so all of it is here and the stream ends behind it.
        while bytes.len() < len {
            match rustix::io::read(stream, rustix::buffer::spare_capacity(&mut bytes)) {
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => {
                    tracing::warn!("cannot read the rest of what a program wrote: {error}");
                    break;
                }
            }
        }
        Some(Rest { bytes, _room: room })
    }
}

/// Whether the other end is closed. A program that waits for its answer has closed its half only.
fn has_left(stream: &UnixStream) -> bool {
    let mut fds = [PollFd::new(stream, PollFlags::empty())];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut fds, Some(&at_once)).is_ok() && fds[0].revents().contains(PollFlags::HUP)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::Shutdown;

    use super::*;

    fn pair() -> (UnixStream, std::os::unix::net::UnixStream) {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("there are descriptors");
        ours.set_nonblocking(true).expect("it is a socket");
        (UnixStream::from_std(ours).expect("it is a socket"), theirs)
    }

    #[tokio::test]
    async fn a_program_that_waits_for_its_answer_has_not_left() {
        let (ours, theirs) = pair();
        assert!(!has_left(&ours));
        theirs.shutdown(Shutdown::Write).expect("it is connected");
        assert!(!has_left(&ours));
        drop(theirs);
        assert!(has_left(&ours));
    }

    #[tokio::test]
    async fn what_a_program_wrote_is_taken_whole_or_not_at_all() {
        let (ours, mut theirs) = pair();
        theirs.write_all(&[7; 10_000]).expect("the kernel takes it");
        drop(theirs);
        let small = Departures::new(10_000);
        assert!(small.take(&ours, 0).is_none());
        let large = Departures::new(40_000);
        assert!(
            large.take(&ours, 30_000).is_none(),
            "what was read counts, too"
        );
        let rest = large.take(&ours, 0).expect("there is room");
        assert_eq!(rest.bytes, [7; 10_000]);
        let used = large.0.available_permits();
        drop(rest);
        assert!(large.0.available_permits() > used);
    }
}
