//! `tickets`: the numbered seats of a hall, sold for good.
//!
//! | request | answer | refused with |
//! |---|---|---|
//! | `getTickets` `{"count": n}`, 1 if absent | `{"tickets": [number, …], "left": m, "token": t}` | `sold_out` |
//! | `returnTickets` `{"tickets": [number, …], "token": t}`, one of them or both | `{"left": m}` | `not_sold`, `not_yours`, `stale_token` |
//! | `addTickets` `{"count": n}` | `{"left": m}` | |

//! The token names what was sold at once: with it anybody may return that, all of it or the `tickets` that are named. Without it one
//! returns what was sold to one's own session, or else connection.

use std::num::NonZeroU64;

use plugin_api::prelude::*;

/// What one request gets or returns at most: everybody waits for as long as it takes.
const TICKETS_PER_REQUEST_MAX: u64 = 10_000;
/// The greatest whole number that every client can read: JavaScript would round the next ones.
const TICKET_MAX: u64 = (1 << 53) - 1;

#[derive(Deserialize)]
struct Config {
    /// Tickets 1 to this one are for sale. A later, smaller number takes none from whoever bought it.
    #[serde(default)]
    seats: Seats,
}

#[derive(Deserialize)]
#[serde(try_from = "u64")]
struct Seats(u64);

impl Default for Seats {
    fn default() -> Self {
        Self(500)
    }
}

impl TryFrom<u64> for Seats {
    type Error = String;

    fn try_from(seats: u64) -> Result<Self, String> {
        match seats {
            0..=TICKET_MAX => Ok(Self(seats)),
            _ => Err(format!("{seats} is too many, at most {TICKET_MAX}")),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Get {
    count: Option<NonZeroU64>,
}

#[derive(Serialize)]
struct Sold {
    tickets: Vec<u64>,
    left: u64,
    token: Token,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Return {
    tickets: Option<Vec<u64>>,
    token: Option<Token>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Add {
    count: NonZeroU64,
}

#[derive(Serialize)]
struct Left {
    left: u64,
}

fn get(ask: Get, hall: &mut Numbers) -> Answer<Sold> {
    let count = ask.count.map_or(1, NonZeroU64::get);
    // More than is left is sold out, whatever else it may be.
    if count > TICKETS_PER_REQUEST_MAX && count <= hall.free() {
        return Err(Refusal::bad_payload(format!(
            "payload, field `count`: {count} at once, expected at most {TICKETS_PER_REQUEST_MAX}"
        )));
    }
    let grant = match hall.take(count) {
        // Whoever waited for it would never get it, and would hold up everybody behind.
        Err(none_free) if count > TICKETS_PER_REQUEST_MAX => {
            return Err(Refusal::new("sold_out", none_free.to_string()));
        }
        taken => taken.or_code("sold_out")?,
    };
    Ok(Sold {
        tickets: grant.ids(),
        left: grant.left,
        token: grant.token,
    })
}

fn take_back(ask: Return, hall: &mut Numbers) -> Answer<Left> {
    if let Some(tickets) = &ask.tickets {
        check_tickets(tickets)?;
    }
    let returned = match (&ask.tickets, ask.token) {
        (Some(tickets), Some(token)) => hall.release_part(token, tickets),
        (Some(tickets), None) => hall.release_ids(tickets),
        (None, Some(token)) => hall.release(token),
        (None, None) => {
            return Err(Refusal::bad_payload(
                "payload: neither `tickets` nor `token`, expected at least one of them",
            ));
        }
    };
    returned.map_err(|error| error.with_code_if_not_held("not_sold"))?;
    Ok(Left { left: hall.free() })
}

fn check_tickets(tickets: &[u64]) -> Answer {
    if tickets.is_empty() {
        return Err(Refusal::bad_payload(
            "payload, field `tickets`: an empty list, expected at least one number",
        ));
    }
    let count = tickets.len() as u64;
    if count > TICKETS_PER_REQUEST_MAX {
        return Err(Refusal::bad_payload(format!(
            "payload, field `tickets`: {count} at once, expected at most {TICKETS_PER_REQUEST_MAX}"
        )));
    }
    Ok(())
}

fn add(ask: Add, hall: &mut Numbers) -> Answer<Left> {
    match hall.add(ask.count.get()) {
        Ok(added) if added.end <= TICKET_MAX + 1 => Ok(Left { left: hall.free() }),
        // Added or not: what a refused request changed is taken back.
        _ => Err(Refusal::bad_payload(format!(
            "payload, field `count`: {} more tickets would be numbered beyond {TICKET_MAX}",
            ask.count
        ))),
    }
}

plugin! {
    config Config;
    state |c| Numbers::range("hall", 1..=c.seats.0) => inline {
        "getTickets" => get,
        "returnTickets" => take_back,
        "addTickets" => add,
    }
    test "the lowest numbers are sold first, each once" {
        "getTickets" => { "tickets": [1], "left": 499 },
        "getTickets" { "count": 2 } => { "tickets": [2, 3], "left": 497 },
        "returnTickets" { "tickets": [2] } => { "left": 498 },
        "returnTickets" { "tickets": [2] } => error "not_sold",
        "returnTickets" { "tickets": [3], "token": 1 } => error "stale_token",
        "returnTickets" { "token": 2 } => { "left": 499 },
        "returnTickets" { "token": 2 } => error "stale_token",
        "getTickets" { "count": 0 } => error "bad_payload",
    }
    test "what is sold out can be added" with { "seats": 1 } {
        "getTickets" { "count": 2 } => error "sold_out",
        "getTickets" { "count": 1 } => { "tickets": [1], "left": 0 },
        "getTickets" => error "sold_out",
        "addTickets" { "count": 2 } => { "left": 2 },
        "getTickets" => { "tickets": [2], "left": 1 },
    }
}

#[cfg(test)]
mod tests;
