//! A host made for tests: it reads requests and answers nothing but what the test tells it to.

use std::net::SocketAddr;

use protocol::{Decoder, Request, encoder};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

pub(crate) struct TestServer {
    listener: TcpListener,
}

/// The host's side of one connection.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    decoder: Decoder,
}

/// A request as it arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) type_name: String,
    pub(crate) query_index: String,
    pub(crate) payload: Option<String>,
    pub(crate) meta: Option<String>,
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    pub(crate) async fn accept(&self) -> Peer {
        let (stream, _) = self.listener.accept().await.unwrap();
        Peer {
            stream,
            decoder: Decoder::new(),
        }
    }
}

impl Peer {
    /// The next request; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Asked> {
        let mut buffer = [0; 4096];
        let mut bytes = 0;
        loop {
            if let Some(frame) = self.decoder.feed(&buffer[..bytes]).next().unwrap() {
                let request = Request::parse(frame, true).unwrap();
                return Some(Asked {
                    type_name: request.type_name.into_owned(),
                    query_index: request.query_index.to_owned(),
                    payload: request.payload.map(str::to_owned),
                    meta: request.meta.map(str::to_owned),
                });
            }
            bytes = self.stream.read(&mut buffer).await.unwrap();
            if bytes == 0 {
                return None;
            }
        }
    }

    pub(crate) async fn asked(&mut self) -> Asked {
        self.next().await.expect("a request")
    }

    pub(crate) async fn reply(&mut self, type_name: &str, query_index: &str, result: &str) {
        let mut out = Vec::new();
        encoder::reply(&mut out, type_name, query_index, result.as_bytes());
        self.stream.write_all(&out).await.unwrap();
    }

    /// Reads the next request and answers it.
    pub(crate) async fn serve(&mut self, result: &str) -> Asked {
        let asked = self.asked().await;
        self.reply(&asked.type_name, &asked.query_index, result)
            .await;
        asked
    }
}
