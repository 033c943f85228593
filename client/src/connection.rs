//! One connection to a host: a task that owns the socket, and the exchange that it shares with the callers.
//!
//! Callers append to the exchange and the task writes all that has gathered since its last write, so requests made
//! together leave together.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use protocol::{
    Decoder, Reply, encoder,
    limits::{MESSAGE_BYTES_MAX, SEPARATOR},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::{Notify, OnceCell, Semaphore},
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    error::ClientError,
    exchange::{Answer, Exchange, ExchangeEnd},
    limits::{CLOSE_WAIT, IN_FLIGHT_MAX, OUTGOING_BYTES_MAX, READ_BYTES, REPLY_BYTES_MAX},
    operators,
    options::ClientOptions,
};

/// The halves of a socket, of whichever kind.
type Reading = Box<dyn AsyncRead + Send + Unpin>;
type Writing = Box<dyn AsyncWrite + Send + Unpin>;

/// The callers' side. Dropped, it still writes what was sent, and ends.
#[derive(Debug)]
pub(crate) struct Connection {
    shared: Arc<Shared>,
    task: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    exchange: Mutex<Exchange>,
    /// Counts [`IN_FLIGHT_MAX`]; closed when the connection ends, as is `outgoing_space`.
    in_flight: Semaphore,
    /// Counts the bytes that may yet be queued.
    outgoing_space: Semaphore,
    /// There is something to write, or the end has come.
    work: Notify,
    /// The end is this client's own; its last bytes may take [`CLOSE_WAIT`].
    closing: Notify,
    /// Set once the host has answered `rm.hello`, with the session that it gave.
    greeted: OnceCell<Option<Arc<str>>>,
    /// 0 is left to the host's complaints about what has no number.
    next_query_index: AtomicU64,
    /// How often there was a sign of the host's life: something came, or a socket that was full took more.
    heard: AtomicU64,
}

impl Connection {
    /// Connects within `wait`.
    pub(crate) async fn open(
        options: &ClientOptions,
        wait: Option<Duration>,
    ) -> Result<Self, ClientError> {
        // One that does not come back by itself has its requests' timeouts.
        let silence = options.reconnect.map(|_| options.silence);
        let silence = silence.filter(|silence| !silence.is_zero());
        match &options.data {
            Some(data) => {
                let (reading, writing) = operators::connect(data, wait).await?.into_split();
                Ok(Self::over(Box::new(reading), Box::new(writing), silence))
            }
            None => {
                let (reading, writing) = options.server.connect(wait).await?.into_split();
                Ok(Self::over(Box::new(reading), Box::new(writing), silence))
            }
        }
    }

    fn over(reading: Reading, writing: Writing, silence: Option<Duration>) -> Self {
        let shared = Arc::new(Shared {
            exchange: Mutex::default(),
            in_flight: Semaphore::new(IN_FLIGHT_MAX),
            outgoing_space: Semaphore::new(OUTGOING_BYTES_MAX),
            work: Notify::new(),
            closing: Notify::new(),
            greeted: OnceCell::new(),
            next_query_index: AtomicU64::new(1),
            heard: AtomicU64::new(0),
        });
        let task = tokio::spawn(drive(reading, writing, Arc::clone(&shared), silence));
        Self {
            shared,
            task: Mutex::new(Some(task)),
        }
    }

    /// Sends a request and waits for its reply. Dropped while it waits, it frees its place.
    pub(crate) async fn ask(
        &self,
        type_name: &str,
        payload: Option<&str>,
        meta: Option<&str>,
    ) -> Result<Answer, ClientError> {
        let shared = &*self.shared;
        let _in_flight = shared
            .in_flight
            .acquire()
            .await
            .map_err(|_| shared.end_error())?;
        let (query_index, message) = shared.encode(type_name, payload, meta)?;
        let space = shared
            .outgoing_space
            .acquire_many(message.len() as u32)
            .await
            .map_err(|_| shared.end_error())?;
        let answer = shared
            .exchange()
            .ask(type_name, query_index, &message)
            .map_err(end_error)?;
        space.forget();
        let _place = InFlight {
            shared,
            query_index,
        };
        shared.work.notify_one();
        answer.await.map_err(|_| shared.end_error())
    }

