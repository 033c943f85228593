//! A client as the original's own, run by Node, works unchanged.

use std::process::Command;

use rm_tests::TestHost;

#[test]
#[ignore = "it needs Node, which the other tests do not: cargo test -p rm-tests --test node -- --ignored"]
fn a_client_of_the_original_works_unchanged() {
    let host = TestHost::plan().plugin("counter").plugin("tickets").start();
    let output = Command::new("node")
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/data/original_client.js"
        ))
        .args([&*host.address().port().to_string(), "100"])
        .args([
            "cntResponse",
            "getIp",
            "getTickets",
            "ping",
            "srvQueuePrint",
            "nobody",
        ])
        .output()
        .unwrap_or_else(|error| {
            panic!("node cannot be run ({error}): install it (Debian: nodejs)")
        });
    let out = String::from_utf8(output.stdout).expect("node writes UTF-8");
    assert!(
        output.status.success(),
        "{out}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(out.lines().count(), 600);
    for (type_name, result) in [
        ("cntResponse", r#"{"cnt":"#),
        ("getIp", r#"{"ip":1"#),
        ("nobody", r#"{"err":"#),
    ] {
        let lines: Vec<&str> = out
            .lines()
            .filter(|line| line.starts_with(type_name))
            .collect();
        let first = format!("{type_name} 0 {result}");
        assert!(
            lines.len() == 100 && lines[0].starts_with(&first),
            "{}",
            lines[0]
        );
    }
    assert!(out.contains("cntResponse 99 {\"cnt\":99}"), "{out}");
}
