"""Tables of events for pandas, polars and other programs that read Arrow."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

from rxhub.text.extras import missing_dependency

__all__ = ["Frames"]


class Frames(ABC):
    """Mixin of what can be converted to a table, with one row for each event and one column for each dotted key.

    The columns of the envelope come first: `topic`, `id`, `sent`, `source.user.username` and so on. Stored events have
    `position.sequence` and `position.time`, events of a recording `recorded`. `sent` and `position.time` are timestamps
    in UTC, if all of them are times with an offset. A key that contains a dot is quoted. A column whose values have
    several types is text, with JSON for values that are not strings.
    """

    @abstractmethod
    def rows(self) -> Iterable[Mapping[str, Any]]:
        """The events as mappings, with their positions."""

    def to_arrow(self, *, flatten: bool = True, explode: str = "") -> Any:
        """Convert the events to a `pyarrow.Table`. Needs the extra `arrow`.

        Args:
            flatten: False to keep the data as JSON text in the column `data`.
            explode: the dotted key of a list, for example `data.entities`: each item gets a row of its own.

        Raises:
            EventError: if the events have more than 5,000 different keys.
            MissingDependency: if a package is not installed.
        """
        from rxhub.exploration import columns

        return columns.table(self.rows(), flatten, explode)

    def to_pandas(self, *, flatten: bool = True, explode: str = "") -> Any:
        """Convert the events to a `pandas.DataFrame` of Arrow types. Needs the extra `pandas`. See `to_arrow`."""
        try:
            pandas: Any = import_module("pandas")
        except ModuleNotFoundError as error:
            raise missing_dependency(error, "A pandas frame", "pandas") from None
        return self.to_arrow(flatten=flatten, explode=explode).to_pandas(types_mapper=pandas.ArrowDtype)

    def to_polars(self, *, flatten: bool = True, explode: str = "") -> Any:
        """Convert the events to a `polars.DataFrame`. Needs the extra `polars`. See `to_arrow`."""
        try:
            polars: Any = import_module("polars")
        except ModuleNotFoundError as error:
            raise missing_dependency(error, "A polars frame", "polars") from None
        return polars.from_arrow(self.to_arrow(flatten=flatten, explode=explode))
