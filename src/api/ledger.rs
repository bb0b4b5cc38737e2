//! `/ledger`: every destination's account and dead letters as JSON, also of those that are configured
//! no more, and the dead letters of entrances.

use serde_json::{Value, json};

use crate::journal::{Account, Ledger, LetterCounts};
use crate::resources::ResourceId;

/// The ledger in the shape of `GET /ledger`.
#[must_use]
pub fn ledger_to_json(ledger: &Ledger) -> Value {
    let letters = |name: &str| ledger.letters.get(name).copied().unwrap_or_default();
    let destinations = ledger.accounts.iter();
    let destinations: Vec<Value> =
        destinations.map(|(id, account)| entry(id, account, &letters(id.as_str()))).collect();
    let entrances: Vec<Value> = ledger
        .letters_without_account()
        .map(|(name, letters)| {
            let mut entry = of_letters(letters, None);
            entry["id"] = json!(name);
            entry["dead_lettered"] = json!(letters.buried);
            entry
        })
        .collect();
    let is_zero = |value: &Value| value.as_i64().is_none_or(|it| it == 0);
    let mut entries = destinations.iter().chain(&entrances);
    let balanced = entries.all(|it| is_zero(&it["imbalance"]) && is_zero(&it["letters_imbalance"]));
    json!({"balanced": balanced, "destinations": destinations, "entrances": entrances})
}

fn entry(id: &ResourceId, account: &Account, letters: &LetterCounts) -> Value {
    let mut entry = json!({
        "id": id.as_str(),
        "accepted": account.accepted,
        "filtered_out": account.filtered_out,
        "delivered": account.delivered,
        "dead_lettered": account.dead_lettered,
        "dropped": account.dropped,
        "lost": account.lost,
        "pending": account.pending_records,
        "imbalance": account.imbalance(),
    });
    let letters = of_letters(letters, Some(account));
    if let (Some(entry), Value::Object(letters)) = (entry.as_object_mut(), letters) {
        entry.extend(letters);
    }
    entry
}

fn of_letters(letters: &LetterCounts, account: Option<&Account>) -> Value {
    json!({
        "buried": letters.buried,
        "listed": letters.listed,
        "purged": letters.purged,
        "redriven": letters.redriven,
        "given_way": letters.given_way,
        "letters_lost": letters.lost,
        "earlier": letters.earlier,
        "letters_imbalance": letters.imbalance(account),
    })
}
