"""The contracts as tests: each class is what a kind of plugin must hold, each test one sentence of it."""
