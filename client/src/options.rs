//! What can be chosen for a client, and for a single request.

use std::{path::PathBuf, time::Duration};

use protocol::limits::DEFAULT_WAIT;

use crate::{
    limits::{DEADLINE_GRACE, DEADLINE_MAX, SILENCE},
    server::Server,
};

/// What can be chosen for a client.
///
/// ```no_run
/// # async fn run() -> Result<(), client::ClientError> {
/// use std::time::Duration;
/// use client::{ClientOptions, Server};
///
/// let server: Server = "tickets.example:5000".parse()?;
/// let client = ClientOptions::default().server(server).timeout(Duration::from_secs(5)).connect().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ClientOptions {
    pub(crate) server: Server,
    pub(crate) data: Option<PathBuf>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) reconnect: Option<Duration>,
    pub(crate) silence: Duration,
    pub(crate) session: Option<String>,
}

impl Default for ClientOptions {
    /// `localhost` at the protocol's port, and 20 s for each request.
    fn default() -> Self {
        Self {
            server: Server::default(),
            data: None,
            timeout: Some(DEFAULT_WAIT),
            reconnect: None,
            silence: SILENCE,
            session: None,
        }
    }
}

impl ClientOptions {
    /// Where the host listens.
    pub fn server(mut self, server: impl Into<Server>) -> Self {
        self.server = server.into();
        self
    }

    /// Goes through the operators' socket of the host on this machine that has this data folder, instead of to its
    /// address. Only such a client may tell plugins what to do, and it is let in while all places of clients are taken;
    /// it has to run as the host's user, or as root.
    pub fn operator(mut self, data: impl Into<PathBuf>) -> Self {
        self.data = Some(data.into());
        self
    }

    /// How long a request waits for its reply, and connecting for the host. Zero: without end.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout).filter(|timeout| !timeout.is_zero());
        self
    }

    /// Has the client come back by itself when its connection is lost, and ask again for all that was not answered. Each
    /// request is given an id within the client's session, so that it is served once, however often it is asked. Gives up once
    /// the host is away for `patience`; each request waits for no longer than its own timeout all the same.
    ///
    /// The host keeps the answers of such requests for this, on its disk: each costs it a write, also where the type
    /// has no state. [`Client::send`](crate::Client::send) gives no ids, and comes back for nothing. Where the caller names the
    /// [session](Self::session), it chooses the ids as well, and only requests that bear one are asked again.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), client::ClientError> {
    /// use std::time::Duration;
    /// use client::ClientOptions;
    ///
    /// let client = ClientOptions::default().reconnect(Duration::from_secs(60)).connect().await?;
    /// // Bought once, though the host be started anew meanwhile.
    /// let got: serde_json::Value = client.request("getTickets", ()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn reconnect(mut self, patience: Duration) -> Self {
        self.reconnect = Some(patience);
        self
    }

    /// How long a client that [reconnects](Self::reconnect) hears nothing, while it waits for a reply, before it asks the
    /// host for a sign of life; without one within the same time the connection counts as lost. By default
    /// [`SILENCE`]. Zero: for ever.
    pub fn silence(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }

    /// Goes on with a session, as [`Client::session`](crate::Client::session) told it, also of another program: what was asked there under an id is
    /// answered as it was. A host that has forgotten it refuses with `id_forgotten`.
    pub fn session(mut self, session: impl Into<String>) -> Self {
        self.session = Some(session.into());
        self
    }
}

/// What can be chosen for a single request. With a deadline or `wait`, the connection says `rm.hello` first, once.
///
/// A request and its host are to give up in the right order: first the host, with the answer `expired`, then the
/// client. Otherwise something could be granted to a client that no longer waits. So, with [`DEADLINE_GRACE`]:
///
/// | chosen for the request | deadline sent | the client waits |
/// |---|---|---|
/// | nothing | none, so the host's or the type's own holds | its own timeout |
/// | a deadline | that | its own timeout, or the deadline and the grace if that is longer |
/// | `wait` alone | its client's timeout less the grace, or half of a timeout under twice the grace | its own timeout |
/// | a timeout | only a deadline chosen with it | that timeout |
///
/// Where the client's timeout is without end, `wait` alone sends no deadline either.
///
/// ```no_run
/// # async fn run() -> Result<(), client::ClientError> {
/// use std::time::Duration;
/// use client::{Client, RequestOptions};
///
/// let client = Client::connect().await?;
/// let patient = RequestOptions::default().wait(true).deadline(Duration::from_secs(60));
/// let got: serde_json::Value = client.request_with("getProxy", (), &patient).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct RequestOptions {
    deadline: Option<Duration>,
    wait: Option<bool>,
    timeout: Option<Duration>,
    pub(crate) id: Option<u64>,
}

impl RequestOptions {
    /// After this long from its arrival the host neither starts nor commits the request, and answers `expired`. Sent in
    /// milliseconds, rounded up. Zero: no deadline, not even the host's or the type's own. A host refuses one longer
    /// than [`DEADLINE_MAX`].
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Whether to wait until the deadline where the jobber answers "not yet", instead of being refused. Without a
    /// deadline and a timeout for this request, the deadline lies a little before its client's timeout.
    pub fn wait(mut self, wait: bool) -> Self {
        self.wait = Some(wait);
        self
    }

