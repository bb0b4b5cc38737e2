"""ngrok's official Python client against a daemon: every resource's life, paging, refusals.

Usage: client.py BASE_URL API_KEY

Ends with the line `all well`; an assertion names the place of what is not. The daemon's rate limit
must allow a few thousand requests.
"""

import json
import sys
import types
import urllib.error
import urllib.request

import ngrok
from ngrok.datatypes import EventSourceReplace

BASE, KEY = sys.argv[1], sys.argv[2]
client = ngrok.Client(KEY, base_url=BASE)


def raw(members):
    """The client serialises nested objects by their `_props` alone."""
    return types.SimpleNamespace(_props=members)


def source(event_type, **more):
    return EventSourceReplace(client, {"type": event_type, **more})


def refused(code, call, *args, status=None, **kwargs):
    try:
        call(*args, **kwargs)
    except ngrok.Error as error:
        assert error.error_code == code, (error.error_code, code, error)
        if status:
            assert error.http_status_code == status, (error.http_status_code, status)
        return error
    raise AssertionError(f"not refused, expected {code}")


def missing(call, *args):
    try:
        call(*args)
    except ngrok.NotFoundError:
        return
    raise AssertionError("found, expected to be missing")


def http(method, path, body=None, headers=None, key=KEY):
    """One plain request, for what the client cannot say."""
    given = {"authorization": f"Bearer {key}", "ngrok-version": "2"}
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        given["content-type"] = "application/json"
    given.update(headers or {})
    given = {name: value for name, value in given.items() if value is not None}
    request = urllib.request.Request(BASE + path, data=body, headers=given, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            text = answer.read()
            return answer.status, json.loads(text) if text else None, answer.headers
    except urllib.error.HTTPError as error:
        text = error.read()
        return error.code, json.loads(text) if text else None, error.headers


def life_of(service, create, change):
    """Creates, reads, changes, lists and deletes one resource of a kind."""
    made = service.create(**create)
    again = service.get(made.id)
    assert again.id == made.id and again.uri == made.uri, (made.uri, again.uri)
    assert made.uri == f"{BASE}/{made.uri.split('/')[-2]}/{made.id}", made.uri
    assert made.created_at.endswith("Z") and len(made.created_at) == 20, made.created_at
    changed = service.update(made.id, **change)
    for name, value in change.items():
        assert getattr(changed, name) == value, (name, getattr(changed, name), value)
    assert made.id in [item.id for item in service.list()]
    service.delete(made.id)
    missing(service.get, made.id)
    missing(service.delete, made.id)
    return made


def destinations():
    service = client.event_destinations
    made = service.create(description="t", metadata="m", format="json", target=raw({"debug": {"log": False}}))
    assert made.id.startswith("ed_") and made.format == "json" and made.metadata == "m"
    assert service.get(made.id).description == "t"
    assert service.update(made.id, description="u").description == "u"
    assert service.get(made.id).metadata == "m"
    assert [it.id for it in service.list(filter='obj.description == "u"')] == [made.id]
    refused("ERR_NGROK_235", service.create, format="xml", target=raw({"debug": {}}), status=400)
    refused("ERR_NGROK_5100", service.create, format="json", target=raw({}))
    refused("ERR_NGROK_5108", service.update, made.id, target=raw({"kinesis": {}}))
    arn = "arn:aws:kinesis:us-east-1:123456789012:stream/s"
    creds = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "wJalrXUtnFEMISecret"}
    target = {"kinesis": {"stream_arn": arn, "auth": {"creds": creds}, "endpoint_url": "http://127.0.0.1:9"}}
    kinesis = service.create(format="JSON", target=raw(target))
    shown = kinesis.target.kinesis
    assert shown.stream_arn == arn and shown.auth.creds.aws_access_key_id == creds["aws_access_key_id"]
    assert shown.auth.creds.aws_secret_access_key is None
    assert "wJalr" not in json.dumps(http("GET", f"/event_destinations/{kinesis.id}")[1])
    status, body, _ = http("POST", f"/event_destinations/{made.id}/send_test_event")
    assert status == 200 and body["event_id"].startswith("ev_"), body
    status, body, _ = http("POST", f"/event_destinations/{kinesis.id}/send_test_event", {})
    assert status == 400 and "not delivered" in body["msg"], body
    verified = {"format": "json", "target": target, "verify_with_test_event": True}
    status, body, _ = http("POST", "/event_destinations", verified)
    assert status == 400 and "not delivered" in body["msg"], body
    status, body, _ = http("GET", f"/event_destinations/{made.id}/status")
    assert status == 200 and body["state"] == "healthy", body
    kinesis.delete()
    return made


