//! The figures, as a table or as JSON, and what they are worth.

use std::{fmt::Write as _, time::Duration};

use client::Server;
use protocol::shown;
use serde_json::{Value, json};

use super::{
    options::{BenchOptions, Load, Until},
    tally::{Counts, Tally},
};
use crate::outcome::{self, grouped, harmless};

/// What came of one load.
pub(super) struct Measured {
    pub(super) tally: Tally,
    /// Requests whose reply did not come in time.
    pub(super) unanswered: u64,
    pub(super) interrupted: bool,
}

pub(super) struct Report<'a> {
    options: &'a BenchOptions,
    server: String,
    payload_bytes: usize,
    rows: Vec<Value>,
    status: u8,
}

const QUANTILES: [(&str, f64); 5] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p99", 0.99),
    ("p99_9", 0.999),
    ("max", 1.0),
];

impl<'a> Report<'a> {
    pub(super) fn new(server: &Server, options: &'a BenchOptions, payload_bytes: usize) -> Self {
        Self {
            options,
            server: server.to_string(),
            payload_bytes,
            rows: Vec::new(),
            status: 0,
        }
    }

    /// 0, or why the figures are worth less than they look.
    pub(super) fn status(&self) -> u8 {
        self.status
    }

    pub(super) fn begin(&self) {
        if self.options.json {
            return;
        }
        let amount = match self.options.until() {
            Until::Elapsed(time) => format!("{} s each", time.as_secs_f64()),
            Until::Answered(requests) => format!("{} requests each", grouped(requests)),
        };
        let mut text = format!(
            "{} at {}, a payload of {} bytes, {amount}",
            harmless(&named(&self.options.types)),
            self.server,
            self.payload_bytes
        );
        if let Some(rate) = self.options.rate {
            let _ = write!(
                text,
                ", {} requests/s, times from when a request was due",
                grouped(rate)
            );
        }
        text.push_str("\n\nconnections  in flight   requests/s  MB/s out   MB/s in");
        for (name, _) in QUANTILES {
            let _ = write!(text, "  {:>9}", name.replace('_', "."));
        }
        text.push_str("  ms");
        outcome::print_text(&text);
    }

    pub(super) fn add(&mut self, load: Load, measured: &Measured) {
        let Measured {
            tally, unanswered, ..
        } = measured;
        let counts = &tally.counts;
        let refused = |(code, _): (&String, _)| !self.options.allow.contains(code);
        let found = tally.unique.as_ref().and_then(|unique| unique.found());
        let unserved = *unanswered + counts.overdue + counts.strangers;
        if counts.lost.is_some() || unserved > 0 || counts.replies == 0 {
            self.status = 2;
        } else if self.status == 0
            && (counts.errors.iter().any(refused)
                || found.is_some_and(|found| {
                    let misses = self.options.unique.is_some() && found.missing > 0;
                    found.twice > 0 || found.not_compared > 0 || misses
                }))
        {
            self.status = 1;
        }
        if self.options.json {
            self.rows.push(row_json(load, measured));
        } else {
            outcome::print_text(&row(load, measured));
        }
    }

    pub(super) fn end(&self) {
        if self.options.json {
            let figures = json!({
                "server": self.server,
                "types": self.options.types,
                "payload_bytes": self.payload_bytes,
                "rate": self.options.rate,
                "figures": self.rows,
            });
            outcome::print_text(&shown::escaped_json(&figures.to_string()));
        }
    }
}

/// The types, as far as they fit into a line.
fn named(types: &[String]) -> String {
    match types {
        [first, _, _, .., last] => format!("{first} … {last} ({} types)", types.len()),
        few => few.join(", "),
    }
}

fn row(load: Load, measured: &Measured) -> String {
    let counts = &measured.tally.counts;
    let time = measured.tally.measured();
    let mut text = format!(
        "{:>11}  {:>9}  {:>11}  {:>8.1}  {:>8.1}",
        load.connections,
        load.pipeline,
        grouped(per_second(counts.replies, time) as u64),
        megabytes(counts.sent_bytes, time),
        megabytes(counts.received_bytes, time),
    );
    for (_, quantile) in QUANTILES {
        let ns = counts.times_ns.value_at_quantile(quantile);
        let _ = write!(text, "  {:>9.3}", ns as f64 / 1e6);
    }
    for line in remarks(measured) {
        let _ = write!(text, "\n    {line}");
    }
    text
}

