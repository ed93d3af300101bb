"""`rxhub work`: run the handlers of modules in one or more processes.

`loading` imports modules and finds their hubs, `worker` runs them in one process until it is stopped, and `supervisor`
runs several such processes, which it controls over a socket (`control`). `readiness` and `endpoint` answer probes.
"""
