//! The daemon on the other side: its answers and its errors.
//!
//! The key goes to the address that was given and to no other, whatever an answer says.

use std::fmt;
use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::api::encode;
use crate::cli::access::{Access, ToDaemon};
use crate::cli::client::Client;
use crate::cli::{Failure, Outcome, OutputFormat, block_on};
use crate::report::escaped;

/// How long an answer may take. A test event waits for its service, which may take 10 seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Most pages of a list, so that one without an end has one: a million resources.
const MAX_PAGES: usize = 10_000;

/// An answer that is an error.
pub(super) struct Refused {
    status: StatusCode,
    code: Option<String>,
    message: String,
    operation: Option<String>,
}

impl Refused {
    fn of(status: StatusCode, body: &[u8]) -> Refused {
        let answer: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let plain = || String::from_utf8_lossy(body).trim().to_owned();
        Refused {
            status,
            code: text(&answer["error_code"]),
            message: text(&answer["msg"]).unwrap_or_else(plain),
            operation: text(&answer["details"]["operation_id"]),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Reports of filters have lines of their own; what a service says is one.
        match self.code.as_deref() {
            Some(NOT_DELIVERED) => write!(f, "{}", escaped(&self.message))?,
            _ => write!(f, "{}", self.message)?,
        }
        write!(f, "\n({}", self.status)?;
        if let Some(code) = &self.code {
            write!(f, ", {}", escaped(code))?;
        }
        if let Some(operation) = &self.operation {
            write!(f, ", operation {}", escaped(operation))?;
        }
        f.write_str(")")
    }
}

/// The control API of one daemon.
pub(in crate::cli) struct Remote {
    base: String,
    client: Client,
    /// The daemon of the fleet that is meant, if it is another.
    daemon: Option<String>,
}

impl Remote {
    /// The daemon that the arguments name, which answers nobody without a key.
    pub(in crate::cli) fn new(access: &Access) -> Result<Remote, Failure> {
        let base = access.address();
        let client = access.client(&base)?.with_patience(PATIENCE);
        let client = client.with_key(Some(access.required_key()?));
        Ok(Remote { base, client, daemon: None })
    }

    /// The daemon that is meant, asked through the one that the arguments name.
    pub(in crate::cli) fn to(to: &ToDaemon) -> Result<Remote, Failure> {
        let daemon = to.daemon()?.map(str::to_owned);
        Ok(Remote { daemon, ..Remote::new(&to.access)? })
    }

    /// The same, where every request has one more header.
    pub(in crate::cli) fn with_header(self, name: &'static str, value: &'static str) -> Remote {
        Remote { client: self.client.with_header(name, value), ..self }
    }

    /// The same with another limit of how long one answer may take.
    pub(in crate::cli) fn with_patience(self, patience: Duration) -> Remote {
        Remote { client: self.client.with_patience(patience), ..self }
    }

    /// Asks; gives the answer, be it an error.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Result<Value, Refused>, Failure> {
        let path = match &self.daemon {
            // The address of a next page names it already.
            Some(name) if !path.contains("daemon=") => {
                let mark = if path.contains('?') { '&' } else { '?' };
                format!("{path}{mark}daemon={}", encode(name))
            }
            _ => path.to_owned(),
        };
        let (status, bytes) = self.client.request(method, &path, body).await?;
        if !status.is_success() {
            return Ok(Err(Refused::of(status, &bytes)));
        }
        if bytes.is_empty() {
            return Ok(Ok(Value::Null));
        }
        serde_json::from_slice(&bytes).map(Ok).map_err(|_| self.foreign())
    }

    /// Asks for what is to be done.
    pub(in crate::cli) async fn must(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, Failure> {
        self.ask(method, path, body).await?.map_err(Failure::work)
    }

    /// A list, page by page, at most so many. Of the address of the next page only the query is
    /// used, so the key stays here also where the daemon has another address in public.
    pub(in crate::cli) async fn list(
        &self,
        path: &str,
        key: &str,
        mut query: String,
        most: usize,
    ) -> Result<Vec<Value>, Failure> {
        let mut items = Vec::new();
        for _ in 0..MAX_PAGES {
            let line = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
            let mut page = self.must(Method::GET, &line, None).await?;
            let found = page.get_mut(key).and_then(Value::as_array_mut);
            items.append(found.ok_or_else(|| self.foreign())?);
            let next = page["next_page_uri"].as_str().and_then(|uri| uri.split_once('?'));
            match next {
                Some((_, next)) if items.len() < most => query = next.to_owned(),
                _ => break,
            }
        }
        items.truncate(most);
        Ok(items)
    }

    fn foreign(&self) -> Failure {
        Failure::Work(format!("{} is not the API of a daemon (see `api.listen`)", self.base))
    }
}

/// What the API says of a test event that the service did not take.
const NOT_DELIVERED: &str = "ERR_SLUICEGATE_1306";

/// Has the daemon send a test event to a destination, and tells the service's answer.
pub(in crate::cli) fn test_event(remote: &Remote, id: &str, output: OutputFormat) -> Outcome {
    let path = format!("/event_destinations/{}/send_test_event", encode(id));
    let began = Instant::now();
    let answer = block_on(remote.ask(Method::POST, &path, None))??;
    let millis = began.elapsed().as_millis();
    let (event, refused) = match answer {
        Ok(answer) => (answer["event_id"].as_str().map(str::to_owned), None),
        Err(refused) if refused.code.as_deref() == Some(NOT_DELIVERED) => (None, Some(refused)),
        Err(refused) if refused.status == StatusCode::NOT_FOUND => {
            let base = &remote.base;
            return Err(Failure::Work(format!("no destination `{id}` at {base}: {refused}")));
        }
        Err(refused) => return Err(Failure::work(refused)),
    };
    let answer = if refused.is_none() { "delivered" } else { "failed" };
    let mut out = io::stdout().lock();
    match output {
        OutputFormat::Table => {
            writeln!(out, "destination  {}", escaped(id))?;
            if let Some(event) = &event {
                writeln!(out, "event        {}", escaped(event))?;
            }
            writeln!(out, "answer       {answer} after {millis} ms")?;
        }
        OutputFormat::Json => {
            let message = refused.as_ref().map(|refused| &refused.message);
            let result = json!({
                "destination": id,
                "event_id": event,
                "answer": answer,
                "latency_ms": millis,
                "msg": message,
            });
            writeln!(out, "{result}")?;
        }
    }
    refused.map_or(Ok(()), |refused| Err(Failure::work(refused)))
}
