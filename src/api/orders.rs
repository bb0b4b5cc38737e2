//! `?daemon=NAME|all`: what is asked of another daemon, through the fleet's database. No daemon calls another.
//!
//! A question is a request as it came in here, with who asked, once let in; the daemon that is asked lets it
//! in again by its own rules and does it as if it had come there. Both sides are bounded in size and time.
//! What is done is the routes' matter.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info};

use super::Api;
use super::answer::Answer;
use super::daemons::SILENT;
use super::place::Place;
use super::routes::{self, Wanted};
use crate::budget::Held;
use crate::control::{Asked, Caller, Seen};
use crate::event::Timestamp;
use crate::http::{ErrorAnswer, over_budget};
use crate::lock::lock;

/// A daemon has not answered.
const NO_ANSWER: &str = "ERR_SLUICEGATE_1442";

/// There is no such daemon.
const NO_DAEMON: &str = "ERR_SLUICEGATE_1443";

/// A question or an answer is too large.
const TOO_LARGE: &str = "ERR_SLUICEGATE_1444";

/// Too many questions wait for a daemon.
const TOO_MANY: &str = "ERR_SLUICEGATE_1445";

/// How long a daemon may take to answer, and over what works for some seconds.
const PATIENCE: Duration = Duration::from_secs(10);
const LONG_PATIENCE: Duration = Duration::from_secs(60);

/// How often it is asked for answers.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// How often a daemon looks for questions; notices only hasten that.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Largest question.
const MAX_COMMAND: usize = 256 << 10;

/// Largest answer, and what is made of it when it is read.
const MAX_ANSWER: usize = 4 << 20;
const PARSED: usize = 8;

/// Most questions that a daemon works on at a time.
const AT_ONCE: usize = 8;

/// The clocks of two daemons may be so far apart.
const SKEW: i64 = 120;

/// Most questions that are remembered, so that one which somebody puts back is not done again.
const REMEMBERED: usize = 10_000;

/// The questions that this daemon has done.
#[derive(Debug, Default)]
pub(super) struct Done(Mutex<VecDeque<String>>);

impl Done {
    /// Notes a question; tells whether it is new.
    fn note(&self, id: &str) -> bool {
        let mut done = lock(&self.0);
        if done.iter().any(|it| it == id) {
            return false;
        }
        done.push_back(id.to_owned());
        if done.len() > REMEMBERED {
            done.pop_front();
        }
        true
    }
}

/// Does what a request wants of the daemons that it names, and gathers the answers.
pub(super) async fn ask(
    api: &Api,
    name: &str,
    wanted: Wanted,
    held: &Held,
) -> Result<Answer, ErrorAnswer> {
    let own = api.control.daemon();
    let wanted = Wanted { daemon: Some(own.clone()), ..wanted };
    if name == own {
        return routes::perform(api, wanted).await;
    }
    let (_, daemons) = api.control.daemons().await?;
    let others: Vec<Seen> = daemons.into_iter().filter(|it| it.name != own).collect();
    let is_all = name == "all";
    let asked: Vec<&Seen> = others.iter().filter(|it| is_all || it.name == name).collect();
    if asked.is_empty() && !is_all {
        return Err(no_daemon(name, &own, &others));
    }
    let patience = if wanted.place.is_finished() { LONG_PATIENCE } else { PATIENCE };
    let asking = Asking::begin(api, &wanted, &asked, patience).await?;
    if !is_all {
        let answers = asking.answers(api, held).await?;
        return Ok(answers.into_iter().next().map_or_else(Answer::no_content, |(_, it)| it));
    }
    let here = match routes::perform(api, wanted).await {
        Ok(answer) => answer,
        Err(refused) => of_refused(&refused),
    };
    let mut answers = asking.answers(api, held).await?;
    answers.push((own, here));
    answers.sort_by(|(one, _), (other, _)| one.cmp(other));
    let unanswered = answers.iter().filter(|(_, it)| it.status == StatusCode::GATEWAY_TIMEOUT);
    let unanswered: Vec<String> = unanswered.map(|(name, _)| name.clone()).collect();
    let shown = |(name, it): (String, Answer)| json!({"name": name, "status_code": it.status.as_u16(), "answer": it.body});
    let answers: Vec<Value> = answers.into_iter().map(shown).collect();
    Ok(Answer::ok(json!({"daemons": answers, "unanswered": unanswered})))
}

