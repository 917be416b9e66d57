# SPDX-License-Identifier: Apache-2.0
"""A request that is not answered, and why."""


class Refused(Exception):
    """status: of HTTP, 4xx or 5xx. Its text is one line: what was wrong, and what was expected."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
