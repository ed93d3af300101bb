"""`nats://`: events in a stream of NATS JetStream, which keeps them for whoever comes later."""
