"""Text for terminals, logs, notebooks and error messages."""
