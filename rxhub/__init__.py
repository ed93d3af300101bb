"""A reactive event hub: events, subscriptions, dispatch and signals as observables."""
