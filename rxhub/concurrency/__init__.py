"""Building blocks for threads and event loops: supervised tasks, graceful shutdown, flags, ordered calls."""
