"""The plugins of a studio, as a distribution would install them; shown by the docs."""

from rxhub import Signal

approved = Signal("approved")
rejected = Signal("rejected")

requires = ["review"]


def bootstrap(hub):
    hub.subscribe("topic=studio.version.*", render, {"id": "colour"}, priority=20)
    approved.connect(grade, where="version > 1")


def render(event): ...


def grade(version, **kwargs): ...


class Review:
    def bootstrap(self, hub):
        approved.connect(self.note, sender="supervisor")

    def note(self, **kwargs): ...


def archive(hub):
    raise OSError("no tape in the drive")
