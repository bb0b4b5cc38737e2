//! The control plane as a whole, over a real store and a pipeline in memory.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::keys::BadKey;
use super::*;
use crate::journal::{Durability, Journal, JournalSettings};
use crate::sinks::LogOutput;

async fn control(folder: &Path) -> Arc<Control> {
    let settings = JournalSettings {
        durability: Durability::Memory,
        max_bytes: 1 << 20,
        retention: Duration::ZERO,
        max_dead_letter_bytes: 1 << 30,
        directory: folder.to_owned(),
    };
    let file = Resources::new(Catalog::builtin());
    let saved = Saved::load(folder, &ControlSettings::default(), &file).unwrap();
    let resources = saved.resources().unwrap();
    let journal = Journal::open(&settings).unwrap();
    let pipeline = Pipeline::start(&resources, journal, LogOutput::Stdout).await.unwrap();
    Control::new(saved, Arc::new(pipeline)).unwrap()
}

fn asked() -> Asked {
    let owner_id = "usr_1".to_owned();
    let caller = Caller { owner_id, subject: USER.to_owned(), key_id: None };
    Asked {
        caller,
        base: "http://h".to_owned(),
        address: None,
        is_restricted: true,
        operation_id: "op_1".to_owned(),
    }
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

async fn create(control: &Arc<Control>, kind: Kind, body: Value) -> Result<String, Refusal> {
    let made = control.create(kind, object(body), asked()).await?;
    Ok(made["id"].as_str().unwrap().to_owned())
}

async fn ids(control: &Control, kind: Kind, before_id: Option<&str>) -> Result<Page, Refusal> {
    let before_id = before_id.map(str::to_owned);
    let page = PageAsked { limit: 2, before_id, filter: None };
    control.list((kind, &|answer| answer), &page, "http://h").await
}

#[tokio::test]
async fn what_was_made_is_there_after_a_restart() {
    let folder = TempDir::new().unwrap();
    let first = control(folder.path()).await;
    let policy = create(&first, Kind::IpPolicy, json!({"description": "d"})).await.unwrap();
    let rule = json!({"ip_policy_id": policy, "cidr": "127.0.0.0/8", "action": "allow"});
    create(&first, Kind::IpPolicyRule, rule).await.unwrap();
    let restriction = json!({"type": "api", "enforced": true, "ip_policy_ids": [policy]});
    create(&first, Kind::IpRestriction, restriction).await.unwrap();
    drop(first);
    let second = control(folder.path()).await;
    let found = second.get(Kind::IpPolicy, &policy, "http://h").await.unwrap();
    assert_eq!(found["description"], "d");
    let admits = |address: &str| second.access().admits(Scope::Api, address.parse().unwrap());
    assert!(admits("127.0.0.1") && !admits("192.0.2.1"), "the restriction is in force again");
}

#[tokio::test]
async fn a_refused_change_changes_nothing() {
    let folder = TempDir::new().unwrap();
    let control = control(folder.path()).await;
    let subscription = create(&control, Kind::EventSubscription, json!({})).await.unwrap();
    let twice = json!([{"type": "ip_policy_created.v0"}, {"type": "ip_policy_created.v0"}]);
    let change = object(json!({"description": "x", "sources": twice}));
    let id = subscription.clone();
    let refused = control.update(Kind::EventSubscription, id, change, asked()).await.unwrap_err();
    assert_eq!(refused.code, Some("ERR_NGROK_5127"));
    let kept = control.get(Kind::EventSubscription, &subscription, "http://h").await.unwrap();
    assert_eq!((&kept["description"], &kept["sources"]), (&json!(""), &json!([])));
}

#[tokio::test]
async fn pages_follow_each_other_and_begin_after_ids_of_their_kind_only() {
    let folder = TempDir::new().unwrap();
    let control = control(folder.path()).await;
    for _ in 0..3 {
        create(&control, Kind::IpPolicy, json!({})).await.unwrap();
    }
    let first = ids(&control, Kind::IpPolicy, None).await.unwrap();
    let rest = ids(&control, Kind::IpPolicy, first.next.as_deref()).await.unwrap();
    assert_eq!((first.items.len(), rest.items.len(), rest.next), (2, 1, None));
    for wrong in ["ed_1", "nonsense"] {
        let refused = ids(&control, Kind::IpPolicy, Some(wrong)).await.unwrap_err();
        assert_eq!(refused.code, Some("ERR_NGROK_227"), "{wrong}");
    }
}

#[tokio::test]
async fn an_owner_must_be_there_by_either_of_its_ids() {
    let folder = TempDir::new().unwrap();
    let control = control(folder.path()).await;
    let bot = create(&control, Kind::ServiceUser, json!({"name": "b"})).await.unwrap();
    let by_new_name = bot.replace("bot_", "service_");
    let key = create(&control, Kind::ApiKey, json!({"owner_id": by_new_name})).await.unwrap();
    let found = control.get(Kind::ApiKey, &key, "http://h").await.unwrap();
    assert_eq!(found["owner_id"], json!(by_new_name), "as it was sent");
    for owner in ["service_nobody", "nobody"] {
        let refused = create(&control, Kind::ApiKey, json!({"owner_id": owner})).await;
        assert_eq!(refused.unwrap_err().code, Some("ERR_NGROK_634"), "{owner}");
    }
    control.delete(Kind::ServiceUser, bot, asked()).await.unwrap();
    assert!(control.get(Kind::ApiKey, &key, "http://h").await.is_err(), "its keys go with it");
}

#[tokio::test]
async fn audit_events_are_published_once_and_forgotten() {
    let folder = TempDir::new().unwrap();
    let control = control(folder.path()).await;
    create(&control, Kind::IpPolicy, json!({})).await.unwrap();
    create(&control, Kind::IpPolicy, json!({})).await.unwrap();
    assert_eq!(control.store().waiting(0, 10).unwrap(), []);
    assert_eq!(control.pipeline.recent_events("ip_policy_created.v0", 10).len(), 2);
    assert_eq!(control.pipeline.status().accepted, 0, "only what senders send is counted");
}

#[tokio::test]
async fn a_key_made_beside_the_daemon_opens_it() {
    let folder = TempDir::new().unwrap();
    let control = control(folder.path()).await;
    let token = create_api_key(folder.path(), &ControlSettings::default(), "beside").unwrap();
    let caller = control.authenticate(&token).await.unwrap();
    assert_eq!(caller.owner_id, control.identity().user_id);
    let wrong = format!("{}0", &token[..token.len() - 1]);
    let other = if wrong == token { format!("{}1", &token[..token.len() - 1]) } else { wrong };
    assert_eq!(control.authenticate(&other).await, Err(BadKey::Wrong));
}

#[tokio::test]
async fn ipv4_written_as_ipv6_is_no_network_of_a_rule() {
    let folder = TempDir::new().unwrap();
    let control = control(folder.path()).await;
    let policy = create(&control, Kind::IpPolicy, json!({})).await.unwrap();
    let rule = json!({"ip_policy_id": policy, "cidr": "::ffff:192.0.2.0/120", "action": "deny"});
    let refused = create(&control, Kind::IpPolicyRule, rule).await.unwrap_err();
    assert_eq!(refused.code, Some("ERR_NGROK_1406"));
}

#[tokio::test]
async fn hundreds_of_subscriptions_are_there_after_a_restart_and_a_reload() {
    let folder = TempDir::new().unwrap();
    let first = control(folder.path()).await;
    let destination = json!({"format": "json", "target": {"debug": {"log": true}}});
    let destination = create(&first, Kind::EventDestination, destination).await.unwrap();
    for number in 0..150 {
        let filter = format!("ev.conn.server_port == {number}");
        let source = json!({"type": "tcp_connection_closed.v0", "filter": filter});
        let body = json!({"sources": [source], "destination_ids": [destination]});
        create(&first, Kind::EventSubscription, body).await.unwrap();
    }
    let filters = |world: &World| -> Vec<String> {
        let resources = world.resources().unwrap();
        let sources = resources.subscriptions().iter().map(|it| &it.sources[0]);
        sources.map(|it| it.filter.as_ref().unwrap().text().to_owned()).collect()
    };
    let made = filters(&first.world());
    assert_eq!(made.len(), 150);

    let file = Resources::new(Catalog::builtin());
    let second = Saved::load(folder.path(), &ControlSettings::default(), &file).unwrap().world;
    assert_eq!(filters(&second), made);
    assert_eq!(filters(&second.under_file(&file, Some(&second)).unwrap()), made);
    first.reload(&file).await.unwrap();
    assert_eq!(filters(&first.world()), made);
    // Without its types no source compiles, whatever was compiled before.
    let refusal = first.reload(&Resources::default()).await.unwrap_err();
    assert!(refusal.message.contains("unknown event type"), "{}", refusal.message);
    assert_eq!(filters(&first.world()), made);
}
