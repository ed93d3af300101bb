"""`rxhub demo`: a studio's events on a real hub."""
