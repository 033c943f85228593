//! What is known of every request from outside, and what follows from it: who was answered how often, what was run how often, and
//! who holds which seat.

use std::collections::{BTreeMap, HashMap};

use protocol::{ErrorCode, Reply};
use serde_json::Value;

use crate::jobbers::Then;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Take,
    Back {
        token: u64,
    },
    Add,
    Echo,
    Cancel {
        key: u64,
    },
    /// A request of the host's own, an operator's, or one that changes nothing.
    Other,
}

/// One request, however often it is sent.
#[derive(Debug)]
pub struct Request {
    pub kind: Kind,
    /// 1 or 2: the lane, and the books, that it is for.
    pub hall: u8,
    pub then: Then,
    pub n: u64,
    pub type_name: &'static str,
    pub payload: String,
    /// Whose session it belongs to, and under which id.
    pub id: Option<(usize, u64)>,
    pub sent: Vec<Sent>,
    /// The result of each success.
    pub answer: Option<String>,
    /// The seats and the token that it got.
    pub grant: Option<(Vec<u64>, u64)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    Unanswered,
    /// Nobody is there any more to whom it could be answered.
    Lost,
    Answered,
    /// An error that says that nothing was changed.
    Failed,
    /// An error that leaves open whether anything was.
    Unknown,
}

/// A sending that is not answered yet.
#[derive(Clone, Copy, Debug)]
struct UnderWay {
    key: u64,
    /// Which sending of the request it is.
    nth: usize,
    /// When it may expire at the earliest, in microseconds of simulated time.
    expires_us: u64,
}

/// All requests of a run.
#[derive(Debug, Default)]
pub struct Model {
    pub requests: BTreeMap<u64, Request>,
    /// By client and `queryIndex`: the request's key, and which sending of it that is.
    under_way: HashMap<(usize, u64), UnderWay>,
    /// The key of the request that got a token, by hall.
    tokens: HashMap<(u8, u64), u64>,
    next_key: u64,
    /// How many replies had each code; `ok` is a success.
    pub codes: BTreeMap<String, u64>,
}

impl Model {
    /// Notes a new request, which is still to be sent. Returns its key.
    pub fn add(&mut self, request: impl FnOnce(u64) -> Request) -> u64 {
        self.next_key += 1;
        let key = self.next_key;
        self.requests.insert(key, request(key));
        key
    }

    /// A request is sent.
    pub fn sent(&mut self, key: u64, (client, index): (usize, u64), expires_us: u64) {
        let request = self.requests.get_mut(&key).expect("it was added");
        request.sent.push(Sent::Unanswered);
        self.under_way.insert(
            (client, index),
            UnderWay {
                key,
                nth: request.sent.len() - 1,
                expires_us,
            },
        );
    }

    /// A client is gone: nobody hears what becomes of its requests.
    pub fn gone(&mut self, client: usize) {
        let gone: Vec<_> = self
            .under_way
            .keys()
            .filter(|(of, _)| *of == client)
            .copied()
            .collect();
        for under_way in gone {
            let UnderWay { key, nth, .. } =
                self.under_way.remove(&under_way).expect("it was found");
            self.requests.get_mut(&key).expect("it was added").sent[nth] = Sent::Lost;
        }
    }

    /// How many requests of a client are unanswered.
    pub fn unanswered(&self, client: usize) -> usize {
        self.under_way
            .keys()
            .filter(|(of, _)| *of == client)
            .count()
    }

    /// Tokens of a hall that were given to somebody, with who got them.
    pub fn tokens(&self, hall: u8) -> Vec<u64> {
        let tokens = self.tokens.keys().filter(|(of, _)| *of == hall);
        let mut tokens: Vec<_> = tokens.map(|(_, token)| *token).collect();
        tokens.sort_unstable();
        tokens
    }