    /// Sends a request whose reply is ignored; returns once it is queued.
    pub(crate) async fn tell(
        &self,
        type_name: &str,
        payload: Option<&str>,
    ) -> Result<(), ClientError> {
        let shared = &*self.shared;
        let (_, message) = shared.encode(type_name, payload, None)?;
        let space = shared
            .outgoing_space
            .acquire_many(message.len() as u32)
            .await
            .map_err(|_| shared.end_error())?;
        shared.exchange().tell(&message).map_err(end_error)?;
        space.forget();
        shared.work.notify_one();
        Ok(())
    }

    /// Runs `hello` unless it has succeeded on this connection before. It gives the session.
    pub(crate) async fn greet(
        &self,
        hello: impl Future<Output = Result<Option<Arc<str>>, ClientError>>,
    ) -> Result<Option<Arc<str>>, ClientError> {
        self.shared.greeted.get_or_try_init(|| hello).await.cloned()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.shared.exchange().ended().is_none()
    }

    /// Fails all that waits, writes what was sent, and ends; returns when the socket is closed.
    pub(crate) async fn close(&self) {
        self.shared.close();
        if let Some(task) = self.take_task() {
            // The task bounds itself; a failed one has nothing left to close.
            let _ = task.await;
        }
    }

    /// Fails all that waits and drops the socket with all that is not yet written.
    pub(crate) fn cut(&self, reason: &str) {
        self.shared.end(ExchangeEnd::Lost(reason.into()));
        if let Some(task) = self.take_task() {
            task.abort();
        }
    }

    fn take_task(&self) -> Option<JoinHandle<()>> {
        self.task
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Shared {
    /// Every change under the lock is whole in itself, so a panic elsewhere leaves nothing half done.
    fn exchange(&self) -> MutexGuard<'_, Exchange> {
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn encode(
        &self,
        type_name: &str,
        payload: Option<&str>,
        meta: Option<&str>,
    ) -> Result<(u64, Vec<u8>), ClientError> {
        let query_index = self.next_query_index.fetch_add(1, Ordering::Relaxed);
        let mut message = Vec::new();
        encoder::request(&mut message, type_name, query_index, payload, meta);
        let bytes = message.len() - SEPARATOR.len();
        // The host would close the connection, and all others that wait on it would pay.
        if bytes > MESSAGE_BYTES_MAX {
            return Err(ClientError::TooLarge {
                bytes,
                bytes_max: MESSAGE_BYTES_MAX,
            });
        }
        Ok((query_index, message))
    }

    /// Asks for a sign of life. Where there is no room for it, nothing that was sent before has left either.
    fn ping(&self) {
        let Ok((_, message)) = self.encode("ping", None, None) else {
            return;
        };
        let Ok(space) = self.outgoing_space.try_acquire_many(message.len() as u32) else {
            return;
        };
        if self.exchange().tell(&message).is_ok() {
            space.forget();
            self.work.notify_one();
        }
    }

    fn end(&self, ended: ExchangeEnd) {
        self.exchange().end(ended);
        self.in_flight.close();
        self.outgoing_space.close();
        self.work.notify_one();
    }

    fn close(&self) {
        self.end(ExchangeEnd::Closed);
        self.closing.notify_one();
    }

    fn end_error(&self) -> ClientError {
        let ended = self.exchange().ended().cloned();
        end_error(
            ended.expect(
                "a connection's semaphores close and its callers are let go when it has ended",
            ),
        )
    }
}

fn end_error(ended: ExchangeEnd) -> ClientError {
    match ended {
        ExchangeEnd::Closed => ClientError::Closed,
        ExchangeEnd::Lost(reason) => ClientError::Lost { reason },
    }
}

/// A caller's place among those that wait.
struct InFlight<'a> {
    shared: &'a Shared,
    query_index: u64,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.shared.exchange().forget(self.query_index);
    }
}

/// Lets the callers go however the task ends, also with its runtime.
struct EndOnDrop(Arc<Shared>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0
            .end(ExchangeEnd::Lost("its runtime has stopped".into()));
    }
}

