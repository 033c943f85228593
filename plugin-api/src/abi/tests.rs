use std::{collections::HashSet, fmt::Write as _, fs, path::Path};

use abi_stable::{
    StableAbi, library::ROOT_MODULE_LOADER_NAME, std_types::utypeid::UTypeId,
    type_layout::TypeLayout,
};

use super::*;

#[test]
fn the_exported_name_is_the_one_that_the_host_looks_for() {
    // The attribute takes a literal only, so the macro has to repeat the name.
    let attribute = format!("export_name = \"{ROOT_MODULE_LOADER_NAME}\"");
    assert!(include_str!("../declare.rs").contains(&attribute));
}

#[test]
fn the_version_of_the_crate_and_that_of_the_abi_change_together() {
    // Otherwise every plugin of before would be refused, by the layout, though the ABI is still the same.
    let parsed = |version: &'static str| VersionStrings::new(version).parsed().unwrap();
    let (crate_version, abi) = (parsed(env!("CARGO_PKG_VERSION")), parsed(ABI_VERSION));
    assert!(
        crate_version.is_loosely_compatible(abi),
        "plugin-api {crate_version} holds the ABI {abi}: their major versions have to be the same, below 1.0 the minor ones"
    );
}

/// Panics while it is made, if its configuration says so, or refuses its lane's setup.
struct Small;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Panics {
    panics: bool,
}

impl Plugin for Small {
    type Config = Panics;
    const NAME: &'static str = "small";
    const VERSION: &'static str = "0.1.0";

    fn declare(lanes: &mut crate::export::Lanes<Panics>) {
        let tell =
            |_: &mut crate::Numbers, call: &crate::Call| -> crate::Answer<serde_json::Value> {
                Ok(serde_json::json!({
                    "client": call.client,
                    "attempt": call.attempt,
                    "now_ms": call.now_ms,
                    "deadline_ms": call.deadline_ms,
                }))
            };
        let hall = |config: &Panics| {
            assert!(!config.panics, "on purpose");
            crate::Numbers::range("hall", 1..=2)
        };
        lanes.state(
            hall,
            |_| false,
            |jobbers| crate::__jobbers! { jobbers; "tell" => tell },
        );
    }

    fn self_tests() -> Vec<crate::self_test::SelfTest> {
        Vec::new()
    }
}

