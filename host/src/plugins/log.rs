//! The way of a plugin's log lines into the host's log, under the target `plugin` and with the plugin's name.

use plugin_api::abi::{AbiLog, AbiLog_TO, AbiLogObject};
use tracing::Level;

use crate::{
    limits::LOG_TEXT_BYTES_MAX,
    logging::{self, OneLine},
};

/// The target that filters name, as in `info,plugin=debug`.
const TARGET: &str = "plugin";

/// The log of the plugin `name`, to be handed to it.
pub(super) fn of_plugin(name: &str) -> AbiLogObject {
    let log = PluginLog {
        name: name.to_owned(),
    };
    AbiLog_TO::from_value(log, abi_stable::sabi_trait::TD_Opaque)
}

struct PluginLog {
    name: String,
}

macro_rules! line {
    ($level:expr, $name:expr, $from:expr, $message:expr) => {
        tracing::event!(target: TARGET, $level, plugin = $name, from = $from, "{}", $message)
    };
}

impl AbiLog for PluginLog {
    fn log_level_max(&self) -> u32 {
        if tracing::enabled!(target: TARGET, Level::TRACE) {
            5
        } else if tracing::enabled!(target: TARGET, Level::DEBUG) {
            4
        } else if tracing::enabled!(target: TARGET, Level::INFO) {
            3
        } else if tracing::enabled!(target: TARGET, Level::WARN) {
            2
        } else {
            u32::from(tracing::enabled!(target: TARGET, Level::ERROR))
        }
    }

    fn log_line(
        &self,
        level: u32,
        target: abi_stable::std_types::RStr<'_>,
        message: abi_stable::std_types::RStr<'_>,
    ) {
        if !logging::admits_plugin(&self.name, message.len().min(LOG_TEXT_BYTES_MAX)) {
            return;
        }
        let (name, target) = (self.name.as_str(), target.as_str());
        let message = OneLine(message.as_str());
        match level {
            1 => line!(Level::ERROR, name, target, message),
            2 => line!(Level::WARN, name, target, message),
            3 => line!(Level::INFO, name, target, message),
            4 => line!(Level::DEBUG, name, target, message),
            _ => line!(Level::TRACE, name, target, message),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc};

    use super::*;

    #[test]
    fn a_line_bears_the_plugin_and_its_level_and_says_which_levels_are_wanted() {
        let page = tempfile::NamedTempFile::new().unwrap();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(Arc::new(page.reopen().unwrap()))
            .with_ansi(false)
            .without_time()
            .with_env_filter("error,plugin=debug")
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let log = of_plugin("tickets");
            assert_eq!(log.log_level_max(), 4);
            log.log_line(2, "tickets::hall".into(), "nearly full".into());
            log.log_line(5, "tickets".into(), "unwanted".into());
        });
        assert_eq!(
            fs::read_to_string(page.path()).unwrap(),
            " WARN plugin: nearly full plugin=\"tickets\" from=\"tickets::hall\"\n"
        );
    }

    #[test]
    fn a_plugin_cannot_forge_a_line_of_the_log() {
        assert_eq!(OneLine("plain ü").to_string(), "plain ü");
        assert_eq!(OneLine("").to_string(), "");
        assert_eq!(
            OneLine("a\n2026 ERROR b\u{1b}[31m\r").to_string(),
            "a\\n2026 ERROR b\\u{1b}[31m\\r"
        );
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let text = format!("x{}", "ü".repeat(crate::limits::LOG_TEXT_BYTES_MAX));
        let shown = OneLine(&text).to_string();
        assert!(
            shown.ends_with("ü… (16386 bytes more)"),
            "{}",
            &shown[shown.len() - 40..]
        );
    }
}
