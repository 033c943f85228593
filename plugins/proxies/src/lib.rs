//! `proxies`: each proxy is lent to one client at a time.
//!
//! | request | answer | refused with |
//! |---|---|---|
//! | `addProxy` `{"url": u}` | `{"id": n}`, the same for the same url | |
//! | `getProxy` | `{"id": n, "url": u, "token": t}`, the lowest id that is free | `none_free` |
//! | `returnProxy` `{"id": n}` | `{}` | `not_taken` |

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

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Proxy {
    id: u64,
}

fn add(ask: Add, proxies: &mut Pool<Url>) -> Answer<Proxy> {
    let id = proxies.add(&ask.url).id;
    Ok(Proxy { id })
}

fn get(proxies: &mut Pool<Url>) -> Answer<Lent> {
    let proxy = proxies.take_one()?;
    Ok(Lent {
        id: proxy.id,
        url: proxy.data,
        token: proxy.token,
    })
}

fn take_back(proxy: Proxy, proxies: &mut Pool<Url>) -> Answer {
    proxies.release(proxy.id).or_code("not_taken")
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
        "getProxy" => { "id": 1 },
    }
    test "those of the list are there from the start" with { "urls": ["http://a", "http://b"] } {
        "getProxy" => { "id": 1, "url": "http://a" },
        "getProxy" => { "id": 2, "url": "http://b" },
    }
}

#[cfg(test)]
mod tests;