    /// A reply has come. Returns the request's key.
    ///
    /// # Errors
    /// Which promise it breaks.
    pub fn replied(
        &mut self,
        client: usize,
        frame: &[u8],
        now_us: u64,
    ) -> Result<(u64, Option<String>), String> {
        let reply = Reply::parse(frame).map_err(|error| format!("no reply: {error}"))?;
        let index: u64 = reply
            .query_index
            .parse()
            .map_err(|_| "no queryIndex".to_owned())?;
        let Some(UnderWay {
            key,
            nth,
            expires_us,
        }) = self.under_way.remove(&(client, index))
        else {
            return Err(format!(
                "client {client} is answered {index} which it waits for no more: {}",
                String::from_utf8_lossy(frame)
            ));
        };
        let request = self.requests.get_mut(&key).expect("it was added");
        if reply.type_name != request.type_name {
            return Err(format!(
                "{key} asked for {} and is answered {}",
                request.type_name, reply.type_name
            ));
        }
        let refusal = reply.refusal();
        let code = refusal.as_ref().map_or("ok", |refusal| &*refusal.code);
        *self.codes.entry(code.to_owned()).or_default() += 1;
        if code == ErrorCode::Expired.as_str() && now_us < expires_us && request.sent.len() == 1 {
            return Err(format!(
                "{key} has expired at {now_us} µs, and was not to before {expires_us} µs"
            ));
        }
        let is_unknown = reply.result.contains("\"outcome\":\"unknown\"");
        let open = [
            ErrorCode::IdForgotten.as_str(),
            ErrorCode::IdConflict.as_str(),
        ];
        request.sent[nth] = match &refusal {
            None => Sent::Answered,
            Some(_) if is_unknown => Sent::Unknown,
            // They say nothing of what became of it before.
            Some(refusal) if open.contains(&&*refusal.code) => Sent::Unknown,
            Some(_) => Sent::Failed,
        };
        let code = refusal.map(|refusal| refusal.code.into_owned());
        if code.is_none() {
            let result = reply.result.to_owned();
            match &request.answer {
                Some(before) if *before != result && request.id.is_some() => {
                    return Err(format!("{key} was answered {before}, and then {result}"));
                }
                _ => request.answer = Some(result.clone()),
            }
            if request.then == Then::Refuse || request.then == Then::Panic {
                return Err(format!("{key} cannot succeed, and did: {result}"));
            }
            if request.kind == Kind::Take {
                self.granted(key, &result)?;
            }
        }
        Ok((key, code))
    }

    fn granted(&mut self, key: u64, result: &str) -> Result<(), String> {
        let granted: Value = serde_json::from_str(result).map_err(|error| error.to_string())?;
        let ids = granted["ids"].as_array().into_iter().flatten();
        let ids: Vec<u64> = ids.filter_map(Value::as_u64).collect();
        let token = granted["token"].as_u64().unwrap_or_default();
        let request = self.requests.get_mut(&key).expect("it was added");
        request.grant = Some((ids.clone(), token));
        let hall = request.hall;
        if let Some(before) = self.tokens.insert((hall, token), key)
            && before != key
        {
            return Err(format!(
                "the token {token} of {before} is given again, to {key}"
            ));
        }
        for (other, request) in &self.requests {
            if *other == key
                || request.kind != Kind::Take
                || request.hall != hall
                || request.answer.is_none()
            {
                continue;
            }
            let Some((_, held, of)) = self.grant(*other) else {
                continue;
            };
            let back = |token| {
                let mut backs = self.requests.values();
                backs.any(|back| {
                    back.kind == Kind::Back { token } && back.hall == hall && !back.sent.is_empty()
                })
            };
            if let Some(id) = ids.iter().find(|id| held.contains(id))
                && !back(of)
                && !back(token)
            {
                return Err(format!(
                    "seat {id} of hall {hall} is held by {other}, and given to {key} too"
                ));
            }
        }
        Ok(())
    }

    fn grant(&self, key: u64) -> Option<(u8, &[u64], u64)> {
        let request = &self.requests[&key];
        let (ids, token) = request.grant.as_ref()?;
        Some((request.hall, ids, *token))
    }

