// ngrok's TypeScript client against a daemon: every kind of resource made, changed, listed and deleted.
//
// Usage: NODE_PATH=.../node_modules node client.cjs BASE_URL API_KEY
//
// Ends with the line `all well`. What the client itself cannot do is not its daemon's fault: its `delete`
// reads an answer without a body as JSON, with ngrok too, so that is done beside it.

const assert = require('node:assert');
const { Ngrok } = require('@ngrok/ngrok-api');

const [base, key] = process.argv.slice(2);
const ngrok = new Ngrok({ apiToken: key, baseUrl: base });

async function gone(uri) {
  const headers = { authorization: `Bearer ${key}`, 'ngrok-version': '2' };
  const answer = await fetch(uri, { method: 'DELETE', headers });
  assert.equal(answer.status, 204, uri);
}

async function lifeOf(service, create, change) {
  const made = await service.create(create);
  assert.equal((await service.get(made.id)).uri, made.uri);
  const changed = await service.update({ id: made.id, ...change });
  for (const [name, value] of Object.entries(change)) assert.deepEqual(changed[name], value, name);
  assert.ok((await service.list()).some(it => it.id === made.id), made.uri);
  return changed;
}

async function main() {
  const described = { description: 'changed' };
  const target = { debug: { log: false } };
  const destination = await lifeOf(ngrok.eventDestinations, { format: 'json', target }, described);
  const sources = [{ type: 'ip_policy_created.v0' }];
  const destinationIds = [destination.id];
  const subscription = await lifeOf(ngrok.eventSubscriptions, { sources, destinationIds }, described);
  assert.equal(subscription.sources.length, 1, 'a rename leaves the sources');
  const source = { subscriptionId: subscription.id, type: 'ip_policy_updated.v0' };
  await ngrok.eventSources.create(source);
  await ngrok.eventSources.update(source);
  assert.equal((await ngrok.eventSources.list({ subscriptionId: subscription.id })).sources.length, 2);
  const policy = await lifeOf(ngrok.ipPolicies, {}, described);
  const cidr = '203.0.113.0/24';
  await lifeOf(ngrok.ipPolicyRules, { cidr, ipPolicyId: policy.id, action: 'allow' }, described);
  const restriction = await lifeOf(
    ngrok.ipRestrictions, { type: 'endpoints', ipPolicyIds: [policy.id] }, described);
  const user = await lifeOf(ngrok.botUsers, { name: 'ts' }, { active: false });
  const rest = [
    restriction, policy, subscription, destination, user,
    await lifeOf(ngrok.apiKeys, {}, described),
    await lifeOf(ngrok.credentials, { acl: ['bind:tcp_*'] }, described),
    await lifeOf(ngrok.agentIngresses, { domain: 'ts.example.net' }, described),
    await lifeOf(ngrok.reservedDomains, { domain: 'ts.example.org' }, described),
    await lifeOf(ngrok.reservedAddrs, { region: 'us' }, described),
  ];
  for (const it of rest) await gone(it.uri);
  await assert.rejects(ngrok.ipPolicies.get(policy.id), { statusCode: 404 });
  console.log('all well');
}

main().catch(error => {
  console.error(error);
  process.exit(1);
});
