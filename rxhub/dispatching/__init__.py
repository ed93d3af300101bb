"""One event through its subscribers: the registry, the delivery, the dispatcher and the pipeline of operators."""
