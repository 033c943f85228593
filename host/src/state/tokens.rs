//! Tokens that were given out from a state that an operator has dropped: a state of that name never gives them again.
//!
//! They stand in a state of the host's own, by the plugin's and the state's name with a zero byte between. Of what a plugin stores, the host
//! reads one thing: the header of a pool's books, whose key is one zero byte, and which holds the last token in eight bytes, high byte
//! first, behind a byte for its layout. That is so in every layout.

use plugin_api::description::StateDescription;

use super::map::StateMap;

/// The plugin of the host's own states: it has no name.
pub const HOST: &str = "";

/// Where the header of a pool's books stands.
const BOOKS_HEADER: &[u8] = &[0];

/// The layout of a header that any version of plugin-api since the first with headers of this length reads.
const BOOKS_LAYOUT: u8 = 2;

/// How the store knows these entries.
pub fn tokens_state() -> StateDescription {
    StateDescription {
        name: "tokens".to_owned(),
        kind: "tokens".to_owned(),
        schema: 1,
        books: 0,
    }
}

/// Whether states of a kind give tokens.
fn gives_tokens(kind: &str) -> bool {
    matches!(kind, "numbers" | "pool")
}

/// The key under which the last token of a dropped state stands.
pub fn key(plugin: &str, state: &str) -> Vec<u8> {
    [plugin.as_bytes(), state.as_bytes()].join(&0)
}

/// The value of a last token.
pub fn value(token: u64) -> [u8; 8] {
    token.to_be_bytes()
}

/// The last token of a state that was dropped, of what the host keeps of them.
pub fn kept(tokens: &StateMap, plugin: &str, state: &str) -> u64 {
    let value = tokens.read(&key(plugin, state));
    let value = value.and_then(|value| value.try_into().ok());
    value.map_or(0, u64::from_be_bytes)
}

/// The last token that a state has given, as far as it gives any.
pub fn last(kind: &str, map: &StateMap) -> u64 {
    let header = map.read(BOOKS_HEADER).filter(|_| gives_tokens(kind));
    let token = header.and_then(|header| header.get(1..9)?.try_into().ok());
    token.map_or(0, u64::from_be_bytes)
}

/// What a new state begins with, so that its tokens go on behind `token`: the header of empty books, if there is anything to go on behind.
pub fn begin(kind: &str, token: u64) -> Option<(&'static [u8], Vec<u8>)> {
    if token == 0 || !gives_tokens(kind) {
        return None;
    }
    // Token, greatest number, members, free, draining, and the bounds of no range.
    let fields: [u64; 7] = [token, 0, 0, 0, 0, 1, 0];
    let mut header = vec![BOOKS_LAYOUT];
    header.extend(fields.iter().flat_map(|field| field.to_be_bytes()));
    Some((BOOKS_HEADER, header))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_begins_behind_a_token_has_given_it() {
        let mut map = StateMap::default();
        assert_eq!(last("numbers", &map), 0);
        assert_eq!(begin("numbers", 0), None);
        assert_eq!(begin("value", 7), None);
        let (key, header) = begin("pool", 1 << 40).unwrap();
        map.write(key, &header, |_| ());
        assert_eq!(last("pool", &map), 1 << 40);
        assert_eq!(last("map", &map), 0, "it may be anything there");
    }

    #[test]
    fn tokens_are_kept_by_plugin_and_state() {
        let mut tokens = StateMap::default();
        tokens.write(&key("tickets", "hall"), &value(9), |_| ());
        assert_eq!(kept(&tokens, "tickets", "hall"), 9);
        assert_eq!(kept(&tokens, "ticket", "shall"), 0);
    }
}
