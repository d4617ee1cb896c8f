"""Who asks, and what they may do.

Every router is included with one of `viewer`, `operator`, `admin`: a route that forgets one is
refused by the test that walks them all.
"""

from enum import IntEnum
from typing import Annotated

from fastapi import Depends, Request


class Role(IntEnum):
    """What somebody may do; each role may do all that those below it may."""

    VIEWER = 1  # look
    OPERATOR = 2  # launch, steer and export studies
    ADMIN = 3  # delete them


class User:
    """Who asks."""

    def __init__(self, name: str, role: Role) -> None:
        self.name = name
        self.role = role


LOCAL = User("local", Role.ADMIN)  # the one user of a server that listens on this machine alone


def current(request: Request) -> User:
    """Who has sent this request."""
    return LOCAL


Who = Annotated[User, Depends(current)]
viewer = Depends(current)
