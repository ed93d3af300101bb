"""`http(s)://`: Socket.IO 0.9 as ftrack's event server speaks it."""