def subscriptions(destination):
    service = client.event_subscriptions
    made = service.create(
        description="s",
        sources=[
            source("ip_policy_created.v0"),
            source("http_request_complete.v0", fields=["conn.client_ip"], filter="ev.conn.server_port == 443"),
        ],
        destination_ids=[destination.id],
    )
    assert made.id.startswith("esb_")
    assert [it.id for it in made.destinations] == [destination.id]
    assert [it.type for it in made.sources] == ["ip_policy_created.v0", "http_request_complete.v0"]
    renamed = service.update(made.id, description="renamed")
    assert renamed.description == "renamed" and len(renamed.sources) == 2, "a rename must not wipe the sources"
    _, body, _ = http("GET", f"/event_subscriptions/{made.id}")
    http_source = body["sources"][1]
    assert http_source["filter"] == "ev.conn.server_port == 443" and http_source["fields"] == ["conn.client_ip"]
    assert http_source["uri"] == f"{made.uri}/sources/http_request_complete.v0"
    refused("ERR_NGROK_5127", service.create, sources=[source("ip_policy_created.v0")] * 2, destination_ids=[destination.id])
    refused("ERR_NGROK_238", service.create, sources=[source("ip_policy_create.v0")], destination_ids=[destination.id])
    refused("ERR_NGROK_5404", service.create, sources=[source("http_request_complete.v0", filter="ev.conn.server_port ==")])
    refused("ERR_NGROK_5403", service.create, sources=[source("http_request_complete.v0", fields=["conn.nothing"])])
    error = refused("ERR_NGROK_5103", service.create, sources=[source("ip_policy_created.v0")], destination_ids=["ed_nothing"])
    assert error.http_status_code == 404
    error = refused("ERR_NGROK_5112", client.event_destinations.delete, destination.id)
    sources(made)
    service.delete(made.id)
    missing(service.get, made.id)


def sources(subscription):
    service = client.event_sources
    made = service.create(subscription.id, "ip_policy_updated.v0")
    assert made.type == "ip_policy_updated.v0" and made.uri == f"{subscription.uri}/sources/ip_policy_updated.v0"
    assert service.get(subscription.id, made.type).type == made.type
    assert len(service.list(subscription.id).sources) == 3
    service.update(subscription.id, made.type)
    kept = http("GET", f"/event_subscriptions/{subscription.id}/sources/http_request_complete.v0")[1]
    assert kept["filter"] == "ev.conn.server_port == 443", kept
    refused("ERR_NGROK_5127", service.create, subscription.id, made.type)
    service.delete(subscription.id, made.type)
    refused("ERR_NGROK_5125", service.get, subscription.id, made.type)
    assert len(service.list(subscription.id).sources) == 2


def addresses():
    policy = client.ip_policies.create(description="office")
    rule = client.ip_policy_rules.create("203.0.113.0/24", policy.id, "allow")
    assert rule.ip_policy.id == policy.id and rule.ip_policy.uri == policy.uri and rule.action == "allow"
    assert client.ip_policy_rules.update(rule.id, cidr="198.51.100.0/24").cidr == "198.51.100.0/24"
    create = client.ip_policy_rules.create
    refused("ERR_NGROK_1408", create, "198.51.100.0/24", policy.id, "deny")
    refused("ERR_NGROK_1409", create, "203.0.113.9/24", policy.id, "deny")
    refused("ERR_NGROK_1413", create, "203.0.113.9", policy.id, "deny")
    refused("ERR_NGROK_1406", create, "nonsense/8", policy.id, "deny")
    refused("ERR_NGROK_1422", create, "203.0.113.0/24", policy.id, "maybe")
    restriction = client.ip_restrictions.create("agent", [policy.id], description="r", enforced=True)
    assert [it.id for it in restriction.ip_policies] == [policy.id] and restriction.enforced is True
    renamed = client.ip_restrictions.update(restriction.id, description="x")
    assert len(renamed.ip_policies) == 1, "a rename must not wipe the policies"
    refused("ERR_NGROK_1802", client.ip_restrictions.create, "agent", [policy.id])
    refused("ERR_NGROK_1803", client.ip_restrictions.create, "nothing", [policy.id])
    refused("ERR_NGROK_1804", client.ip_restrictions.create, "dashboard", [])
    refused("ERR_NGROK_1420", client.ip_policies.delete, policy.id)
    client.ip_restrictions.delete(restriction.id)
    client.ip_policies.delete(policy.id)
    missing(client.ip_policy_rules.get, rule.id)


