//! Hands on a host's messages to a deployment, with tokens of the agent's that it draws from the human's session.

use super::message::{Greeting, Message, NO_REQUEST, REFUSED, error};
use crate::Failure;
use crate::api::{Api, text};
use crate::client::agent::{self, AgentRef};
use crate::client::connection::Connection;
use crate::client::output;
use crate::client::quantity::Span;
use aegis_core::ambient::Timestamp;
use serde_json::{Value, json};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const MCP: &str = "/mcp";
/// Messages under way at once.
const AT_ONCE: usize = 8;

pub(super) struct Bridge {
    connection: Connection,
    agent: AgentRef,
    ttl: Span,
    token: Mutex<Token>,
    greeting: Mutex<Greeting>,
    free: Mutex<usize>,
    freed: Condvar,
}

enum Token {
    NotDrawn,
    Drawn(Drawn),
    /// Somebody stopped it: no other is drawn.
    Revoked,
}

#[derive(Clone)]
struct Drawn {
    credential: String,
    api: Api,
    renew_at: Instant,
}

/// A message under way.
pub(super) struct Place<'a>(&'a Bridge);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *locked(&self.0.free) += 1;
        self.0.freed.notify_one();
    }
}

impl Bridge {
    pub(super) fn new(connection: Connection, agent: AgentRef, ttl: Span) -> Self {
        let (token, greeting) = (Mutex::new(Token::NotDrawn), Mutex::new(Greeting::default()));
        Self { connection, agent, ttl, token, greeting, free: Mutex::new(AT_ONCE), freed: Condvar::new() }
    }

    /// Waits until one more message may be under way.
    pub(super) fn place(&self) -> Place<'_> {
        let free = self.freed.wait_while(locked(&self.free), |free| *free == 0);
        *free.unwrap_or_else(PoisonError::into_inner) -= 1;
        Place(self)
    }

    /// The answer to a line of the host's, if it needs one.
    pub(super) fn answer(&self, line: &str) -> Option<String> {
        let message = match Message::read(line) {
            Ok(message) => message?,
            Err(answer) => return Some(answer),
        };
        let id = message.id.clone();
        match (self.hand_on(message), id) {
            (Ok(answer), _) => answer,
            (Err((code, failure)), Some(id)) => {
                let data = match &failure {
                    Failure::Refused(refusal) => Some(refusal.body.clone()),
                    _ => None,
                };
                Some(error(&id, code, &advised(&failure), data))
            }
            (Err((_, failure)), None) => {
                output::note(&format!("aegis: {}", advised(&failure)));
                None
            }
        }
    }

    fn hand_on(&self, message: Message) -> Result<Option<String>, (i64, Failure)> {
        let refused = |failure| (REFUSED, failure);
        let first = message.method == "initialize";
        let is_request = message.id.is_some();
        let (body, headers) = {
            let mut greeting = locked(&self.greeting);
            message.greet(&mut greeting);
            message.posted(&greeting)
        };
        if body.len() > aegis_functions::MAX_BODY {
            return Err((NO_REQUEST, Failure::Usage("a message is at most 1 MiB".to_string())));
        }
        let drawn = self.drawn().map_err(refused)?;
        let mut answer = drawn.api.post_raw(MCP, &headers, &body).map_err(refused)?;
        if answer.status == 401 && answer.reason() == "credential_expired" {
            self.forget(&drawn);
            let drawn = self.drawn().map_err(refused)?;
            answer = drawn.api.post_raw(MCP, &headers, &body).map_err(refused)?;
        }
        if answer.status == 401 && answer.reason() == "credential_revoked" {
            *locked(&self.token) = Token::Revoked;
        }
        let is_answer = answer.body.get("jsonrpc").is_some();
        if !is_answer {
            answer.ok("use the agent's token").map_err(refused)?;
            return Ok(None);
        }
        if let (true, Some(version)) = (first, answer.body.pointer("/result/protocolVersion").and_then(Value::as_str)) {
            locked(&self.greeting).version = Some(version.to_string());
        }
        Ok(is_request.then(|| answer.body.to_string()))
    }

    /// The token, a new one where there is none or it ends soon. One thread draws; the others wait for it.
    fn drawn(&self) -> Result<Drawn, Failure> {
        let mut token = locked(&self.token);
        match &*token {
            Token::Drawn(drawn) if Instant::now() < drawn.renew_at => return Ok(drawn.clone()),
            Token::Drawn(_) | Token::NotDrawn => {}
            Token::Revoked => {
                let why = "the agent's token was revoked; whoever did that decides when `aegis mcp` is started again";
                return Err(Failure::Failed(why.to_string()));
            }
        }
        let client = self.connection.client()?;
        let issued = agent::credential(&client, &self.agent.id(&client)?, Some(self.ttl))?;
        let (credential, api) = (text(&issued, "id")?, client.api.with_token(&text(&issued, "token")?));
        let drawn =
            Drawn { credential, api, renew_at: Instant::now() + renewed_after(&issued, self.ttl, Timestamp::now()) };
        *token = Token::Drawn(drawn.clone());
        Ok(drawn)
    }

    fn forget(&self, old: &Drawn) {
        let mut token = locked(&self.token);
        if matches!(&*token, Token::Drawn(drawn) if drawn.credential == old.credential) {
            *token = Token::NotDrawn;
        }
    }

    /// Revokes the token. If nobody hears it, it ends by itself.
    pub(super) fn end(&self) {
        let Token::Drawn(drawn) = std::mem::replace(&mut *locked(&self.token), Token::Revoked) else { return };
        let revoked = drawn.api.post(&format!("/v1/credentials/{}/revoke", drawn.credential), &json!({}));
        // Refused, it is no longer good for anything.
        let ended = revoked
            .and_then(|answer| if answer.status == 401 { Ok(Value::Null) } else { answer.ok("revoke the token") });
        if let Err(failure) = ended {
            output::note(&format!("aegis: {failure}; it ends by itself within {} minutes", self.ttl.0.div_ceil(60)));
        }
    }
}