async fn drive(
    mut reading: Reading,
    writing: Writing,
    shared: Arc<Shared>,
    silence: Option<Duration>,
) {
    let shared = EndOnDrop(shared);
    let shared = &*shared.0;
    let closing_too_long = async {
        shared.closing.notified().await;
        sleep(CLOSE_WAIT).await;
    };
    let silent_too_long = async {
        match silence {
            Some(silence) => silent(shared, silence).await,
            None => std::future::pending().await,
        }
    };
    let mut decoder = Decoder::with_limit(REPLY_BYTES_MAX);
    let end = tokio::select! {
        lost = read_replies(&mut reading, &mut decoder, shared) => lost,
        end = write_requests(writing, shared) => match end {
            Ok(ended) => ended,
            Err(error) => {
                // The host may have said why it takes nothing more.
                let rest = read_replies(&mut reading, &mut decoder, shared);
                let _ = timeout(CLOSE_WAIT, rest).await;
                shared.exchange().broke_off(error)
            }
        },
        lost = silent_too_long => lost,
        () = closing_too_long => ExchangeEnd::Lost("closing took too long".into()),
    };
    if let (ExchangeEnd::Lost(reason), true) = (&end, shared.exchange().ended().is_none()) {
        tracing::warn!(%reason, "the connection is lost");
    }
    let closed = end == ExchangeEnd::Closed;
    shared.end(end);
    if closed {
        // Closing over unread replies would reset the connection, and the host might lose what was written last.
        let _ = timeout(
            CLOSE_WAIT,
            tokio::io::copy(&mut reading, &mut tokio::io::sink()),
        )
        .await;
    }
}

async fn read_replies(
    reading: &mut Reading,
    decoder: &mut Decoder,
    shared: &Shared,
) -> ExchangeEnd {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let bytes = match reading.read(&mut buffer).await {
            Ok(0) => return shared.exchange().broke_off("the host closed it"),
            Ok(bytes) => bytes,
            Err(error) => return shared.exchange().broke_off(error),
        };
        shared.heard.fetch_add(1, Ordering::Relaxed);
        let mut frames = decoder.feed(&buffer[..bytes]);
        loop {
            match frames.next() {
                Ok(None) => break,
                Ok(Some(frame)) => match Reply::parse(frame) {
                    Ok(reply) => shared.exchange().deliver(&reply),
                    Err(error) => tracing::warn!(%error, "ignored what is no reply"),
                },
                Err(error) => {
                    return ExchangeEnd::Lost(
                        format!("what the host sends cannot be read: {error}").into(),
                    );
                }
            }
        }
    }
}

/// Returns when nothing has come for too long while the host owes a reply, nor an answer to a ping. A host that is there
/// answers that at once.
async fn silent(shared: &Shared, silence: Duration) -> ExchangeEnd {
    loop {
        let heard = shared.heard.load(Ordering::Relaxed);
        let is_silent = || shared.heard.load(Ordering::Relaxed) == heard;
        sleep(silence).await;
        if !is_silent() || !shared.exchange().is_owed() {
            continue;
        }
        shared.ping();
        sleep(silence).await;
        if is_silent() {
            let reason = format!(
                "the host has said nothing for {:?}, nor answered a ping",
                silence * 2
            );
            return ExchangeEnd::Lost(reason.into());
        }
    }
}

/// Returns when writing fails, or when the end has come and all is written.
async fn write_requests(mut writing: Writing, shared: &Shared) -> io::Result<ExchangeEnd> {
    let mut batch = Vec::new();
    loop {
        let ended = {
            let mut exchange = shared.exchange();
            exchange.take_outgoing(&mut batch);
            exchange.ended().cloned()
        };
        match (batch.is_empty(), ended) {
            (true, None) => shared.work.notified().await,
            (true, Some(ended)) => {
                // Where the host is already gone, there is nobody to say farewell to.
                let _ = writing.shutdown().await;
                return Ok(ended);
            }
            (false, _) => {
                write_all(&mut writing, &batch, shared).await?;
                shared.outgoing_space.add_permits(batch.len());
            }
        }
    }
}

/// Writes all. A host that takes what it had no room for is there, though a ping still waits behind much else on a slow line.
async fn write_all(writing: &mut Writing, mut bytes: &[u8], shared: &Shared) -> io::Result<()> {
    while !bytes.is_empty() {
        let mut was_full = false;
        let taken = poll_fn(|cx| {
            let taken = Pin::new(&mut *writing).poll_write(cx, bytes);
            was_full |= taken.is_pending();
            taken
        });
        match taken.await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            taken => bytes = &bytes[taken..],
        }
        if was_full {
            shared.heard.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}
