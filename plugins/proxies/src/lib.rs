//! `proxies`: each proxy is lent to one client at a time.
//!
//! | request | answer | refused with |
//! |---|---|---|
//! | `addProxy` `{"url": u}` | `{"id": n}`, the same for the same url | |
//! | `getProxy` | `{"id": n, "url": u, "token": t}`, the lowest id that is free | `none_free` |
//! | `returnProxy` `{"id": n, "token": t}`, one of them or both | `{}` | `not_taken`, `not_yours`, `stale_token` |
//!
//! With the token of its loan anybody may return a proxy. Without it one returns what was lent to one's own session, or else connection.

use plugin_api::prelude::*;

#[derive(Deserialize)]
struct Config {
    /// In the pool from the start. One that is taken off the list leaves once it is back.
    #[serde(default)]
    urls: Vec<Url>,
}

/// Bytes of an address. Each is read, compared and answered while everybody waits.
const URL_BYTES_MAX: usize = 2_048;

/// A proxy's address: any text that is neither empty nor too long.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String")]
struct Url(String);

impl TryFrom<String> for Url {
    type Error = String;

    fn try_from(url: String) -> Result<Self, String> {
        match url.len() {
            _ if url.trim().is_empty() => Err("an empty text, expected a url".to_owned()),
            0..=URL_BYTES_MAX => Ok(Self(url)),
            len => Err(format!(
                "a url of {len} bytes, expected at most {URL_BYTES_MAX}"
            )),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Add {
    url: Url,
}

#[derive(Serialize)]
struct Lent {
    id: u64,
    url: Url,
    token: Token,
}

#[derive(Serialize)]
struct Added {
    id: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Return {
    id: Option<u64>,
    token: Option<Token>,
}

fn add(ask: Add, proxies: &mut Pool<Url>) -> Answer<Added> {
    let id = proxies.add(&ask.url).id;
    Ok(Added { id })
}

fn get(proxies: &mut Pool<Url>) -> Answer<Lent> {
    let proxy = proxies.take_one()?;
    Ok(Lent {
        id: proxy.id,
        url: proxy.data,
        token: proxy.token,
    })
}

fn take_back(ask: Return, proxies: &mut Pool<Url>) -> Answer {
    let returned = match (ask.id, ask.token) {
        (Some(id), Some(token)) => proxies.release_part(token, &[id]),
        (Some(id), None) => proxies.release_ids(&[id]),
        (None, Some(token)) => proxies.release(token),
        (None, None) => {
            return Err(Refusal::bad_payload(
                "payload: neither `id` nor `token`, expected at least one of them",
            ));
        }
    };
    returned.map_err(|error| error.with_code_if_not_held("not_taken"))
}

plugin! {
    config Config;
    state |c| Pool::list("proxies", c.urls.clone()) => inline {
        "addProxy" => add,
        "getProxy" => get,
        "returnProxy" => take_back,
    }
    test "a proxy is lent to one client at a time" {
        "getProxy" => error "none_free",
        "addProxy" { "url": "http://a" } => { "id": 1 },
        "getProxy" => { "id": 1, "url": "http://a" },
        "getProxy" => error "none_free",
        "returnProxy" { "id": 1 } => {},
        "returnProxy" { "id": 1 } => error "not_taken",
        "getProxy" => { "id": 1, "token": 2 },
        "returnProxy" { "id": 1, "token": 1 } => error "stale_token",
        "returnProxy" { "token": 2 } => {},
    }
    test "those of the list are there from the start" with { "urls": ["http://a", "http://b"] } {
        "getProxy" => { "id": 1, "url": "http://a" },
        "getProxy" => { "id": 2, "url": "http://b" },
    }
}

#[cfg(test)]
mod tests;
