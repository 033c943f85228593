//! `rm-cli plugins`: what the host says of its plugins, and what it can be told to do with one of them.

use std::{
    process::ExitCode,
    time::{Duration, SystemTime},
};

use client::{Client, ClientError, ClientOptions, RequestOptions};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use tokio::time::{Instant, sleep};

use crate::{
    outcome::{self, Failure},
    plugin_table::{self, Report, Storage},
};

const LIST: &str = "rm.plugins";
const TELL: &str = "rm.plugin";

/// How often a swap is looked at. Most take less.
const LOOK: Duration = Duration::from_millis(10);

/// What the user wants.
pub(crate) struct PluginsOrder {
    /// As the host sent it.
    pub(crate) json: bool,
    /// Versions that served earlier have rows, too.
    pub(crate) all: bool,
    /// To this plugin; otherwise all are listed.
    pub(crate) told: Option<(Do, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Do {
    Enable,
    Disable,
    Reload,
    Rollback,
}

#[derive(Serialize)]
struct Tell<'a> {
    name: &'a str,
    r#do: Do,
}

#[derive(Deserialize)]
struct List<'a> {
    #[serde(borrow)]
    plugins: Vec<&'a RawValue>,
    /// A host of another version may not tell.
    #[serde(default)]
    storage: Storage,
}

/// Asks the host, and waits for what it was told to do for at most `patience`.
pub(crate) async fn run(
    options: ClientOptions,
    patience: Option<Duration>,
    order: PluginsOrder,
) -> Result<ExitCode, Failure> {
    let client = options.connect().await?;
    let Some((told, name)) = order.told else {
        let list = ask(&client, LIST, None).await?;
        return Ok(if order.json {
            outcome::print(&list)
        } else {
            let now = SystemTime::now();
            let table = plugin_table::table(&reports(&list)?, order.all, now);
            let List { storage, .. } = read(LIST, &list)?;
            match storage.remark(now) {
                Some(remark) => outcome::print_text(&format!("{table}\n{remark}")),
                None => outcome::print_text(&table),
            }
        });
    };
    let mut raw = tell(&client, told, &name).await?;
    let since = Instant::now();
    let mut report: Report = read(TELL, &raw)?;
    while report.coming.is_some() && patience.is_none_or(|most| since.elapsed() < most) {
        sleep(LOOK).await;
        let list = ask(&client, LIST, None).await?;
        let there = find(&list, &name)?.filter(|(found, _)| !found.is_retired());
        let Some((found, one)) = there else {
            return Err(Failure::InVain(format!(
                "`{name}` is gone: its file was taken out of the plugin folder"
            )));
        };
        (report, raw) = (found, one);
    }
    let printed = if order.json {
        outcome::print(&raw)
    } else {
        outcome::print_text(&plugin_table::table(
            &[&report],
            order.all,
            SystemTime::now(),
        ))
    };
    match complaint(told, &report) {
        Some(complaint) => Err(Failure::InVain(complaint)),
        None => Ok(printed),
    }
}

async fn tell(client: &Client, told: Do, name: &str) -> Result<Box<RawValue>, Failure> {
    let payload = to_raw_value(&Tell { name, r#do: told }).expect("a string and a word");
    ask(client, TELL, Some(&payload)).await
}

async fn ask(
    client: &Client,
    type_name: &str,
    payload: Option<&RawValue>,
) -> Result<Box<RawValue>, Failure> {
    let options = RequestOptions::default();
    Ok(client.request_raw(type_name, payload, &options).await?)
}

/// Why the user does not have what he asked for.
fn complaint(told: Do, report: &Report) -> Option<String> {
    let Report { name, state, .. } = report;
    let error = report.error.as_deref();
    if report.coming.is_some() {
        return Some(format!(
            "the new version of `{name}` does not serve yet: jobs of the old one are in work; \
             `rm-cli plugins` shows what becomes of it"
        ));
    }
    match told {
        Do::Disable => None,
        // What took over has left no error behind.
        Do::Reload | Do::Rollback => {
            error.map(|error| format!("the version of `{name}` before goes on: {error}"))
        }
        Do::Enable if matches!(state.as_str(), "serving" | "stuck" | "waiting") => None,
        Do::Enable => Some(match error {
            Some(error) => format!("`{name}` is {state}: {error}"),
            None => format!("`{name}` is {state}"),
        }),
    }
}

fn reports(list: &RawValue) -> Result<Vec<Report>, Failure> {
    let List { plugins, .. } = read(LIST, list)?;
    plugins.into_iter().map(|one| read(LIST, one)).collect()
}

fn find(list: &RawValue, name: &str) -> Result<Option<(Report, Box<RawValue>)>, Failure> {
    let List { plugins, .. } = read(LIST, list)?;
    for one in plugins {
        let report: Report = read(LIST, one)?;
        if report.name == name {
            return Ok(Some((report, one.to_owned())));
        }
    }
    Ok(None)
}

fn read<'a, T: Deserialize<'a>>(type_name: &str, result: &'a RawValue) -> Result<T, Failure> {
    serde_json::from_str(result.get()).map_err(|source| {
        Failure::Client(ClientError::Result {
            type_name: type_name.to_owned(),
            source,
            result: result.to_owned(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(state: &str, error: Option<&str>) -> Report {
        Report {
            name: "a".to_owned(),
            state: state.to_owned(),
            error: error.map(str::to_owned),
            ..Report::default()
        }
    }

    #[test]
    fn what_did_not_help_is_a_complaint() {
        for (told, state, error) in [
            (Do::Enable, "serving", Some("an older refusal")),
            (Do::Enable, "waiting", None),
            (Do::Disable, "disabled", Some("an older refusal")),
            (Do::Reload, "serving", None),
            (Do::Rollback, "serving", None),
        ] {
            assert_eq!(complaint(told, &report(state, error)), None, "{told:?}");
        }
        for (told, state, error, words) in [
            (Do::Enable, "refused", Some("why"), "`a` is refused: why"),
            (Do::Enable, "quarantined", None, "`a` is quarantined"),
            (Do::Rollback, "serving", Some("why"), "goes on: why"),
        ] {
            let complaint = complaint(told, &report(state, error)).unwrap();
            assert!(complaint.contains(words), "{complaint}");
        }
    }
}
