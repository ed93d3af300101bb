"""`hub.process`: the events of a stream, shared by the processes of a group, each handled until it is done."""
