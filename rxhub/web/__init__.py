"""The server's HTTP interface, and the console that uses it in a browser.

`rxhub.server.asgi` loads `routes` by name, so every server has them.

- `routes`: all routes
- `account`: the user of a request
- `publishing`, `event_input`, `cloudevents`, `replies`: `POST /api/events`
- `streaming`, `event_stream`, `stream_format`, `stored_events`: `GET /api/events`
- `sessions`, `signing_in`, `console_files`: the sessions and the files of the console
- `explaining`, `clients`, `stored`: subscriptions, connected clients, streams and dead letters
- `console/`: the page of the console, in HTML, CSS and JavaScript
- `openapi`, `openapi_schemas`: the description of the interface
- `webhooks`, `webhook_options`, `webhook_signatures`: incoming webhooks
- `problems`, `authentication`, `parameters`, `subscription_text`, `body`, `pace`, `site`: what all endpoints share
"""

from rxhub.web.routes import routes

__all__ = ["routes"]
