//! The rule about what is stored: a version opens it only as what it was made as, and never with an older schema.

use std::fmt;

use crate::description::StateDescription;

/// Why a version may not have a state. The texts are for the log and for the author.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredFault {
    /// The name is taken by a state of another kind.
    OtherKind {
        /// The state's name.
        name: String,
        /// What the version declares.
        asked: String,
        /// What it was made as.
        stored: String,
    },
    /// The version reads an older schema than the stored one.
    OlderSchema {
        /// The state's name.
        name: String,
        /// What the version declares.
        asked: u32,
        /// What is stored.
        stored: u32,
    },
}

impl fmt::Display for StoredFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherKind {
                name,
                asked,
                stored,
            } => write!(
                f,
                "its state `{name}` is declared as `{asked}`, what is stored under that name is `{stored}`: \
                 give the new state another name"
            ),
            Self::OlderSchema {
                name,
                asked,
                stored,
            } => write!(
                f,
                "its state `{name}` has schema {asked}, what is stored has schema {stored}: only the same or a \
                 newer version of the plugin can read it"
            ),
        }
    }
}

impl std::error::Error for StoredFault {}

/// Whether what is stored under a state's name, with this kind and schema, may be opened as the version asks.
///
/// # Errors
/// See [`StoredFault`].
pub fn check(kind: &str, schema: u32, asked: &StateDescription) -> Result<(), StoredFault> {
    if kind != asked.kind {
        return Err(StoredFault::OtherKind {
            name: asked.name.clone(),
            asked: asked.kind.clone(),
            stored: kind.to_owned(),
        });
    }
    if schema > asked.schema {
        return Err(StoredFault::OlderSchema {
            name: asked.name.clone(),
            asked: asked.schema,
            stored: schema,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_schema_and_another_kind_are_refused() {
        let asked = |kind: &str, schema| StateDescription {
            name: "hall".into(),
            kind: kind.into(),
            schema,
            books: 0,
        };
        let check = |asked| check("numbers", 2, &asked).map_err(|fault| fault.to_string());
        assert_eq!(check(asked("numbers", 2)), Ok(()));
        assert_eq!(check(asked("numbers", 3)), Ok(()));
        let older = check(asked("numbers", 1)).unwrap_err();
        assert!(older.contains("has schema 1, what"), "{older}");
        let other = check(asked("pool", 2)).unwrap_err();
        assert!(other.contains("another name"), "{other}");
    }
}