    /// Compares all that is known with the books of a hall.
    ///
    /// # Errors
    /// What does not fit.
    pub fn check_books(&self, hall: u8, books: &str) -> Result<(), String> {
        let books: Value = serde_json::from_str(books).map_err(|error| error.to_string())?;
        let runs = |key: u64| books["runs"][key.to_string()].as_u64().unwrap_or(0);
        for (key, request) in self
            .requests
            .iter()
            .filter(|(_, request)| request.hall == hall)
        {
            if !matches!(request.kind, Kind::Take | Kind::Back { .. } | Kind::Add) {
                continue;
            }
            let run = runs(*key);
            let answered = request
                .sent
                .iter()
                .filter(|sent| **sent == Sent::Answered)
                .count() as u64;
            let open = request
                .sent
                .iter()
                .filter(|sent| matches!(sent, Sent::Lost | Sent::Unknown | Sent::Unanswered))
                .count() as u64;
            let (least, most) = match request.id {
                None => (answered, answered + open),
                Some(_) => (answered.min(1), (answered + open).min(1)),
            };
            if run < least || run > most {
                return Err(format!(
                    "{key} ({:?}, {:?}) was run {run} times to the books, and {least} to {most} times to who asked: {:?}",
                    request.kind, request.then, request.sent
                ));
            }
            if self.was_cancelled(*key) && run > 0 {
                return Err(format!("{key} was cancelled, and run"));
            }
        }
        self.check_held(hall, &books)
    }

    fn was_cancelled(&self, key: u64) -> bool {
        let mut cancels = self
            .requests
            .values()
            .filter(|of| of.kind == Kind::Cancel { key });
        cancels.any(|cancel| {
            cancel
                .answer
                .as_ref()
                .is_some_and(|answer| answer.contains("\"cancelled\":true"))
        })
    }

    fn check_held(&self, hall: u8, books: &Value) -> Result<(), String> {
        let held: Vec<u64> = books["held"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_u64)
            .collect();
        let of_hall = |request: &&Request| request.hall == hall;
        let (mut sure, mut maybe) = (0_u64, 0_u64);
        for (key, request) in self.requests.iter().filter(|(_, request)| of_hall(request)) {
            if request.kind != Kind::Take {
                continue;
            }
            let run = books["runs"][key.to_string()].as_u64().unwrap_or(0);
            match self.grant(*key) {
                Some((_, ids, token)) => {
                    let backs = self
                        .requests
                        .iter()
                        .filter(|(_, back)| back.kind == Kind::Back { token } && back.hall == hall);
                    let is_back = backs
                        .into_iter()
                        .any(|(key, _)| books["runs"][key.to_string()].as_u64().unwrap_or(0) > 0);
                    if !is_back {
                        sure += ids.len() as u64;
                        if let Some(id) = ids.iter().find(|id| !held.contains(id)) {
                            return Err(format!(
                                "seat {id} of hall {hall} was given to {key} and is free in the books"
                            ));
                        }
                    }
                    // One with no id that was sent once is no more than one grant.
                }
                // Its token is not known to anybody, so it is held still.
                None => maybe += run * request.n,
            }
        }
        if held.len() as u64 != sure + maybe {
            return Err(format!(
                "{} seats of hall {hall} are held, {sure} by who knows of it and {maybe} by others",
                held.len()
            ));
        }
        Ok(())
    }
}

impl Request {
    /// One that is still to be sent.
    pub fn new(kind: Kind, hall: u8, type_name: &'static str, payload: String) -> Self {
        Self {
            kind,
            hall,
            then: Then::Answer,
            n: 0,
            type_name,
            payload,
            id: None,
            sent: Vec::new(),
            answer: None,
            grant: None,
        }
    }

    /// The result that it was answered with.
    pub fn answer(&self) -> Option<&str> {
        self.answer.as_deref()
    }
}
