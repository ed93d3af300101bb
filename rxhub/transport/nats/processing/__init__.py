"""`hub.process`: the processes of a group share the events of a stream, and retry failed events.

- `processing`: the result of `hub.process`
- `options`: the arguments of `hub.process`, and the delays between attempts
- `group`, `group_membership`: the consumer that all processes share
- `worker`, `job`, `in_flight`, `filtering`: each message from the pull to the acknowledgement
- `executor`, `thread_executor`, `task_executor`: calls of the handler
- `redelivery`: messages that were acknowledged before, when a group is reset
- `retries`, `failures`, `interruptions`, `delivery_state`, `expiry`: failed attempts, and deleted events
- `key_ordering`, `parking`: order by key
- `handled_ids`: events that are handled once
"""