    /// How long this request waits for its reply, instead of as long as its client's. Zero: without end.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The request's own number within the session, from 1 to 2^53 - 1, higher than those before. Asked again under it,
    /// also over another connection or by another program, the same request gets the same answer and is served once. A client
    /// that [reconnects](ClientOptions::reconnect) gives ids by itself, unless its [session](ClientOptions::session) is named.
    pub fn id(mut self, id: u64) -> Self {
        self.id = Some(id);
        self
    }

    /// `None`: without end. Without a choice of its own, a request outwaits its deadline.
    pub(crate) fn effective_timeout(&self, of_client: Option<Duration>) -> Option<Duration> {
        match (self.timeout, self.deadline) {
            (Some(own), _) => Some(own).filter(|own| !own.is_zero()),
            (None, None | Some(Duration::ZERO)) => of_client,
            (None, Some(deadline)) => {
                of_client.map(|of_client| of_client.max(deadline.saturating_add(DEADLINE_GRACE)))
            }
        }
    }

    /// What the host is told, where it is told any.
    fn effective_deadline(&self, of_client: Option<Duration>) -> Option<Duration> {
        let waits = self.wait == Some(true);
        match (self.deadline, self.timeout, of_client) {
            (None, None, Some(timeout)) if waits => Some(deadline_within(timeout)),
            (own, ..) => own,
        }
    }

    /// The value of the key `meta`, if one is needed.
    pub(crate) fn meta(&self, of_client: Option<Duration>, id: Option<u64>) -> Option<String> {
        let deadline = self.effective_deadline(of_client).map(|deadline| {
            let deadline_ms =
                u64::try_from(deadline.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
            format!("\"deadline_ms\":{deadline_ms}")
        });
        let wait = self.wait.map(|wait| format!("\"wait\":{wait}"));
        let id = id.map(|id| format!("\"id\":{id}"));
        let entries: Vec<String> = [deadline, wait, id].into_iter().flatten().collect();
        if entries.is_empty() {
            None
        } else {
            Some(format!("{{{}}}", entries.join(",")))
        }
    }
}

/// The deadline of a request whose client waits for `timeout`. Never zero, which would be none.
fn deadline_within(timeout: Duration) -> Duration {
    timeout
        .saturating_sub(DEADLINE_GRACE)
        .max(timeout / 2)
        .clamp(Duration::from_millis(1), DEADLINE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF_CLIENT: Option<Duration> = Some(DEFAULT_WAIT);

    #[test]
    fn meta_holds_what_was_chosen_and_is_absent_otherwise() {
        let options = RequestOptions::default();
        assert_eq!(options.meta(OF_CLIENT, None), None);
        assert_eq!(
            options.clone().wait(false).meta(OF_CLIENT, None).as_deref(),
            Some(r#"{"wait":false}"#)
        );
        let both = options.wait(true).deadline(Duration::from_micros(1500));
        assert_eq!(
            both.meta(OF_CLIENT, None).as_deref(),
            Some(r#"{"deadline_ms":2,"wait":true}"#)
        );
        let id = RequestOptions::default().meta(OF_CLIENT, Some(7));
        assert_eq!(id.as_deref(), Some(r#"{"id":7}"#));
    }

    #[test]
    fn who_waits_without_a_choice_of_its_own_ends_its_wait_before_its_client_does() {
        let ms = Duration::from_millis;
        let waits = RequestOptions::default().wait(true);
        let cases = [
            (ms(20_000), 18_000_u64),
            (ms(4_000), 2_000),
            (ms(3_000), 1_500),
            (Duration::from_nanos(1), 1),
            (Duration::MAX, 31_536_000_000),
        ];
        for (of_client, deadline_ms) in cases {
            assert_eq!(
                waits.meta(Some(of_client), None),
                Some(format!(r#"{{"deadline_ms":{deadline_ms},"wait":true}}"#))
            );
            assert_eq!(waits.effective_timeout(Some(of_client)), Some(of_client));
        }
        let only_wait = Some(r#"{"wait":true}"#);
        assert_eq!(waits.meta(None, None).as_deref(), only_wait);
        let own = waits.clone().timeout(ms(5_000));
        assert_eq!(own.meta(OF_CLIENT, None).as_deref(), only_wait);
        let endless = waits.deadline(Duration::ZERO);
        assert_eq!(
            endless.meta(OF_CLIENT, None).as_deref(),
            Some(r#"{"deadline_ms":0,"wait":true}"#)
        );
    }

    #[test]
    fn a_deadline_of_zero_is_none_and_changes_no_timeout() {
        let none = RequestOptions::default().deadline(Duration::ZERO);
        let second = Some(Duration::from_secs(1));
        assert_eq!(none.effective_timeout(second), second);
        assert_eq!(none.effective_timeout(None), None);
    }

    #[test]
    fn a_request_outwaits_its_deadline_unless_it_says_how_long_it_waits() {
        let second = Duration::from_secs(1);
        let of_client = Some(20 * second);
        let options = RequestOptions::default();
        assert_eq!(options.effective_timeout(of_client), of_client);
        assert_eq!(
            options
                .clone()
                .deadline(5 * second)
                .effective_timeout(of_client),
            of_client
        );
        assert_eq!(
            options
                .clone()
                .deadline(60 * second)
                .effective_timeout(of_client),
            Some(62 * second)
        );
        assert_eq!(
            options
                .clone()
                .deadline(60 * second)
                .effective_timeout(None),
            None
        );
        assert_eq!(
            options
                .clone()
                .deadline(60 * second)
                .timeout(second)
                .effective_timeout(of_client),
            Some(second)
        );
        assert_eq!(
            options.timeout(Duration::ZERO).effective_timeout(of_client),
            None
        );
    }
}
