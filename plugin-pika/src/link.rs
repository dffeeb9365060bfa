//! The connection of a destination, which reconnects by itself.

use std::sync::Arc;
use std::time::Duration;

use evbus_sdk::tokio::sync::watch;
use evbus_sdk::tokio::time;
use evbus_sdk::{ConnectError, Context, Task};

use crate::connect::{Connector, Session};
use crate::outcome::Failure;
use crate::place;
use crate::publisher::Rules;

/// Waits between attempts to connect again: they double from the first to the last.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LAST_WAIT: Duration = Duration::from_secs(15);

/// The connection as publishes see it.
#[derive(Debug)]
pub(crate) struct Link {
    state: watch::Receiver<State>,
    keeper: Task,
}

#[derive(Debug, Clone)]
enum State {
    Up(Arc<Session>),
    Down(String),
}

impl Link {
    /// Connects, and from then on connects again whenever the connection is lost.
    ///
    /// # Errors
    ///
    /// Those of the first attempt.
    pub(crate) async fn new(
        connector: Connector,
        rules: &Rules,
        context: Context,
    ) -> Result<Self, ConnectError> {
        let session = Arc::new(connector.connect().await?);
        place::check(&session, connector.endpoint(), rules).await?;
        let (state, watched) = watch::channel(State::Up(Arc::clone(&session)));
        let keeper = context.spawn(keep(connector, context.clone(), session, state));
        Ok(Self {
            state: watched,
            keeper,
        })
    }

    /// The connection, once there is one; an error if there was none in time.
    pub(crate) async fn session(&self, within: Duration) -> Result<Arc<Session>, String> {
        let mut state = self.state.clone();
        let up = state.wait_for(|state| matches!(state, State::Up(up) if up.is_usable()));
        if let Ok(Ok(state)) = time::timeout(within, up).await
            && let State::Up(session) = &*state
        {
            return Ok(Arc::clone(session));
        }
        Err(match &*self.state.borrow() {
            State::Down(why) => why.clone(),
            State::Up(_) => "the connection was lost".to_owned(),
        })
    }

    /// Ends the connection in an orderly way.
    pub(crate) async fn close(&self) {
        self.keeper.end();
        let state = self.state.borrow().clone();
        if let State::Up(session) = state {
            session.close().await;
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.keeper.end();
    }
}

async fn keep(
    connector: Connector,
    context: Context,
    mut session: Arc<Session>,
    state: watch::Sender<State>,
) {
    loop {
        let blocking = |reason: Option<&str>| match reason {
            Some(reason) => {
                let blocked = Failure::Blocked(reason.to_owned());
                context.link_down(&format!("{}: {blocked}", connector.endpoint()));
            }
            None => context.link_up(),
        };
        let why = session.lost(blocking).await;
        down(&context, &state, format!("{}: {why}", connector.endpoint()));
        // Except for a publish that is about to fail, this is the last reference; dropping it closes the socket.
        drop(session);
        session = reconnect(&connector, &context, &state).await;
        context.link_up();
        state.send_replace(State::Up(Arc::clone(&session)));
    }
}

async fn reconnect(
    connector: &Connector,
    context: &Context,
    state: &watch::Sender<State>,
) -> Arc<Session> {
    let mut wait = FIRST_WAIT;
    loop {
        time::sleep(wait).await;
        wait = LAST_WAIT.min(wait * 2);
        match connector.connect().await {
            Ok(session) => return Arc::new(session),
            Err(ConnectError::Retry(why) | ConnectError::Permanent(why)) => {
                down(context, state, why);
            }
            Err(_) => {}
        }
    }
}

/// Reports it to the host, once for each reason.
fn down(context: &Context, state: &watch::Sender<State>, why: String) {
    let said = matches!(&*state.borrow(), State::Down(before) if *before == why);
    if !said {
        context.link_down(&why);
        state.send_replace(State::Down(why));
    }
}
