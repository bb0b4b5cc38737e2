//! `/ledger`: every destination's account and dead letters as JSON, also of those that are configured
//! no more, and the dead letters of entrances.

use serde_json::{Value, json};

use crate::journal::{Account, Ledger, LetterCounts};
use crate::resources::ResourceId;

/// The ledger in the shape of `GET /ledger`.
#[must_use]
pub fn ledger_to_json(ledger: &Ledger) -> Value {
    let letters = |name: &str| ledger.letters.get(name).copied().unwrap_or_default();
    let destinations =
        ledger.accounts.iter().map(|(id, account)| (id, account, letters(id.as_str())));
    let balanced = destinations
        .clone()
        .all(|(_, account, letters)| account.imbalance() == 0 && letters.imbalance(account) == 0);
    let destinations: Vec<Value> =
        destinations.map(|(id, account, letters)| entry(id, account, &letters)).collect();
    let has_account = |name: &str| ledger.accounts.iter().any(|(id, _)| id.as_str() == name);
    let others = ledger.letters.iter().filter(|(name, _)| !has_account(name));
    let entrances: Vec<Value> = others
        .map(|(name, letters)| {
            let mut entry = of_letters(letters);
            entry["id"] = json!(name);
            entry["dead_lettered"] = json!(letters.buried);
            entry
        })
        .collect();
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
        "letters_imbalance": letters.imbalance(account),
    });
    if let (Some(entry), Value::Object(letters)) = (entry.as_object_mut(), of_letters(letters)) {
        entry.extend(letters);
    }
    entry
}

fn of_letters(letters: &LetterCounts) -> Value {
    json!({
        "listed": letters.listed,
        "purged": letters.purged,
        "redriven": letters.redriven,
        "given_way": letters.given_way,
        "letters_lost": letters.lost,
        "earlier": letters.earlier,
    })
}
