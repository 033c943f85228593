//! How a client comes back by itself: a lost connection is replaced, and what was not answered is asked again under its id.

use std::{
    sync::{Arc, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};

use protocol::ErrorCode;
use tokio::time::{Instant, sleep};

use crate::{
    client::{Client, Request, forgotten},
    connection::Connection,
    error::ClientError,
    exchange::Answer,
    limits::{RECONNECT_PAUSE_MAX, RECONNECT_TRY_MAX, RESTART_WAIT},
    outage::Outage,
};

impl Client {
    /// Asks over one connection after the other, always under the same id, until the host has said what became of it.
    pub(crate) async fn ask_until_answered(
        &self,
        asked: &Request<'_>,
        patience: Duration,
    ) -> Result<Answer, ClientError> {
        let (mut sent_in, mut began_anew) = (None, false);
        loop {
            let connection = self.connection();
            match self.ask_over(&connection, asked, &mut sent_in).await {
                Ok(answer) if answer.is_in_doubt() => sleep(RECONNECT_PAUSE_MAX / 2).await,
                Ok(answer)
                    if self.may_be_starting() && answer.is_refused(ErrorCode::UnknownType) =>
                {
                    sleep(RECONNECT_PAUSE_MAX / 10).await;
                }
                Ok(answer) if !answer.is_refused(ErrorCode::ShuttingDown) => {
                    *self.outage() = None;
                    return Ok(answer);
                }
                // Nothing was changed. Whatever else waits on this connection is asked again as well.
                Ok(_) => self.come_back(&connection, patience).await?,
                Err(ClientError::Lost { .. }) => self.come_back(&connection, patience).await?,
                Err(error) if error.code() == Some(ErrorCode::IdForgotten.as_str()) => {
                    if sent_in.is_some() {
                        return Err(forgotten(asked.type_name));
                    }
                    if self.shared.session.is_callers() || std::mem::replace(&mut began_anew, true)
                    {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Replaces a lost connection, unless another task has done so already.
    async fn come_back(
        &self,
        lost: &Arc<Connection>,
        patience: Duration,
    ) -> Result<(), ClientError> {
        let _replacing = self.shared.replacing.lock().await;
        if !Arc::ptr_eq(lost, &self.connection()) {
            return Ok(());
        }
        lost.cut("the host is stopping");
        // An outage lasts until the host has answered something: one that only accepts and hangs up is away, too.
        let known = *self.outage();
        let mut outage = known.unwrap_or_else(Outage::begin);
        let options = &self.shared.options;
        let a_try = options.timeout.unwrap_or(RECONNECT_TRY_MAX);
        let mut is_first = known.is_none();
        loop {
            if !std::mem::take(&mut is_first) {
                sleep(outage.next_pause()).await;
            }
            if self.shared.closed.load(Ordering::Relaxed) {
                return Err(ClientError::Closed);
            }
            let opened = Connection::open(options, Some(a_try.min(RECONNECT_TRY_MAX)));
            let opened = opened.await;
            *self.outage() = Some(outage);
            match opened {
                Ok(_) if outage.since.elapsed() > patience => return Err(lost_for(patience)),
                Ok(connection) => {
                    tracing::info!("the connection is there again");
                    self.put(connection);
                    *self.came_back() = Some(Instant::now());
                    return Ok(());
                }
                Err(error) if outage.since.elapsed() > patience => return Err(error),
                Err(_) => {}
            }
        }
    }

    fn outage(&self) -> MutexGuard<'_, Option<Outage>> {
        let outage = self.shared.outage.lock();
        outage.unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the host may not have loaded its plugins yet.
    fn may_be_starting(&self) -> bool {
        self.came_back()
            .is_some_and(|at| at.elapsed() < RESTART_WAIT)
    }

    fn came_back(&self) -> MutexGuard<'_, Option<Instant>> {
        let came_back = self.shared.came_back.lock();
        came_back.unwrap_or_else(PoisonError::into_inner)
    }
}

fn lost_for(patience: Duration) -> ClientError {
    ClientError::Lost {
        reason: format!("the host has answered nothing for {patience:?}").into(),
    }
}
