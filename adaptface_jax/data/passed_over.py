"""What stands in a folder and is not read, by why: counted while it is listed, said in one line."""

from __future__ import annotations

import collections
import dataclasses

MOST = 8  # reasons that are said one by one
BESIDE_RECORDS = "in files of their own beside the records"


@dataclasses.dataclass
class PassedOver:
    """How many files for each reason; a reason goes on after the number, as in "3 .txt" or "2 in @eaDir".

    pictures: those that somebody may miss. others: what is no picture, or none of theirs.
    """

    pictures: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    others: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    @property
    def total(self) -> int:
        return self.pictures.total() + self.others.total()

    def lines(self) -> list[str]:
        """One line, the pictures first; none where there is nothing."""
        kinds = (self.pictures, self.others)
        reasons = [(reason, count) for kind in kinds for reason, count in kind.most_common() if count]
        if not reasons:
            return []
        said = [f"{count:,} {reason}" for reason, count in reasons[:MOST]]
        if rest := sum(count for _, count in reasons[MOST:]):
            said.append(f"{rest:,} of other kinds")
        return [f"passed over: {self.total:,} file{'' if self.total == 1 else 's'} ({', '.join(said)})"]
