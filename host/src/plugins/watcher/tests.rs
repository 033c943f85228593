use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use super::*;

const SETTLE: Duration = Duration::from_millis(40);
/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn no_crashes() -> Arc<CrashList> {
    let data = tempfile::tempdir().unwrap();
    Arc::new(CrashList::open(data.path(), false).unwrap())
}

struct Watched {
    folder: tempfile::TempDir,
    events: Receiver<String>,
    watcher: Watcher,
}

impl Watched {
    fn start(files: &[&str]) -> Self {
        Self::start_looking(files, LOOK_INTERVAL)
    }

    fn start_looking(files: &[&str], interval: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let plugins = folder.path().join("plugins");
        fs::create_dir(&plugins).unwrap();
        for file in files {
            fs::write(plugins.join(file), "text").unwrap();
        }
        let (told, events) = mpsc::channel();
        let emit = move |event| {
            // A test that has seen enough listens no more.
            let _ = told.send(match event {
                PluginEvent::Prepared(prepared) => format!("prepared {}", prepared.name),
                PluginEvent::Refused { name, error, .. } => format!("refused {name} {error}"),
                PluginEvent::Unchanged { name } => format!("unchanged {name}"),
                PluginEvent::Gone { name } => format!("gone {name}"),
                PluginEvent::Looked => "looked".to_owned(),
            });
        };
        let spans = (SETTLE, interval);
        let watcher =
            Watcher::start_looking(plugins, no_crashes(), Arc::default(), spans, emit).unwrap();
        Self {
            folder,
            events,
            watcher,
        }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join("plugins").join(file)
    }

    fn expect(&self, beginning: &str) {
        let event = self.events.recv_timeout(PATIENCE).expect(beginning);
        assert!(event.starts_with(beginning), "{event:?}, not {beginning:?}");
    }
}

#[test]
fn the_start_is_over_once_every_file_was_told_of() {
    let watched = Watched::start(&["libb.so", "liba.so", ".libc.so", "notes.txt"]);
    watched.expect("refused a ");
    watched.expect("refused b ");
    watched.expect("looked");
    Watched::start(&[]).expect("looked");
}

#[test]
fn a_file_is_told_of_when_it_comes_changes_and_goes() {
    let watched = Watched::start(&[]);
    watched.expect("looked");
    fs::write(watched.path("liba.so"), "text").unwrap();
    watched.expect("refused a ");
    fs::write(watched.path("a.toml"), "changed").unwrap();
    watched.expect("refused a ");
    fs::write(watched.path("b.so.part"), "").unwrap();
    fs::rename(watched.path("b.so.part"), watched.path("liba.so")).unwrap();
    watched.expect(
        "refused a is not a plugin of this machine: expected a shared library, found an empty",
    );
    fs::remove_file(watched.path("liba.so")).unwrap();
    watched.expect("gone a");
}

#[test]
fn a_folder_that_was_removed_and_made_anew_is_watched_on() {
    // What is told is told by a watch: the next look at an interval comes after the test has given up.
    let watched = Watched::start_looking(&["liba.so"], 2 * PATIENCE);
    watched.expect("refused a ");
    watched.expect("looked");
    for _ in 0..3 {
        fs::remove_dir_all(watched.path("")).unwrap();
        fs::create_dir(watched.path("")).unwrap();
        fs::write(watched.path("liba.so"), "text").unwrap();
        watched.expect("refused a ");
        // The new watch announces more than its own beginning.
        fs::write(watched.path("liba.so"), "").unwrap();
        watched.expect("refused a ");
    }
}

#[test]
fn once_it_is_dropped_nothing_more_is_told() {
    let watched = Watched::start(&[]);
    watched.expect("looked");
    let library = watched.path("liba.so");
    let Watched {
        watcher,
        events,
        folder: _folder,
    } = watched;
    drop(watcher);
    fs::write(library, "text").unwrap();
    // The thread has ended, and with it the sender.
    assert!(events.recv_timeout(PATIENCE).is_err());
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap().path().join("plugins");
    let error =
        Watcher::start(folder.clone(), no_crashes(), Arc::default(), SETTLE, |_| {}).unwrap_err();
    assert!(error.to_string().contains(&folder.display().to_string()));
}

#[test]
fn what_was_refused_because_of_its_folder_is_looked_at_again_once_that_is_mended() {
    let set_mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let watched = Watched::start(&["liba.so"]);
    watched.expect("refused a is not a plugin");
    watched.expect("looked");
    set_mode(&watched.path(""), 0o777);
    fs::write(watched.path("liba.so"), "changed").unwrap();
    watched.expect("refused a cannot be read: the folder ");
    set_mode(&watched.path(""), 0o755);
    watched.expect("refused a is not a plugin");
}