fn no_daemon(name: &str, own: &str, others: &[Seen]) -> ErrorAnswer {
    let mut known: Vec<&str> = others.iter().map(|it| it.name.as_str()).chain([own]).collect();
    known.sort_unstable();
    known.truncate(100);
    let known = known.join("`, `");
    let message = format!("there is no daemon `{name}` here; there are `{known}`, and `all`");
    ErrorAnswer::new(StatusCode::NOT_FOUND, NO_DAEMON, message)
}

/// A refusal as an answer among others.
fn of_refused(refused: &ErrorAnswer) -> Answer {
    Answer { status: refused.status, body: Some(refused.body()), warning: None }
}

fn unanswered(name: &str, why: &str) -> Answer {
    let message = format!("daemon `{name}` did not answer: {why}");
    of_refused(&ErrorAnswer::new(StatusCode::GATEWAY_TIMEOUT, NO_ANSWER, message))
}

/// Questions on their way.
struct Asking {
    /// By number, who is asked.
    waiting: BTreeMap<i64, String>,
    answers: Vec<(String, Answer)>,
    patience: Duration,
    until: Instant,
}

impl Asking {
    async fn begin(
        api: &Api,
        wanted: &Wanted,
        asked: &[&Seen],
        patience: Duration,
    ) -> Result<Asking, ErrorAnswer> {
        let until = Instant::now() + patience;
        let mut asking = Asking { waiting: BTreeMap::new(), answers: Vec::new(), patience, until };
        for it in asked {
            let name = it.name.clone();
            if it.silent > SILENT {
                let why = format!("it has said nothing for {} s", it.silent.as_secs());
                asking.answers.push((name.clone(), unanswered(&name, &why)));
                continue;
            }
            let command = wanted_as_text(wanted, &api.control.daemon(), patience);
            if command.len() > MAX_COMMAND {
                let message = format!(
                    "the request is {} bytes; another daemon can be asked with at most {MAX_COMMAND}",
                    command.len()
                );
                return Err(ErrorAnswer::new(StatusCode::PAYLOAD_TOO_LARGE, TOO_LARGE, message));
            }
            match api.control.order(name.clone(), command, patience).await? {
                Some(number) => drop(asking.waiting.insert(number, name)),
                None => {
                    let message =
                        format!("too many requests wait for daemon `{name}`: ask again later");
                    let status = StatusCode::SERVICE_UNAVAILABLE;
                    let refused = ErrorAnswer::new(status, TOO_MANY, message);
                    asking.answers.push((name, of_refused(&refused)));
                }
            }
        }
        Ok(asking)
    }

    /// Waits for all answers, and says of each daemon that gives none that it does not.
    async fn answers(
        mut self,
        api: &Api,
        held: &Held,
    ) -> Result<Vec<(String, Answer)>, ErrorAnswer> {
        while !self.waiting.is_empty() && Instant::now() < self.until {
            sleep(ASK_EVERY).await;
            let numbers: Vec<i64> = self.waiting.keys().copied().collect();
            // A database that is away for a moment is asked again.
            for answer in api.control.answers(numbers).await.unwrap_or_default() {
                let Some(name) = self.waiting.remove(&answer.number) else { continue };
                held.grow(PARSED * answer.text.len()).map_err(over_budget)?;
                let read = answer_of_text(&answer.text);
                let read = read.unwrap_or_else(|| unanswered(&name, "its answer cannot be read"));
                self.answers.push((name, read));
            }
        }
        let numbers: Vec<i64> = self.waiting.keys().copied().collect();
        let begun = match numbers.is_empty() {
            true => Vec::new(),
            false => api.control.take_back(numbers.clone()).await.unwrap_or(numbers),
        };
        for (number, name) in self.waiting {
            let seconds = self.patience.as_secs();
            let why = match begun.contains(&number) {
                true => format!("it may have begun, and was not done within {seconds} s"),
                false => {
                    format!("it did not take the request within {seconds} s, and will not do it")
                }
            };
            self.answers.push((name.clone(), unanswered(&name, &why)));
        }
        Ok(self.answers)
    }
}

fn wanted_as_text(wanted: &Wanted, own: &str, patience: Duration) -> String {
    let Asked { caller, base, address, is_restricted, operation_id } = &wanted.asked;
    let patience = i64::try_from(patience.as_secs()).unwrap_or(i64::MAX);
    json!({
        "id": format!("{:032x}", rand::random::<u128>()),
        "until": Timestamp::now().seconds.saturating_add(patience),
        "through": own,
        "method": wanted.method,
        "path": wanted.path,
        "parameters": wanted.parameters,
        "body": wanted.input,
        "confirmed": wanted.confirmed,
        "owner_id": caller.owner_id,
        "subject": caller.subject,
        "key_id": caller.key_id,
        "base": base,
        "address": address.map(|it| it.to_string()),
        "is_restricted": is_restricted,
        "operation_id": operation_id,
    })
    .to_string()
}

