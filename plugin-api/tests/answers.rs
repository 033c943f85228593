//! What a function may answer with, and what becomes of it.

use plugin_api::{prelude::*, testing::TestPlugin};
use serde_json::{json, value::RawValue};

fn nothing() -> Answer {
    Ok(())
}

fn none() -> Answer<Option<u64>> {
    Ok(None)
}

fn some(ask: serde_json::Value) -> Answer<Option<serde_json::Value>> {
    Ok(Some(ask))
}

fn raw(ask: RawJson) -> Answer<Box<RawValue>> {
    Ok(RawValue::from_string(ask.0).expect("the kit sends JSON"))
}

fn spaced() -> Answer<Box<RawValue>> {
    Ok(RawValue::from_string("{ \n\t}".to_owned()).expect("JSON"))
}

plugin! {
    stateless { "nothing" => nothing, "none" => none, "some" => some, "raw" => raw, "spaced" => spaced }
}

#[test]
fn only_who_answers_nothing_by_design_answers_an_empty_object() {
    let mut plugin = TestPlugin::<RmPlugin>::new(());
    let mut ask = |type_name, payload| plugin.client(1).request(type_name, payload);
    assert_eq!(ask("nothing", json!(null)), Ok(json!({})));
    assert_eq!(ask("spaced", json!(null)), Ok(json!({})));
    for (type_name, payload) in [
        ("none", json!(null)),
        ("some", json!(null)),
        ("raw", json!(null)),
        ("raw", json!(5)),
    ] {
        let refusal = ask(type_name, payload).unwrap_err();
        assert_eq!(refusal.code(), "jobber_error", "{type_name}");
    }
    for payload in [json!({}), json!({ "a": {} })] {
        assert_eq!(ask("some", payload.clone()), Ok(payload.clone()));
        assert_eq!(ask("raw", payload.clone()), Ok(payload));
    }
}
