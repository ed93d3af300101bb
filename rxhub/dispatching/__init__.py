"""One event through its subscribers: subscribers, delivery, dispatcher, and pipelines of operators."""
