"""Other systems' interfaces over rxhub: each module here takes the place of the library that it is named for."""

__all__: list[str] = []
