//! A process that has connected, and how the host talks with it.

use std::time::Duration;

use bytes::BytesMut;
use evbus_abi::v1::{HostObjectV1, LevelV1, LinkV1};
use futures_util::StreamExt as _;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio_util::codec::{FramedRead, LengthDelimitedCodec};

use super::spawn::{PluginProcess, describe};
use super::wire::{self, ToHost, WireError};

/// How long a process that closed its socket may take to end by itself: its own exit status says more than a kill.
pub(super) const DYING: Duration = Duration::from_secs(2);

/// The frames of the process.
pub(super) type Reader = FramedRead<OwnedReadHalf, LengthDelimitedCodec>;

/// A process that has connected.
pub(super) struct Talk {
    pub(super) process: PluginProcess,
    pub(super) reader: Reader,
    pub(super) writer: OwnedWriteHalf,
}

/// The next frame, which is the process's greeting if it is the first.
pub(super) async fn next_frame(reader: &mut Reader) -> Result<BytesMut, WireError> {
    match reader.next().await {
        Some(frame) => frame.map_err(|error| wire::broken_frame(error, reader.decoder())),
        None => Err(WireError::End(None)),
    }
}

/// The next message that is for the instance; lines and link states go to the host.
pub(super) async fn next_message(
    reader: &mut Reader,
    host: &impl HostObjectV1,
) -> Result<ToHost<'static>, WireError> {
    loop {
        match wire::message(&next_frame(reader).await?)? {
            ToHost::Log {
                level,
                target,
                message,
            } => host.log(LevelV1(level), &target, &message),
            ToHost::Link { link, reason } => host.link(LinkV1(link), &reason),
            message => return Ok(message),
        }
    }
}

/// A frame that the host does not expect now.
pub(super) fn misplaced_frame() -> WireError {
    WireError::Malformed("an unexpected frame".to_owned())
}

/// Makes sure that the process has ended, and says in one sentence how.
pub(super) async fn ended(process: &mut PluginProcess, error: &WireError) -> String {
    match error {
        WireError::Malformed(what) => {
            process.end(Duration::ZERO).await;
            format!("the plugin's process was killed because it sent {what}")
        }
        WireError::End(_) => match process.end(DYING).await {
            (_, true) => "the plugin's process was killed because it closed its socket".to_owned(),
            (status, false) => describe(status),
        },
    }
}
