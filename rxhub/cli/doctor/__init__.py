"""`rxhub doctor`: check the environment and the servers."""
