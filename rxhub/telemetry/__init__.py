"""What operators observe: probes, metrics, traces and the fields of log records."""
