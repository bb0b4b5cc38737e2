//! ngrok's codes, where ngrok has the condition; the numbers and their meaning are theirs.

use super::{ErrorCode, entry};

pub(super) const CODES: &[ErrorCode] = &[
    entry(
        "ERR_NGROK_200",
        "the request brings neither an API key nor a token",
        "Send the header `Authorization: Bearer KEY`; `sluicegate api-key create` makes a key.",
    ),
    entry(
        "ERR_NGROK_201",
        "the `Authorization` header is not of the bearer kind",
        "Write it as `Authorization: Bearer KEY`.",
    ),
    entry(
        "ERR_NGROK_202",
        "what was sent does not have the form of an API key",
        "Send the key as it was shown when it was made, whole.",
    ),
    entry(
        "ERR_NGROK_203",
        "the API key or token is wrong, was deleted, or belongs to a user who is not active",
        "Send one that there is. Lost keys cannot be shown again: make a new one.",
    ),
    entry(
        "ERR_NGROK_206",
        "a credential's token was sent to the API, where it opens nothing",
        "Send an API key; the token is for ingest.",
    ),
    entry(
        "ERR_NGROK_208",
        "the id of an API key was sent in place of the key",
        "Send the key itself, which was shown once when it was made.",
    ),
    entry(
        "ERR_NGROK_210",
        "the body's `Content-Type` is not supported",
        "For the API send `application/json`; for ingest `application/x-ndjson` or `application/json`, \
         in UTF-8.",
    ),
    entry("ERR_NGROK_211", "a request whose method has no body has one", "Send it without."),
    entry(
        "ERR_NGROK_212",
        "the body could not be read, or is not what `Content-Encoding` says",
        "Send it again; if it goes on, look at the client and at proxies on the way.",
    ),
    entry(
        "ERR_NGROK_213",
        "the body is not a JSON object",
        "Correct it at the place that the message names.",
    ),
    entry(
        "ERR_NGROK_214",
        "the body has a parameter that there is not",
        "Correct its name, or leave it out; the message lists those that there are.",
    ),
    entry(
        "ERR_NGROK_215",
        "a parameter has the wrong type, or a value outside its limits",
        "Send what the message asks for.",
    ),
    entry(
        "ERR_NGROK_216",
        "the request has a body, and no `Content-Type`",
        "Send the header `Content-Type: application/json`.",
    ),
    entry("ERR_NGROK_217", "this version of the API is not known", "Send `ngrok-version: 2`."),
    entry("ERR_NGROK_218", "the header `ngrok-version` is missing", "Send `ngrok-version: 2`."),
    entry(
        "ERR_NGROK_220",
        "an IP restriction of the type `api` does not allow the client's address",
        "Add the address to one of the restriction's policies. Whoever is locked out sets \
         `api.enforce_ip_restrictions: false` and restarts.",
    ),
    entry(
        "ERR_NGROK_226",
        "the keys of one owner, or one address without a valid key, made more requests than `api.rate_limit` allows",
        "Ask again after `Retry-After`.",
    ),
    entry(
        "ERR_NGROK_227",
        "this is no id of a resource of this kind",
        "Use the id that a list shows; each kind has a prefix of its own, such as `ed_`.",
    ),
    entry(
        "ERR_NGROK_230",
        "a parameter of the query is badly encoded",
        "Percent-encode it, as UTF-8.",
    ),
    entry(
        "ERR_NGROK_231",
        "the query has a parameter that there is not",
        "Leave it out; the message lists those that there are.",
    ),
    entry("ERR_NGROK_232", "a parameter of the query is given twice", "Give it once."),
    entry("ERR_NGROK_233", "`limit` is out of range", "Ask for 1 to 100."),
    entry("ERR_NGROK_235", "`format` is missing or not known", "Send `json`, the only one."),
    entry(
        "ERR_NGROK_236",
        "a setting of a target is missing or wrong, or there is no such target here",
        "Correct the setting that the message names.",
    ),
    entry(
        "ERR_NGROK_238",
        "the event type is missing or not known",
        "Use one that `sluicegate catalog` lists, or declare your own under `event_types`.",
    ),
    entry(
        "ERR_NGROK_240",
        "a part of a target's `auth` is missing or wrong",
        "Correct the part that the message names.",
    ),
    entry("ERR_NGROK_244", "`limit` is no number", "Ask for 1 to 100."),
    entry(
        "ERR_NGROK_250",
        "the filter of a list does not compile",
        "Correct it at its caret; fields of the resource are named `obj.…`.",
    ),
    entry(
        "ERR_NGROK_413",
        "another reserved domain has this domain",
        "Use that one, or delete it first.",
    ),
    entry(
        "ERR_NGROK_422",
        "the update of a reserved domain changes nothing",
        "Name what to change.",
    ),
    entry(
        "ERR_NGROK_434",
        "a reserved domain is given both a certificate and a policy to manage one",
        "Send `certificate_id` or `certificate_management_policy`.",
    ),
    entry(
        "ERR_NGROK_500",
        "the region of a reserved address is not known",
        "Use one of those that the message lists.",
    ),
    entry(
        "ERR_NGROK_506",
        "the update of a reserved address changes nothing",
        "Name what to change.",
    ),
    entry(
        "ERR_NGROK_600",
        "a rule of a credential is none",
        "Write `*`, or `bind:` with an event type or a host, such as `bind:*.example.net`.",
    ),
    entry("ERR_NGROK_606", "the update of a credential changes nothing", "Name what to change."),
    entry(
        "ERR_NGROK_619",
        "the rules of the credential do not allow the event's type, host or account",
        "Send it with another token, or add a rule to the credential's `acl`; for a type that the daemon itself publishes, one with the type's very name.",
    ),
    entry(
        "ERR_NGROK_634",
        "the owner is no user and no service user",
        "Name one that there is, or leave `owner_id` out.",
    ),
    entry("ERR_NGROK_1400", "the update of an IP policy changes nothing", "Name what to change."),
    entry(
        "ERR_NGROK_1401",
        "the update of an IP policy rule changes nothing",
        "Name what to change.",
    ),
    entry(
        "ERR_NGROK_1405",
        "an IP policy rule lacks its network, its policy or its action",
        "Send `cidr`, `ip_policy_id` and `action`.",
    ),
    entry(
        "ERR_NGROK_1406",
        "the network of an IP policy rule is none",
        "Write it as 203.0.113.0/24 or 2001:db8::/32.",
    ),
    entry(
        "ERR_NGROK_1408",
        "the policy has a rule on this network already",
        "Change that rule, or delete it first.",
    ),
    entry(
        "ERR_NGROK_1409",
        "the network does not begin at its lowest address",
        "Write it as the message shows.",
    ),
    entry(
        "ERR_NGROK_1413",
        "the network has no mask",
        "Write /32 (IPv4) or /128 (IPv6) behind a single address.",
    ),
    entry(
        "ERR_NGROK_1414",
        "a resource that is referred to is not there",
        "Make it first, or correct its id.",
    ),
    entry(
        "ERR_NGROK_1420",
        "the IP policy is in use by an IP restriction",
        "Take it out of the restriction first.",
    ),
    entry(
        "ERR_NGROK_1422",
        "the action of an IP policy rule is not known",
        "Send `allow` or `deny`.",
    ),
    entry("ERR_NGROK_1423", "an IP policy was given an `action`", "Give it to the policy's rules."),
    entry("ERR_NGROK_1802", "there is an IP restriction of this type already", "Update that one."),
    entry(
        "ERR_NGROK_1803",
        "the type of an IP restriction is missing or not known",
        "Send `api` or `endpoints`, which are enforced, or `dashboard` or `agent`, which are only kept.",
    ),
    entry(
        "ERR_NGROK_1804",
        "an IP restriction names no policy",
        "Name at least one in `ip_policy_ids`.",
    ),
    entry("ERR_NGROK_4109", "a service user has no name", "Send `name`."),
    entry("ERR_NGROK_4110", "the name of a service user is too long", "Shorten it."),
    entry("ERR_NGROK_4112", "another service user has this name", "Choose another one."),
    entry(
        "ERR_NGROK_5000",
        "there are as many resources of this kind as there may be",
        "Delete some first.",
    ),
    entry(
        "ERR_NGROK_5100",
        "`target` is missing or names no service",
        "Name one; the message lists them all.",
    ),
    entry("ERR_NGROK_5102", "there are more destinations than there may be", "Delete some first."),
    entry(
        "ERR_NGROK_5103",
        "a subscription names a destination that is not there",
        "Make it first, or correct its id.",
    ),
    entry(
        "ERR_NGROK_5104",
        "the ARN of a role is not that of an IAM role",
        "Write it as arn:aws:iam::ACCOUNT:role/NAME.",
    ),
    entry(
        "ERR_NGROK_5107",
        "`auth` names neither a role nor keys",
        "Send `role` or `creds`, or leave `auth` out for the AWS default chain.",
    ),
    entry(
        "ERR_NGROK_5108",
        "the kind of a target cannot be changed",
        "Make a new destination, and take it into the subscriptions.",
    ),
    entry(
        "ERR_NGROK_5112",
        "the destination is in use by a subscription",
        "Take it out of the subscription first.",
    ),
    entry("ERR_NGROK_5115", "`target` names more than one service", "Name one."),
    entry("ERR_NGROK_5116", "`auth` names both a role and keys", "Send `role` or `creds`."),
    entry(
        "ERR_NGROK_5118",
        "the partition of an ARN cannot be one",
        "Write `aws`, `aws-cn` or `aws-us-gov`.",
    ),
    entry(
        "ERR_NGROK_5119",
        "the ARN is of a service that events cannot be sent to",
        "Give the ARN of a stream, a delivery stream or a log group.",
    ),
    entry(
        "ERR_NGROK_5120",
        "the ARN is not a usable one",
        "Write it as arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE; the message says what is wrong.",
    ),
    entry(
        "ERR_NGROK_5125",
        "the event type is not a source of the subscription",
        "Add it as a source first, or correct its name.",
    ),
    entry(
        "ERR_NGROK_5126",
        "the subscription has more destinations than one may have",
        "Spread them over several subscriptions.",
    ),
    entry(
        "ERR_NGROK_5127",
        "an event type stands twice in one subscription",
        "Join the two sources into one, whose filter takes what either took.",
    ),
    entry(
        "ERR_NGROK_5129",
        "the ARN belongs to another kind of target",
        "Give the ARN of the service that the target is of.",
    ),
    entry(
        "ERR_NGROK_5130",
        "the ARN names another type of resource of the right service",
        "Give the ARN of a stream, a delivery stream or a log group.",
    ),
    entry("ERR_NGROK_5131", "there are more subscriptions than there may be", "Delete some first."),
    entry(
        "ERR_NGROK_5134",
        "`ddsite` is no site of Datadog",
        "Name it as Datadog does, `US5`, or by its host, `us5.datadoghq.com`.",
    ),
    entry(
        "ERR_NGROK_5140",
        "a source of the subscription cannot be used",
        "Correct it as the message says.",
    ),
    entry(
        "ERR_NGROK_5400",
        "`fields` selects nothing",
        "Name fields, or leave `fields` out to send the whole object.",
    ),
    entry(
        "ERR_NGROK_5403",
        "a selected field is not a field of the event type",
        "Use those that `sluicegate catalog TYPE` lists; fields of a group are named one by one.",
    ),
    entry(
        "ERR_NGROK_5404",
        "the filter does not compile",
        "Correct it at its caret; `sluicegate filter check` tells the same without a daemon.",
    ),
    entry(
        "ERR_NGROK_5405",
        "the filter names a field that the event type does not have",
        "Use those that `sluicegate catalog TYPE` lists.",
    ),
    entry(
        "ERR_NGROK_6706",
        "another agent ingress has this domain",
        "Use that one, or delete it first.",
    ),
];
