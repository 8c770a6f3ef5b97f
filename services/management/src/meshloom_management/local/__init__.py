"""What an administrator does at the server's own machine, without a token: also while the server runs."""