def keys():
    made = client.api_keys.create(description="ci")
    assert made.token.startswith(made.id.removeprefix("ak_") + "_"), "the token has the id's KSUID"
    assert client.api_keys.get(made.id).token is None
    other = ngrok.Client(made.token, base_url=BASE)
    assert other.api_keys.get(made.id).description == "ci"
    client.api_keys.delete(made.id)
    refused("ERR_NGROK_203", other.ip_policies.list, status=403)
    for key, code in [("wrong", "ERR_NGROK_202"), (made.id, "ERR_NGROK_208"), (made.token, "ERR_NGROK_203")]:
        error = refused(code, ngrok.Client(key, base_url=BASE).ip_policies.list, status=403)
        assert key not in str(error)
    bot = client.bot_users.create(name="deployer")
    refused("ERR_NGROK_4112", client.bot_users.create, name="deployer")
    theirs = client.api_keys.create(owner_id=bot.id)
    assert theirs.owner_id == bot.id
    of_bot = ngrok.Client(theirs.token, base_url=BASE)
    assert list(of_bot.ip_policies.list()) is not None
    client.bot_users.update(bot.id, active=False)
    refused("ERR_NGROK_203", of_bot.ip_policies.list)
    client.bot_users.delete(bot.id)
    missing(client.api_keys.get, theirs.id)
    credential = client.credentials.create(acl=["bind:*.example.net"])
    assert credential.acl == ["bind:*.example.net"] and credential.token
    assert client.credentials.get(credential.id).token is None
    refused("ERR_NGROK_206", ngrok.Client(credential.token, base_url=BASE).ip_policies.list)
    refused("ERR_NGROK_600", client.credentials.create, acl=["nonsense"])
    credential.delete()


def plain_resources():
    life_of(client.credentials, {"acl": []}, {"description": "d", "acl": ["bind:a.example.net"]})
    life_of(client.ip_policies, {"description": "d"}, {"metadata": "m"})
    life_of(client.api_keys, {"description": "d"}, {"metadata": "m"})
    life_of(client.bot_users, {"name": "a"}, {"name": "b", "active": False})
    life_of(client.service_users, {"name": "a"}, {"name": "b", "active": False})
    ingress = life_of(client.agent_ingresses, {"domain": "connect.example.net"}, {"description": "d"})
    assert ingress.ns_targets == [] and ingress.region_domains == []
    life_of(client.reserved_domains, {"domain": "a.example.net"}, {"metadata": "m"})
    policy = raw({"authority": "letsencrypt"})
    domain = client.reserved_domains.create(domain="b.example.net", certificate_management_policy=policy)
    assert domain.certificate_management_policy.private_key_type == "ecdsa"
    client.reserved_domains.delete_certificate_management_policy(domain.id)
    assert client.reserved_domains.get(domain.id).certificate_management_policy is None
    client.reserved_domains.update(domain.id, certificate_id="cert_x")
    client.reserved_domains.delete_certificate(domain.id)
    assert client.reserved_domains.get(domain.id).certificate is None
    domain.delete()
    address = life_of(client.reserved_addrs, {"region": "us"}, {"description": "d"})
    assert address.addr and address.region == "us"


def paging():
    made = [client.ip_policies.create(description=f"n{n}").id for n in range(250)]
    walked = [policy.id for policy in client.ip_policies.list()]
    assert walked[:250] == made[::-1], "newest first, each once"
    assert [it.id for it in client.ip_policies.list(limit="7")][:250] == made[::-1]
    some = [it.id for it in client.ip_policies.list(limit="2", filter='obj.description in ["n3", "n77", "n200"]')]
    assert some == [made[200], made[77], made[3]], some
    _, body, _ = http("GET", "/ip_policies?limit=1")
    assert body["next_page_uri"] == f"{BASE}/ip_policies?before_id={made[-1]}&limit=1", body["next_page_uri"]
    client.ip_policies.delete(made[100])
    page = http("GET", f"/ip_policies?before_id={made[100]}&limit=2")[1]["ip_policies"]
    assert [it["id"] for it in page] == [made[99], made[98]], "an id that has gone still has its place"
    for id in made[:100] + made[101:]:
        client.ip_policies.delete(id)
    users = [client.service_users.create(name=f"u{n}") for n in range(3)]
    assert [it.id for it in client.service_users.list(limit="1")] == [it.id for it in users[::-1]]
    mine = [it.id for it in client.service_users.list(filter=f'obj.id == "{users[1].id}"')]
    assert mine == [users[1].id], "a filter sees what the answer shows"
    for user in users:
        user.delete()


