"""From an account's snapshot to what each peer needs to know of it; pure."""