/// After two thirds of its life, so that none ends while a message is under way.
fn renewed_after(issued: &Value, ttl: Span, now: Timestamp) -> Duration {
    let asked = u64::from(ttl.0);
    let ends = issued.get("expires_at").and_then(Value::as_str).and_then(|at| at.parse::<Timestamp>().ok());
    // A session that ends sooner cuts it.
    let left = ends.and_then(|ends| u64::try_from(ends.as_second() - now.as_second()).ok());
    Duration::from_secs(left.unwrap_or(asked).min(asked) * 2 / 3)
}

/// With what helps, where that is not clear: an agent's host shows no more than this.
fn advised(failure: &Failure) -> String {
    match failure {
        Failure::NotLoggedIn { .. } => {
            format!("{failure}: the human behind the agent runs `aegis login`, then it goes on")
        }
        // Of the human's session; what the agent's token is refused for, a login does not mend.
        Failure::Refused(refusal) if refusal.status == 401 && refusal.path != MCP => {
            format!("{failure}: the human behind the agent runs `aegis login`, then it goes on")
        }
        _ => failure.to_string(),
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_after_two_thirds_of_what_is_left_of_it_and_never_later_than_of_what_was_asked() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let table = [
            (900, "2026-03-01T12:15:00Z", 600),
            (60, "2026-03-01T12:01:00Z", 40),
            // A session or a grant that ends sooner cuts it.
            (900, "2026-03-01T12:00:30Z", 20),
            (900, "2026-03-01T12:00:00Z", 0),
            // This machine's clock is behind, or ahead by more than the token's life.
            (900, "2026-03-01T13:00:00Z", 600),
            (900, "2026-03-01T11:59:59Z", 600),
            (900, "soon", 600),
        ];
        for (ttl, expires_at, want) in table {
            let issued = json!({ "expires_at": expires_at });
            assert_eq!(renewed_after(&issued, Span(ttl), now), Duration::from_secs(want), "{ttl} s, {expires_at}");
        }
        assert_eq!(renewed_after(&json!({}), Span(900), now), Duration::from_secs(600));
    }
}
