//! The handle that programs hold: what can be asked of a host, and how its connection is kept.

use std::sync::{
    Arc, Mutex, PoisonError, RwLock,
    atomic::{AtomicBool, Ordering},
};

use protocol::ErrorCode;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::{
    connection::Connection,
    error::ClientError,
    exchange::Answer,
    options::{ClientOptions, RequestOptions},
    outage::Outage,
    session::{HELLO_TYPE, Session, Welcome, no_session},
};

/// A client of one host, over one connection.
///
/// Its clones share the connection; any number of tasks may ask at the same time, and their replies come as they are
/// served. A lost connection fails all that waits, at once, and [`reset`](Self::reset) opens another; unless the client is
/// to [come back by itself](ClientOptions::reconnect). With the last clone
/// the connection closes, and the host drops what it has not yet begun.
///
/// ```
/// # use std::io::{Read, Write};
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
/// # let server = listener.local_addr().unwrap().to_string();
/// # std::thread::spawn(move || {
/// #     let (mut stream, _) = listener.accept().unwrap();
/// #     stream.read(&mut [0; 1024]).unwrap();
/// #     let reply = r#"{"type":"getTickets","queryIndex":1,"resultJob":{"tickets":[1,2],"left":498}}🦀"#;
/// #     stream.write_all(reply.as_bytes()).unwrap();
/// # });
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main_at(server: &str) -> Result<(), client::ClientError> {
/// use serde::{Deserialize, Serialize};
/// #[derive(Serialize)]
/// struct Ask { count: u32 }
/// #[derive(Deserialize)]
/// struct Got { tickets: Vec<u64>, left: u64 }
///
/// let client = client::Client::connect_to(server).await?;
/// match client.request::<Got>("getTickets", Ask { count: 2 }).await {
///     Ok(got) => println!("{:?}, {} left", got.tickets, got.left),
///     Err(error) if error.code() == Some("sold_out") => println!("too late"),
///     Err(error) => return Err(error),
/// }
/// # Ok(())
/// # }
/// # main_at(&server).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: ClientOptions,
    pub(crate) connection: RwLock<Arc<Connection>>,
    /// Held while a connection is replaced, so that two replacements do not cross.
    pub(crate) replacing: tokio::sync::Mutex<()>,
    pub(crate) session: Session,
    pub(crate) outage: Mutex<Option<Outage>>,
    /// When it last came back by itself.
    pub(crate) came_back: Mutex<Option<Instant>>,
    /// By the caller: it does not come back by itself.
    pub(crate) closed: AtomicBool,
}

impl Client {
    /// Connects to `localhost` at the protocol's port, 41969. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`ClientError::NoConnection`] if none of the addresses of `localhost` answers.
    pub async fn connect() -> Result<Self, ClientError> {
        ClientOptions::default().connect().await
    }

    /// Connects to a server given as `HOST:PORT`.
    ///
    /// # Errors
    /// [`ClientError::BadServer`] for a text that names none, [`ClientError::NoConnection`] if none of its addresses
    /// answers.
    pub async fn connect_to(server: &str) -> Result<Self, ClientError> {
        ClientOptions::default()
            .server(server.parse::<crate::Server>()?)
            .connect()
            .await
    }

    async fn open(options: ClientOptions) -> Result<Self, ClientError> {
        let connection = Connection::open(&options, options.timeout).await?;
        let connection = RwLock::new(Arc::new(connection));
        let session = Session::new(options.session.as_deref());
        Ok(Self {
            shared: Arc::new(Shared {
                options,
                connection,
                replacing: tokio::sync::Mutex::default(),
                session,
                outage: Mutex::new(None),
                came_back: Mutex::new(None),
                closed: AtomicBool::new(false),
            }),
        })
    }

    /// Asks for `type_name` and waits for the result. A payload that is written as `null`, such as `()`, is left out.
    ///
    /// # Errors
    /// [`ClientError::Refused`] for an error reply; [`ClientError::TimedOut`], [`ClientError::Lost`] or
    /// [`ClientError::Closed`] if there is no reply; [`ClientError::Payload`] or [`ClientError::TooLarge`] if nothing
    /// was sent; [`ClientError::Result`] if the result is no `T`.
    pub async fn request<T: DeserializeOwned>(
        &self,
        type_name: &str,
        payload: impl Serialize,
    ) -> Result<T, ClientError> {
        self.request_with(type_name, payload, &RequestOptions::default())
            .await
    }

