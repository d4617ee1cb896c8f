"""Workers: claim trials, hand them to executor processes, store what these report.

loop.py            the worker's loop and its timers
served_studies.py  which studies it serves, whose turn it is, when one is over
running_trials.py  one trial's way, from its claim to its end
recording.py       what is stored of a trial, through the outbox
outbox.py          writes that wait while the database is away
journal.py         a trial's reports, in a file beside its checkpoints
timers.py          when the loop does what

pool.py            the executors that are alive, and what wakes the loop
executors.py       an executor process as its worker sees it
assignment.py      what an executor works on
admission.py       which trials may run together on a device
time_limits.py     how long an executor may take: sets its deadlines
deadlines.py       kills executors that are past one, from a thread
consent.py         whether a study's user code runs here
devices/           the machine's devices, what trials take of them and how they are doing

messages.py        the conversation between worker and executor
executor.py        the other end: the process that trains; it never sees the database
"""