fn answer_of_text(text: &str) -> Option<Answer> {
    let mut answer: Value = serde_json::from_str(text).ok()?;
    let status = answer["status_code"].as_u64().and_then(|it| u16::try_from(it).ok())?;
    let body = answer.get_mut("body").map(Value::take).filter(|it| !it.is_null());
    Some(Answer { status: StatusCode::from_u16(status).ok()?, body, warning: None })
}

/// What another daemon has asked, read and to be done once.
fn wanted_of_text(text: &str, own: &str, done: &Done) -> Option<(Wanted, String)> {
    let mut it: Value = serde_json::from_str(text).ok()?;
    let text_of = |it: &Value, key: &str| it[key].as_str().map(str::to_owned);
    let until = it["until"].as_i64()?;
    if until.saturating_add(SKEW) < Timestamp::now().seconds || !done.note(it["id"].as_str()?) {
        return None;
    }
    let parameters = it["parameters"].as_object()?.iter();
    let parameters =
        parameters.map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
    let parameters = parameters.collect::<Option<BTreeMap<_, _>>>()?;
    let path = text_of(&it, "path")?;
    let caller = Caller {
        owner_id: text_of(&it, "owner_id")?,
        subject: text_of(&it, "subject")?,
        key_id: text_of(&it, "key_id"),
    };
    let asked = Asked {
        caller,
        base: text_of(&it, "base")?,
        address: it["address"].as_str().and_then(|it| it.parse().ok()),
        is_restricted: it["is_restricted"].as_bool()?,
        operation_id: text_of(&it, "operation_id")?,
    };
    let input = match it.get_mut("body").map(Value::take) {
        Some(Value::Object(input)) => input,
        _ => Map::new(),
    };
    let wanted = Wanted {
        method: text_of(&it, "method")?,
        place: Place::of(&path)?,
        path,
        parameters,
        input,
        confirmed: it["confirmed"].as_bool()?,
        daemon: Some(own.to_owned()),
        asked,
    };
    let is_known = wanted.place.is_of_a_daemon();
    let is_method = wanted.place.methods().contains(&wanted.method.as_str());
    let through = text_of(&it, "through")?;
    (is_known && is_method).then_some((wanted, through))
}

/// Does what other daemons ask, as long as this one runs.
pub async fn keep_obeying(api: Arc<Api>) -> Result<(), String> {
    if !api.control.is_in_fleet() {
        return std::future::pending().await;
    }
    let notices = api.control.order_notices();
    let mut working: JoinSet<()> = JoinSet::new();
    loop {
        let _ = timeout(LOOK_EVERY, notices.notified()).await;
        while working.try_join_next().is_some() {}
        let room = AT_ONCE.saturating_sub(working.len());
        if room == 0 || api.control.cannot_write().is_some() {
            continue;
        }
        for order in api.control.take_orders(room).await.unwrap_or_default() {
            let api = Arc::clone(&api);
            working.spawn(async move {
                let own = api.control.daemon();
                let Some((wanted, through)) = wanted_of_text(&order.text, &own, &api.done) else {
                    return;
                };
                let text = obey(&api, wanted, &through).await;
                if let Err(error) = api.control.answer(order.number, text).await {
                    debug!(%error, "an answer to another daemon could not be written");
                }
            });
        }
    }
}

/// Does what another daemon has let in, if it is let in here too; gives the answer as text.
async fn obey(api: &Api, wanted: Wanted, through: &str) -> String {
    let operation_id = wanted.asked.operation_id.clone();
    info!(
        through,
        method = wanted.method,
        path = wanted.path,
        operation_id,
        "asked through another daemon"
    );
    let answer = match api.control.still_admits_by_now(&wanted.asked).await {
        Ok(()) => routes::perform(api, wanted).await,
        Err(refusal) => Err(refusal.into()),
    };
    let answer = answer.unwrap_or_else(|refused| of_refused(&refused));
    let text =
        |it: &Answer| json!({"status_code": it.status.as_u16(), "body": it.body}).to_string();
    let whole = text(&answer);
    if whole.len() <= MAX_ANSWER {
        return whole;
    }
    let message = format!(
        "the answer is {} bytes, and at most {MAX_ANSWER} are passed on: ask that daemon itself",
        whole.len()
    );
    text(&of_refused(&ErrorAnswer::new(StatusCode::BAD_GATEWAY, TOO_LARGE, message)))
}
