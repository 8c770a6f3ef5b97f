"""One module for each resource, with its endpoints, requests and answers."""
