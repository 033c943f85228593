//! Lays out JSON text without reading its values, so that digits and the order of keys stay as the host sent them.

/// One line without spaces. The text must be valid JSON.
pub(crate) fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    each_piece(json, |piece| out.push_str(piece));
    out
}

/// One entry per line, indented by two spaces for each level. The text must be valid JSON.
pub(crate) fn pretty(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0;
    let mut opened = false;
    each_piece(json, |piece| {
        let closes = matches!(piece, "}" | "]");
        depth -= usize::from(closes);
        // Nothing between the brackets: they stay together.
        if opened != closes {
            line(&mut out, depth);
        }
        opened = matches!(piece, "{" | "[");
        depth += usize::from(opened);
        match piece {
            "," => {
                out.push(',');
                line(&mut out, depth);
            }
            ":" => out.push_str(": "),
            _ => out.push_str(piece),
        }
    });
    out
}

fn line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

/// Brackets, commas, colons, strings and other values, one by one.
fn each_piece<'a>(json: &'a str, mut each: impl FnMut(&'a str)) {
    let mut rest = json.trim_start();
    while let Some(first) = rest.bytes().next() {
        let end = match first {
            b'"' => string_end(rest),
            b'{' | b'}' | b'[' | b']' | b',' | b':' => 1,
            _ => rest
                .find([',', ':', '}', ']', ' ', '\t', '\n', '\r'])
                .unwrap_or(rest.len()),
        };
        let (piece, more) = rest.split_at(end);
        each(piece);
        rest = more.trim_start();
    }
}

fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compact_and_pretty_keep_digits_order_and_strings() {
        let json = r#" { "b" : [1.50, 12345678901234567890 , {}], "a":"x \" : , ] ",
            "e" : [ ] , "n" : { "t" : true } } "#;
        let one_line =
            r#"{"b":[1.50,12345678901234567890,{}],"a":"x \" : , ] ","e":[],"n":{"t":true}}"#;
        let lines = "{\n  \"b\": [\n    1.50,\n    12345678901234567890,\n    {}\n  ],\n  \"a\": \"x \\\" : , ] \",\n  \
                     \"e\": [],\n  \"n\": {\n    \"t\": true\n  }\n}";
        assert_eq!(compact(json), one_line);
        assert_eq!(pretty(json), lines);
        assert_eq!(compact(&pretty(json)), one_line);
        assert_eq!(
            (
                pretty("{}").as_str(),
                pretty("[]").as_str(),
                pretty("5").as_str()
            ),
            ("{}", "[]", "5")
        );
    }
}
