"""`rxhub demo`: play the events of a studio on a hub."""
