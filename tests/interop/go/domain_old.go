package main

import ngrok "github.com/ngrok/ngrok-api-go/VERSION"

// The oldest versions call a domain's `domain` `name`.
func domainOf(name string) *ngrok.ReservedDomainCreate {
	return &ngrok.ReservedDomainCreate{Name: name, Region: "us"}
}