def manners():
    def code(method, path, body=None, **kwargs):
        status, body, headers = http(method, path, body, **kwargs)
        assert headers["ngrok-operation-id"].startswith("op_")
        if body and body.get("status_code"):
            assert body["status_code"] == status and set(body) >= {"msg", "details"}, body
        return status, (body or {}).get("error_code")

    assert code("GET", "/ip_policies", headers={"ngrok-version": None}) == (400, "ERR_NGROK_218")
    assert code("GET", "/ip_policies", headers={"ngrok-version": "1"}) == (400, "ERR_NGROK_217")
    assert code("GET", "/ip_policies", headers={"authorization": None}) == (403, "ERR_NGROK_200")
    assert code("GET", "/ip_policies", headers={"authorization": "Digest x"}) == (403, "ERR_NGROK_201")
    assert code("GET", "/ip_policies?x=1") == (400, "ERR_NGROK_231")
    assert code("GET", "/ip_policies?limit=1&limit=2") == (400, "ERR_NGROK_232")
    assert code("GET", "/ip_policies?limit=0") == (400, "ERR_NGROK_233")
    assert code("GET", "/ip_policies?limit=x") == (400, "ERR_NGROK_244")
    assert code("GET", "/ip_policies?filter=obj.") == (400, "ERR_NGROK_250")
    recent = "obj.created_at%3Etimestamp(time.now).subtract(%227d%22)"
    assert code("GET", f"/ip_policies?filter={recent}") == (200, None)
    assert code("GET", "/ip_policies?before_id=ed_x") == (400, "ERR_NGROK_227")
    assert code("HEAD", "/ip_policies") == (200, None)
    assert code("GET", "/ip_policies", b"{}", headers={"content-type": "application/json"}) == (400, "ERR_NGROK_211")
    assert code("POST", "/ip_policies", b"x", headers={"content-type": "text/plain"}) == (415, "ERR_NGROK_210")
    assert code("POST", "/ip_policies", b"{", headers={"content-type": "application/json"}) == (400, "ERR_NGROK_213")
    assert code("POST", "/ip_policies", {"colour": "red"}) == (400, "ERR_NGROK_214")
    assert code("POST", "/ip_policies", {"description": 5}) == (400, "ERR_NGROK_215")
    assert code("POST", "/ip_policies", {"description": "x" * 256}) == (400, "ERR_NGROK_215")
    assert code("POST", "/ip_policies", {"action": "allow"}) == (400, "ERR_NGROK_1423")
    assert code("PUT", "/ip_policies", {}) == (404, "ERR_SLUICEGATE_1352")
    nowhere = {"error_code": "ERR_SLUICEGATE_1352", "status_code": 404, "msg": "Not Found", "details": {"path": "/nothing"}}
    assert http("GET", "/nothing")[1] == nowhere
    assert code("GET", "/ip_policies/ipp_nothing") == (404, "ERR_SLUICEGATE_1351")
    assert http("GET", "/ip_policies/ipp_nothing")[1]["msg"] == "Resource not found"
    assert list(client.endpoints.list()) == [] and list(client.tunnel_sessions.list()) == []
    assert code("GET", "/endpoints?filter=obj.") == (400, "ERR_NGROK_250")
    asked = {"origin": "https://app.example.net", "access-control-request-method": "PATCH",
             "access-control-request-headers": "authorization, ngrok-version"}
    status, _, headers = http("OPTIONS", "/ip_policies/x", headers={**asked, "authorization": None})
    assert status == 204 and headers["access-control-allow-origin"] == "https://app.example.net"
    assert "PATCH" in headers["access-control-allow-methods"] and headers["access-control-max-age"] == "600"
    assert headers["access-control-allow-headers"] == "authorization, ngrok-version"
    _, root, _ = http("GET", "/")
    assert root["subresource_uris"]["event_destinations"] == f"{BASE}/event_destinations"
    _, oneself, _ = http("GET", "/self")
    assert oneself["account"]["id"].startswith("ac_") and oneself["api_key"]["token"] is None
    assert oneself["user"]["id"].startswith("usr_")


destination = destinations()
subscriptions(destination)
destination.delete()
addresses()
keys()
plain_resources()
paging()
manners()
print("all well")
