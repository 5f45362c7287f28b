"""Match the names of segments and ROIs to labels."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tcia_assets.errors import UnknownName, UsageError

_MAX_LABELS = 0xFFFF


@dataclass(frozen=True)
class LabelPatterns:
    """Labels 1, 2, ... in the order of their declaration, each with a pattern for names.

    `ranks` decides which label a voxel gets that several claim: the one with the lowest rank.
    """

    names: tuple[str, ...]
    patterns: tuple[re.Pattern[str], ...]
    ranks: tuple[int, ...]

    @classmethod
    def compile(cls, patterns: Mapping[str, str], priority: Sequence[str] = ()) -> LabelPatterns:
        """Compile label patterns from regular expressions that must match a whole name.

        Args:
            patterns: Pattern by label name, such as `{"tumour": "(?i)gtv.*"}`. If several patterns
                match a name, the first one wins.
            priority: Label names, the highest priority first. Other labels follow in the order of
                their declaration.

        Raises:
            UsageError: There are no labels or too many, or a pattern is not a regular expression.
            UnknownName: The priority has a name that is no label.

        >>> LabelPatterns.compile({"tumour": "(?i)gtv.*", "lung": "Lung_[LR]"}).label_of("GTV-1")
        1
        """
        if not 0 < len(patterns) <= _MAX_LABELS:
            raise UsageError(f"a target has 1 to {_MAX_LABELS} labels, not {len(patterns)}")
        for name in priority:
            if name not in patterns:
                raise UnknownName("label", name, patterns)
        names = tuple(patterns)
        order = [*dict.fromkeys(priority), *(name for name in names if name not in priority)]
        compiled = tuple(_compile(name, pattern) for name, pattern in patterns.items())
        return cls(names, compiled, tuple(order.index(name) for name in names))

    def label_of(self, name: str) -> int:
        """Return the label of a segment or ROI name, ignoring surrounding blanks; 0 for none."""
        for label, pattern in enumerate(self.patterns, start=1):
            if pattern.fullmatch(name.strip()):
                return label
        return 0

    @property
    def by_number(self) -> dict[int, str]:
        """The name of each label by its number."""
        return dict(enumerate(self.names, start=1))


def _compile(name: str, pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        problem = f"the pattern of label {name!r} is not a regular expression: {pattern!r}, {error}"
        raise UsageError(problem) from error