    /// Like [`request`](Self::request), with a deadline, waiting, or a timeout of its own.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn request_with<T: DeserializeOwned>(
        &self,
        type_name: &str,
        payload: impl Serialize,
        options: &RequestOptions,
    ) -> Result<T, ClientError> {
        let payload = payload_text(payload)?;
        let result = self.ask(type_name, payload.as_deref(), options).await?;
        read_result(type_name, result)
    }

    /// Like [`request_with`](Self::request_with), with JSON texts in both directions. `null` is sent as it is.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn request_raw(
        &self,
        type_name: &str,
        payload: Option<&RawValue>,
        options: &RequestOptions,
    ) -> Result<Box<RawValue>, ClientError> {
        let result = self
            .ask(type_name, payload.map(RawValue::get), options)
            .await?;
        Ok(raw(result))
    }

    /// Sends a request and does not wait for its reply, which is ignored, an error too. Returns once the message is
    /// queued to be written; waits only while the queue is full. A program that ends after it calls
    /// [`close`](Self::close) first, which writes what is queued.
    ///
    /// # Errors
    /// [`ClientError::Lost`] or [`ClientError::Closed`] without a connection; [`ClientError::Payload`] or
    /// [`ClientError::TooLarge`] if nothing was sent; [`ClientError::TimedOut`] if the queue stays full.
    pub async fn send(&self, type_name: &str, payload: impl Serialize) -> Result<(), ClientError> {
        let payload = payload_text(payload)?;
        let connection = self.connection();
        let sent = connection.tell(type_name, payload.as_deref());
        within(type_name, self.shared.options.timeout, sent).await
    }

    /// Has the host print its queue to its log, and gives it: an object with at least `length`.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn print_server_queue(&self) -> Result<Box<RawValue>, ClientError> {
        self.request_raw("srvQueuePrint", None, &RequestOptions::default())
            .await
    }

    /// The session that this client's ids belong to, which another program may go on with: see
    /// [`ClientOptions::session`]. Says hello, unless that has been said.
    ///
    /// # Errors
    /// As [`request`](Self::request); [`ClientError::Lost`] too if the host is of a version that knows no sessions.
    pub async fn session(&self) -> Result<String, ClientError> {
        self.shared.session.becomes_callers();
        let connection = self.connection();
        let greeted = connection.greet(self.hello(&connection));
        let session = within(HELLO_TYPE, self.shared.options.timeout, greeted).await?;
        session.map(|name| name.to_string()).ok_or_else(no_session)
    }

    /// Takes back the request with this id of the session. True: it is not served, now or later, and who waits for its
    /// answer gets the refusal `cancelled`. False: it is being served, or has been.
    ///
    /// # Errors
    /// As [`request`](Self::request); refused with `id_forgotten` where the id is too old to tell.
    pub async fn cancel(&self, id: u64) -> Result<bool, ClientError> {
        #[derive(Deserialize)]
        struct Done {
            cancelled: bool,
        }
        const CANCEL_TYPE: &str = "rm.cancel";
        self.session().await?;
        let payload = format!("{{\"id\":{id}}}");
        let connection = self.connection();
        let asked = connection.ask(CANCEL_TYPE, Some(&payload), None);
        let answer = within(CANCEL_TYPE, self.shared.options.timeout, asked).await?;
        let done: Done = read_result(CANCEL_TYPE, result_of(answer)?)?;
        Ok(done.cancelled)
    }

    /// Whether the connection is there, as far as is known.
    pub fn is_connected(&self) -> bool {
        self.connection().is_open()
    }

    /// Closes the connection for all clones: fails what waits, writes what was sent, and returns when that is done. The
    /// host drops what it has not yet begun.
    pub async fn close(&self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        let _replacing = self.shared.replacing.lock().await;
        self.connection().close().await;
    }

    /// Drops the connection at once, failing all that waits, and connects anew, for all clones.
    ///
    /// # Errors
    /// [`ClientError::NoConnection`]; the client is then without a connection until a later `reset` succeeds.
    pub async fn reset(&self) -> Result<(), ClientError> {
        let dropped = self.connection();
        dropped.cut("this client has reset it");
        let _replacing = self.shared.replacing.lock().await;
        if !Arc::ptr_eq(&dropped, &self.connection()) {
            // Another task has replaced the same connection meanwhile, and others may already wait on the new one.
            return Ok(());
        }
        let options = &self.shared.options;
        self.put(Connection::open(options, options.timeout).await?);
        self.shared.closed.store(false, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn connection(&self) -> Arc<Connection> {
        Arc::clone(
            &self
                .shared
                .connection
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// The JSON text of the result.
    async fn ask(
        &self,
        type_name: &str,
        payload: Option<&str>,
        options: &RequestOptions,
    ) -> Result<String, ClientError> {
        let of_client = self.shared.options.timeout;
        let id = self.id(options)?;
        let asked = Request {
            type_name,
            payload,
            meta: options.meta(of_client, id),
            has_id: id.is_some(),
        };
        let answered = async {
            match self.shared.options.reconnect.filter(|_| asked.has_id) {
                Some(patience) => self.ask_until_answered(&asked, patience).await,
                None => {
                    let sent_in = &mut None;
                    self.ask_over(&self.connection(), &asked, sent_in).await
                }
            }
        };
        let limit = options.effective_timeout(of_client);
        result_of(within(type_name, limit, answered).await?)
    }

    /// The id that a request bears: the caller's, or one that is given because it may have to be asked again.
    fn id(&self, options: &RequestOptions) -> Result<Option<u64>, ClientError> {
        let Shared {
            session,
            options: of_client,
            ..
        } = &*self.shared;
        let gives_ids = of_client.reconnect.is_some() && of_client.session.is_none();
        match options.id {
            Some(id) if gives_ids => Err(ClientError::OwnId { id }),
            Some(id) => {
                session.becomes_callers();
                Ok(Some(id))
            }
            None => Ok(gives_ids.then(|| session.next_id())),
        }
    }

    /// Asks over one connection. `sent_in` is the session in which it was sent before, and is now.
    pub(crate) async fn ask_over(
        &self,
        connection: &Connection,
        asked: &Request<'_>,
        sent_in: &mut Option<Arc<str>>,
    ) -> Result<Answer, ClientError> {
        if asked.meta.is_some() {
            let session = connection.greet(self.hello(connection)).await?;
            if asked.has_id {
                let session = session.ok_or_else(no_session)?;
                let before = sent_in.replace(Arc::clone(&session));
                if before.is_some_and(|before| before != session) {
                    // There its id says nothing of what became of it.
                    return Err(forgotten(asked.type_name));
                }
            }
        }
        connection
            .ask(asked.type_name, asked.payload, asked.meta.as_deref())
            .await
    }

    pub(crate) fn put(&self, connection: Connection) {
        let connection = Arc::new(connection);
        *self
            .shared
            .connection
            .write()
            .unwrap_or_else(PoisonError::into_inner) = connection;
    }

    /// Without it, a host takes `meta` for a key too many. Gives the session.
    async fn hello(&self, connection: &Connection) -> Result<Option<Arc<str>>, ClientError> {
        let session = &self.shared.session;
        let payload = session.hello();
        let answer = connection.ask(HELLO_TYPE, Some(&payload), None).await?;
        if answer.is_refused(ErrorCode::IdForgotten) {
            session.forgotten();
        }
        let welcome: Welcome = read_result(HELLO_TYPE, result_of(answer)?)?;
        Ok(session.greeted(welcome))
    }
}

impl ClientOptions {
    /// Connects; tries every address that the server's name stands for, in order.
    ///
    /// # Errors
    /// [`ClientError::NoConnection`], naming every address tried.
    pub async fn connect(self) -> Result<Client, ClientError> {
        Client::open(self).await
    }
}

/// A request, ready to be sent as often as it takes.
pub(crate) struct Request<'a> {
    pub(crate) type_name: &'a str,
    payload: Option<&'a str>,
    meta: Option<String>,
    has_id: bool,
}

pub(crate) fn forgotten(type_name: &str) -> ClientError {
    ClientError::Forgotten {
        type_name: type_name.to_owned(),
    }
}

fn result_of(answer: Answer) -> Result<String, ClientError> {
    match answer.refusal {
        None => Ok(answer.result),
        Some((code, message)) => Err(ClientError::Refused {
            code,
            message,
            result: raw(answer.result),
        }),
    }
}

fn payload_text(payload: impl Serialize) -> Result<Option<String>, ClientError> {
    let text = serde_json::to_string(&payload).map_err(ClientError::Payload)?;
    Ok(Some(text).filter(|text| text != "null"))
}

fn read_result<T: DeserializeOwned>(type_name: &str, result: String) -> Result<T, ClientError> {
    serde_json::from_str(&result).map_err(|source| ClientError::Result {
        type_name: type_name.to_owned(),
        source,
        result: raw(result),
    })
}

fn raw(result: String) -> Box<RawValue> {
    RawValue::from_string(result).expect("a result was read as JSON when its reply was")
}

async fn within<T>(
    type_name: &str,
    limit: Option<std::time::Duration>,
    work: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, ClientError> {
    let Some(after) = limit else {
        return work.await;
    };
    match tokio::time::timeout(after, work).await {
        Ok(result) => result,
        Err(_) => Err(ClientError::TimedOut {
            type_name: type_name.to_owned(),
            after,
        }),
    }
}
