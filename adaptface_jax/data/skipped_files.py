"""Files in a folder that are not read, by reason: counted while it is listed, reported in one line."""

from __future__ import annotations

import collections
import dataclasses

MOST = 8  # reasons that are listed
BESIDE_RECORDS = "in separate files next to the records"


@dataclasses.dataclass
class SkippedFiles:
    """How many files for each reason; a reason follows the number, as in "3 .txt" or "2 in @eaDir".

    images: those that may have been meant to be read. others: no images, or not the user's.
    """

    images: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    others: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    @property
    def total(self) -> int:
        return self.images.total() + self.others.total()

    def lines(self) -> list[str]:
        """One line, images first; none if nothing was skipped."""
        kinds = (self.images, self.others)
        reasons = [(reason, count) for kind in kinds for reason, count in kind.most_common() if count]
        if not reasons:
            return []
        said = [f"{count:,} {reason}" for reason, count in reasons[:MOST]]
        if rest := sum(count for _, count in reasons[MOST:]):
            said.append(f"{rest:,} of other kinds")
        return [f"skipped: {self.total:,} file{'' if self.total == 1 else 's'} ({', '.join(said)})"]
