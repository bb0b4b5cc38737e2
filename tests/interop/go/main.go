// ngrok's Go client against a daemon: every kind of resource made, changed, listed and deleted.
//
// Usage: main BASE_URL API_KEY. Ends with the line `all well`. VERSION is filled in when it is built, once
// for the oldest version that people use and once for the latest; what differs is in domain_*.go.
package main

import (
	"context"
	"fmt"
	"os"

	ngrok "github.com/ngrok/ngrok-api-go/VERSION"
	"github.com/ngrok/ngrok-api-go/VERSION/agent_ingresses"
	"github.com/ngrok/ngrok-api-go/VERSION/api_keys"
	"github.com/ngrok/ngrok-api-go/VERSION/credentials"
	"github.com/ngrok/ngrok-api-go/VERSION/event_sources"
	"github.com/ngrok/ngrok-api-go/VERSION/event_subscriptions"
	"github.com/ngrok/ngrok-api-go/VERSION/ip_policies"
	"github.com/ngrok/ngrok-api-go/VERSION/ip_policy_rules"
	"github.com/ngrok/ngrok-api-go/VERSION/ip_restrictions"
	"github.com/ngrok/ngrok-api-go/VERSION/reserved_addrs"
	"github.com/ngrok/ngrok-api-go/VERSION/reserved_domains"
)

var ctx = context.Background()

func must(what string, err error) {
	if err != nil {
		fmt.Println(what, err)
		os.Exit(1)
	}
}

func same(what, found, wanted string) {
	if found != wanted {
		must(what, fmt.Errorf("%q, not %q", found, wanted))
	}
}

func main() {
	config := ngrok.NewClientConfig(os.Args[2], ngrok.WithBaseURL(os.Args[1]))
	changed := ngrok.String("changed")
	subscriptions := event_subscriptions.NewClient(config)
	subscription, err := subscriptions.Create(ctx, &ngrok.EventSubscriptionCreate{
		Sources: []ngrok.EventSourceReplace{{Type: "ip_policy_created.v0"}}})
	must("create subscription", err)
	subscription, err = subscriptions.Update(ctx, &ngrok.EventSubscriptionUpdate{ID: subscription.ID, Description: changed})
	must("update subscription", err)
	same("description", subscription.Description, "changed")
	sources := event_sources.NewClient(config)
	_, err = sources.Create(ctx, &ngrok.EventSourceCreate{SubscriptionID: subscription.ID, Type: "ip_policy_updated.v0"})
	must("create source", err)
	_, err = sources.Update(ctx, &ngrok.EventSourceUpdate{SubscriptionID: subscription.ID, Type: "ip_policy_updated.v0"})
	must("update source", err)
	policies := ip_policies.NewClient(config)
	policy, err := policies.Create(ctx, &ngrok.IPPolicyCreate{Description: "office"})
	must("create policy", err)
	_, err = policies.Update(ctx, &ngrok.IPPolicyUpdate{ID: policy.ID, Metadata: changed})
	must("update policy", err)
	rules := ip_policy_rules.NewClient(config)
	action := "allow"
	rule, err := rules.Create(ctx, &ngrok.IPPolicyRuleCreate{CIDR: "203.0.113.0/24", IPPolicyID: policy.ID, Action: &action})
	must("create rule", err)
	_, err = rules.Update(ctx, &ngrok.IPPolicyRuleUpdate{ID: rule.ID, Description: changed})
	must("update rule", err)
	restrictions := ip_restrictions.NewClient(config)
	restriction, err := restrictions.Create(ctx, &ngrok.IPRestrictionCreate{Type: "endpoints", IPPolicyIDs: []string{policy.ID}})
	must("create restriction", err)
	restriction, err = restrictions.Update(ctx, &ngrok.IPRestrictionUpdate{ID: restriction.ID, Description: changed})
	must("update restriction", err)
	same("policy of the restriction", restriction.IPPolicies[0].ID, policy.ID)
	keys := api_keys.NewClient(config)
	key, err := keys.Create(ctx, &ngrok.APIKeyCreate{Description: "ci"})
	must("create key", err)
	_, err = keys.Update(ctx, &ngrok.APIKeyUpdate{ID: key.ID, Description: changed})
	must("update key", err)
	creds := credentials.NewClient(config)
	credential, err := creds.Create(ctx, &ngrok.CredentialCreate{ACL: []string{"bind:tcp_*"}})
	must("create credential", err)
	_, err = creds.Update(ctx, &ngrok.CredentialUpdate{ID: credential.ID, Description: changed})
	must("update credential", err)
	ingresses := agent_ingresses.NewClient(config)
	ingress, err := ingresses.Create(ctx, &ngrok.AgentIngressCreate{Domain: "go.example.net"})
	must("create ingress", err)
	_, err = ingresses.Update(ctx, &ngrok.AgentIngressUpdate{ID: ingress.ID, Description: changed})
	must("update ingress", err)
	domains := reserved_domains.NewClient(config)
	domain, err := domains.Create(ctx, domainOf("go.example.org"))
	must("create domain", err)
	same("domain", domain.Domain, "go.example.org")
	_, err = domains.Update(ctx, &ngrok.ReservedDomainUpdate{ID: domain.ID, Description: changed})
	must("update domain", err)
	addrs := reserved_addrs.NewClient(config)
	addr, err := addrs.Create(ctx, &ngrok.ReservedAddrCreate{Region: "us"})
	must("create address", err)
	_, err = addrs.Update(ctx, &ngrok.ReservedAddrUpdate{ID: addr.ID, Description: changed})
	must("update address", err)
	listed := 0
	for all := policies.List(nil); all.Next(ctx); listed++ {
		_ = all.Item()
	}
	same("policies", fmt.Sprint(listed), "1")
	must("delete address", addrs.Delete(ctx, addr.ID))
	must("delete domain", domains.Delete(ctx, domain.ID))
	must("delete ingress", ingresses.Delete(ctx, ingress.ID))
	must("delete credential", creds.Delete(ctx, credential.ID))
	must("delete key", keys.Delete(ctx, key.ID))
	must("delete restriction", restrictions.Delete(ctx, restriction.ID))
	must("delete policy", policies.Delete(ctx, policy.ID))
	must("delete subscription", subscriptions.Delete(ctx, subscription.ID))
	if _, err = policies.Get(ctx, policy.ID); !ngrok.IsNotFound(err) {
		must("a policy that is gone", fmt.Errorf("%v", err))
	}
	fmt.Println("all well")
}
