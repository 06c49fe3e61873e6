"""The policy lab: the gateway's decisions on a trace of requests, offline; no provider is called, nothing is billed."""