/// What a row says besides its figures, a line each.
fn remarks(measured: &Measured) -> Vec<String> {
    let counts = &measured.tally.counts;
    let mut lines = Vec::new();
    for (code, (count, text)) in &counts.errors {
        let line = format!("{} replies were the error {code}: {text}", grouped(*count));
        lines.push(shown::OneLine(&line).to_string());
    }
    if let Some((connections, reason)) = &counts.lost {
        let line = format!("{connections} connections were lost; the first: {reason}");
        lines.push(shown::OneLine(&line).to_string());
    }
    if measured.unanswered > 0 {
        lines.push(format!(
            "{} requests got no reply in time",
            grouped(measured.unanswered)
        ));
    }
    if counts.overdue > 0 {
        lines.push(format!(
            "{} requests were due and could not be sent by the end; each counts with the time that it had waited by then",
            grouped(counts.overdue)
        ));
    }
    if counts.strangers > 0 {
        lines.push(format!(
            "{} replies were to no request in flight",
            grouped(counts.strangers)
        ));
    }
    if counts.replies == 0 {
        lines.push("nothing was answered within the time".to_owned());
    }
    if let Some(unique) = &measured.tally.unique
        && let Some(found) = unique.found()
    {
        let field = harmless(unique.field());
        let mut line = format!("{} numbers in `{field}`, ", grouped(found.numbers));
        line.push_str(&match (found.twice, found.example) {
            (0, _) | (_, None) => "none twice".to_owned(),
            (twice, Some(example)) => {
                format!("{} OF THEM GIVEN BEFORE, such as {example}", grouped(twice))
            }
        });
        if found.missing > 0 {
            let _ = write!(line, "; in {} places is none", grouped(found.missing));
        }
        if found.not_compared > 0 {
            let _ = write!(
                line,
                "; {} MORE WERE NOT COMPARED, for they lie too far apart to be remembered all",
                grouped(found.not_compared)
            );
        }
        lines.push(line);
    }
    if let Some(lag) = lag(counts) {
        lines.push(format!(
            "sent after they were due though there was room: p50 {:.3} ms, p99 {:.3} ms",
            lag[0] as f64 / 1e6,
            lag[1] as f64 / 1e6
        ));
    }
    if measured.interrupted {
        lines.push("interrupted".to_owned());
    }
    lines
}

fn row_json(load: Load, measured: &Measured) -> Value {
    let counts = &measured.tally.counts;
    let time = measured.tally.measured();
    let quantiles = QUANTILES.map(|(name, quantile)| {
        let ns = counts.times_ns.value_at_quantile(quantile);
        (name.to_owned(), micros(ns))
    });
    let mut latency: serde_json::Map<String, Value> = quantiles.into_iter().collect();
    latency.insert("mean".to_owned(), micros(counts.times_ns.mean() as u64));
    let errors = counts.errors.iter();
    let errors: serde_json::Map<String, Value> = errors
        .map(|(code, (count, _))| (code.clone(), json!(count)))
        .collect();
    let unique = measured.tally.unique.as_ref().and_then(|unique| {
        let found = unique.found()?;
        Some(json!({
            "field": unique.field(),
            "numbers": found.numbers,
            "twice": found.twice,
            "example": found.example,
            "missing": found.missing,
            "not_compared": found.not_compared,
        }))
    });
    json!({
        "connections": load.connections,
        "pipeline": load.pipeline,
        "seconds": time.as_secs_f64(),
        "requests": counts.replies,
        "requests_per_second": per_second(counts.replies, time),
        "mb_per_second_out": megabytes(counts.sent_bytes, time),
        "mb_per_second_in": megabytes(counts.received_bytes, time),
        "latency_us": latency,
        "errors": errors,
        "unique": unique,
        "lost_connections": counts.lost.as_ref().map_or(0, |(connections, _)| *connections),
        "unanswered": measured.unanswered,
        "overdue": counts.overdue,
        "unexpected_replies": counts.strangers,
        "lag_us": lag(counts).map(|[p50, p99]| json!({ "p50": micros(p50), "p99": micros(p99) })),
        "interrupted": measured.interrupted,
    })
}

fn lag(counts: &Counts) -> Option<[u64; 2]> {
    let lag = &counts.lag_ns;
    (!lag.is_empty()).then(|| [0.5, 0.99].map(|quantile| lag.value_at_quantile(quantile)))
}

fn micros(ns: u64) -> Value {
    json!(ns as f64 / 1e3)
}

fn per_second(count: u64, time: Duration) -> f64 {
    match time.is_zero() {
        true => 0.0,
        false => count as f64 / time.as_secs_f64(),
    }
}

/// Of 1,000,000 bytes, per second.
fn megabytes(bytes: u64, time: Duration) -> f64 {
    per_second(bytes, time) / 1e6
}
