"""User code: what it receives, how it talks to its worker, how its processes are contained.

trial.py         `tuner.Trial`, for functions and programs
checkpoint.py    its checkpoints: folders that appear whole
client.py        a program's end of the conversation: `tuner.current_trial()`, `tuner report`
channels.py      the executor's end: two pipes and a socket
reported.py      checks what a program reports
ranks.py         when processes of other ranks than 0 stop
source.py        the files of the code, and their fingerprint
modules.py       imports a function's modules into the executor
state.py         undoes what a function changes about its process
program.py       finds a command's program
failure_line.py  the line of its output that explains a failure
leftovers.py     what a trial saved, for its export

Programs in other environments import parts of this, so most of it needs only the standard library.
"""
