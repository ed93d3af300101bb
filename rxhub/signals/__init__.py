"""Signals: subjects with senders. Import `Signal`, `receiver` and `Emission` from `rxhub`."""
