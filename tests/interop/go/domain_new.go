package main

import ngrok "github.com/ngrok/ngrok-api-go/VERSION"

func domainOf(name string) *ngrok.ReservedDomainCreate {
	return &ngrok.ReservedDomainCreate{Domain: name}
}
