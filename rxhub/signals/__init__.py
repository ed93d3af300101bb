"""Signals: subjects that carry a sender. `Signal`, `receiver` and `Emission` are imported from `rxhub`."""
