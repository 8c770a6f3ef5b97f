"""Names of the fields in log records' ``extra``, so that every part calls the same thing the same."""

ACCOUNT = "account"
PEER = "peer"
ENDPOINT = "endpoint"
RELAY = "relay"
BACKEND = "backend"
