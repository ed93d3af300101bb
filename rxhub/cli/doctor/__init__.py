"""`rxhub doctor`: checks of the environment, of servers and of NATS systems."""
