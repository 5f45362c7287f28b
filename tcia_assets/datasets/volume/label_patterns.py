"""Which name of a segment or a ROI is which label.

What belongs here: the map from names to labels and its priority. What does not: where labels lie.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tcia_assets.errors import UnknownName, UsageError

_MOST_LABELS = 0xFFFF


@dataclass(frozen=True)
class LabelPatterns:
    """Labels 1, 2, ... in the order of their declaration, each with a pattern for names.

    `ranks` has for each label how strong it is where several meet: the lowest wins.
    """

    names: tuple[str, ...]
    patterns: tuple[re.Pattern[str], ...]
    ranks: tuple[int, ...]

    @classmethod
    def compile(cls, patterns: Mapping[str, str], priority: Sequence[str] = ()) -> LabelPatterns:
        """Label patterns from regular expressions that must match a whole name.

        Args:
            patterns: label name -> pattern, as `{"tumour": "(?i)gtv.*"}`. A name that several
                match has the first.
            priority: label names, the strongest first; those that are not named follow in the order
                of their declaration.

        Raises:
            UsageError: there is no label or too many, or a pattern is no regular expression.
            UnknownName: the priority names no label.

        >>> LabelPatterns.compile({"tumour": "(?i)gtv.*", "lung": "Lung_[LR]"}).label_of("GTV-1")
        1
        """
        if not 0 < len(patterns) <= _MOST_LABELS:
            raise UsageError(f"a target has 1 to {_MOST_LABELS} labels, not {len(patterns)}")
        for name in priority:
            if name not in patterns:
                raise UnknownName("label", name, patterns)
        names = tuple(patterns)
        order = [*dict.fromkeys(priority), *(name for name in names if name not in priority)]
        compiled = tuple(_compiled(name, pattern) for name, pattern in patterns.items())
        return cls(names, compiled, tuple(order.index(name) for name in names))

    def label_of(self, name: str) -> int:
        """The label of a segment or ROI of that name, blanks around it aside; 0 for none."""
        for label, pattern in enumerate(self.patterns, start=1):
            if pattern.fullmatch(name.strip()):
                return label
        return 0

    @property
    def by_number(self) -> dict[int, str]:
        return dict(enumerate(self.names, start=1))


def _compiled(name: str, pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        problem = f"the pattern of label {name!r} is no regular expression: {pattern!r}, {error}"
        raise UsageError(problem) from error