/// Knows the facts of a call and no state.
struct Facts(&'static [u64]);

impl AbiHost for Facts {
    fn state_read(&self, _: u32, _: RSlice<'_, u8>, _: &mut RVec<u8>) -> u32 {
        access::ABSENT
    }

    fn state_write(&self, _: u32, _: RSlice<'_, u8>, _: RSlice<'_, u8>) -> u32 {
        access::ABSENT
    }

    fn state_remove(&self, _: u32, _: RSlice<'_, u8>) -> u32 {
        access::ABSENT
    }

    fn state_seek(
        &self,
        _: u32,
        _: u32,
        _: RSlice<'_, u8>,
        key: &mut RVec<u8>,
        value: &mut RVec<u8>,
    ) -> u32 {
        *key = RVec::from_slice(b"junk");
        *value = RVec::from_slice(b"junk");
        access::FOUND
    }

    fn call_facts(&self, mut facts: RSliceMut<'_, u64>) -> u32 {
        for (fact, known) in facts.as_mut_slice().iter_mut().zip(self.0) {
            *fact = *known;
        }
        self.0.len() as u32
    }
}

struct NoLog;

impl AbiLog for NoLog {
    fn log_level_max(&self) -> u32 {
        0
    }

    fn log_line(&self, _: u32, _: RStr<'_>, _: RStr<'_>) {}
}

fn made(creation: &str) -> Result<AbiPluginObject, Fault> {
    let log = AbiLog_TO::from_value(NoLog, sabi_trait::TD_Opaque);
    let made = create::<Small>(creation.as_bytes().into(), log).into_result();
    made.map_err(|fault| Fault::from_json(fault.as_slice()))
}

const SERVES: &str = r#"{"config":{"panics":false},"host":{"version":"9.0.0","purpose":"serve"}}"#;

#[test]
fn what_cannot_be_made_says_whose_doing_that_is() {
    assert!(made(SERVES).is_ok());
    let fault = made(&SERVES.replace("false", "true")).err().unwrap();
    assert_eq!(
        (fault.kind, &*fault.message),
        (FaultKind::Panicked, "on purpose")
    );
    let fault = made(&SERVES.replace("panics", "panic")).err().unwrap();
    assert_eq!(fault.kind, FaultKind::Refused);
    assert!(fault.message.contains("`panic`"), "{}", fault.message);
    let fault = made(r#"{"panics":false}"#).err().unwrap();
    assert!(
        fault.message.contains("what the host makes it from"),
        "{}",
        fault.message
    );
}

#[test]
fn a_call_has_as_many_facts_as_both_sides_know() {
    let plugin = made(SERVES).unwrap();
    for (known, expected) in [
        (
            &[7, 2, 500, 900][..],
            r#"{"type":"tell","attempt":2,"client":7,"deadline_ms":900,"now_ms":500}"#,
        ),
        (
            &[7, 2, 500, NO_DEADLINE, 1, 2],
            r#"{"type":"tell","attempt":2,"client":7,"deadline_ms":null,"now_ms":500}"#,
        ),
    ] {
        let host = AbiHost_TO::from_value(Facts(known), sabi_trait::TD_Opaque);
        let mut lane = plugin.open_lane(0, host).into_result().unwrap();
        let mut answer = RVec::new();
        assert_eq!(lane.handle(0, RSlice::EMPTY, &mut answer), status::ANSWERED);
        assert_eq!(std::str::from_utf8(&answer), Ok(expected));

        let mut failure = RVec::new();
        assert_eq!(
            lane.setup(b"{}".as_slice().into(), &mut failure),
            status::REFUSED
        );
        let fault = Fault::from_json(failure.as_slice());
        assert!(
            fault.message.starts_with("state `hall`: "),
            "{}",
            fault.message
        );
    }
}

/// With `RM_BLESS_ABI` in the environment it writes the file, for a change that is meant.
#[test]
fn the_layout_is_the_one_that_is_written_down() {
    let present = written_down(<AbiModule_Ref as StableAbi>::LAYOUT);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/abi/layout.txt");
    if std::env::var_os("RM_BLESS_ABI").is_some() {
        fs::write(&file, &present).expect("the source can be written");
    }
    let expected = fs::read_to_string(file).expect("it lies beside this test");
    let difference = expected
        .lines()
        .zip(present.lines())
        .find(|(expected, present)| expected != present);
    assert!(
        expected == present,
        "the layout of what crosses to the host has changed: {difference:?}. If every plugin that was built \
         before still loads (only methods with a default body were appended), or the ABI's version says \
         otherwise, write it down with RM_BLESS_ABI=1"
    );
}

/// Every type of this crate that crosses, with what it consists of, in a text that changes only with that.
fn written_down(root: &'static TypeLayout) -> String {
    let mut types = Types::default();
    types.describe(root);
    // Two kinds of `RResult`, say, bear the same name.
    types.texts.sort();
    let head = format!("ABI {ABI_VERSION}, {}-bit\n", usize::BITS);
    head + &types.texts.concat()
}

#[derive(Default)]
struct Types {
    seen: HashSet<UTypeId>,
    texts: Vec<String>,
}

impl Types {
    fn describe(&mut self, layout: &'static TypeLayout) {
        if !self.seen.insert(layout.get_utypeid()) {
            return;
        }
        let (name, size, alignment) = (layout.full_type(), layout.size(), layout.alignment());
        let mut text = format!("\n{name}: {size} bytes, aligned to {alignment}\n");
        let is_own = layout.package().as_str() == env!("CARGO_PKG_NAME");
        let fields = layout.get_fields();
        for field in fields.into_iter().flat_map(|fields| fields.iter()) {
            let functions = field.function_range();
            for function in functions.iter() {
                if is_own {
                    let function = function.to_string();
                    let _ = writeln!(text, "    {}: {}", field.name(), function.trim());
                }
                for parameter in function.param_type_layouts.iter() {
                    self.describe(parameter());
                }
                if let Some(returned) = function.return_type_layout() {
                    self.describe(returned());
                }
            }
            if is_own && functions.is_empty() {
                let _ = writeln!(text, "    {}: {}", field.name(), field.full_type());
            }
            self.describe(field.layout());
        }
        for phantom in layout.phantom_fields().iter() {
            self.describe(phantom.layout());
        }
        self.texts.push(text);
    }
}
