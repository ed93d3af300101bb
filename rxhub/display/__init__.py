"""What events, expressions, deliveries, signals and hubs look like to people: one page each, as text and as HTML.

The classes of the core hold no HTML. Each has a `_repr_mimebundle_` of one line that imports its page from here when a
notebook asks for it; so this floor is below them all, takes them as they are by their public attributes, and knows
their classes only as types.
"""
