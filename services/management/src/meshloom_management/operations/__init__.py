"""What can be done to an account: each function checks the rules and changes a draft."""
