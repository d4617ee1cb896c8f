"""The process that runs a sampler or a pruner of a study file's choice, started with `FD`.

It knows nothing of databases. It talks to its worker over the socket FD, and its guard ends it with
the worker. The class that the study file names runs in here, with what the worker's account can do.
"""

import contextlib
import importlib
import inspect
import signal
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler

from tuner.errors import TunerError
from tuner.search.plugins.messages import (
    Begin,
    Judge,
    Propose,
    Ready,
    Unusable,
    Update,
    receive_from_worker,
    send_to_worker,
)
from tuner.search.plugins.view import View
from tuner.training.causes import print_traceback, sentence
from tuner.user_code import modules

HUB = "optunahub"


def main() -> None:
    """Run the process that this process's arguments describe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the worker
    with contextlib.suppress(EOFError, OSError):
        serve(Connection(int(sys.argv[1])))


def serve(connection: Connection) -> None:
    """Serve until the worker closes the socket."""
    begin = receive_from_worker(connection)
    assert isinstance(begin, Begin)
    with contextlib.ExitStack() as stack:
        if begin.code is not None:
            stack.enter_context(modules.in_folder(begin.code))
        try:
            view = View(begin, load(begin))
        except BaseException as error:  # the code may raise anything
            print_traceback(error)
            message = str(error) if isinstance(error, TunerError) else sentence(error)
            send_to_worker(connection, Unusable(f"{begin.role} {begin.path}: {message}"))
            return
        send_to_worker(connection, Ready())
        while True:
            match receive_from_worker(connection):
                case Update(trials):
                    for trial in trials:
                        view.update(trial)
                case Propose() as request:
                    send_to_worker(connection, view.propose(request))
                case Judge() as request:
                    send_to_worker(connection, view.judge(request))
                case Begin():
                    raise AssertionError("it has begun")


def load(begin: Begin) -> BaseSampler | BasePruner:
    """Make the object that a study file describes; TunerError if it is none of the kind."""
    kind = BaseSampler if begin.role == "sampler" else BasePruner
    cls = _installed(begin.path, kind) if begin.code is None else modules.load(begin.code)
    instance = _make(cls, begin.options, begin.seed)
    if not isinstance(instance, kind):
        raise TunerError(f"is no {kind.__name__} of Optuna, but {type(instance).__name__}")
    return instance


def _installed(path: str, kind: type) -> Any:
    module, _, name = path.partition(":")
    if module != HUB:
        return getattr(importlib.import_module(module), name)
    import optunahub  # type: ignore[import-not-found]

    package, _, name = name.partition(":")
    loaded = optunahub.load_module(package)
    if name:
        return getattr(loaded, name)
    classes = [
        value
        for key in getattr(loaded, "__all__", dir(loaded))
        if isinstance(value := getattr(loaded, key), type) and issubclass(value, kind)
        if value.__module__.partition(".")[0] != "optuna"
    ]
    if len(classes) != 1:
        raise TunerError(f"has {len(classes)} classes; name one, as in `{path}:NAME`")
    return classes[0]


def _make(cls: Any, options: Mapping[str, Any], seed: int) -> Any:
    """Call a class with its options; one that takes a seed gets the study's."""
    arguments = {name: _option(value, seed) for name, value in options.items()}
    with contextlib.suppress(TypeError, ValueError):  # a class in C has no signature
        if "seed" in inspect.signature(cls).parameters:
            arguments.setdefault("seed", seed)
    return cls(**arguments)


def _option(value: Any, seed: int) -> Any:
    """Return an option; a section `{class: …, options: …}` stands for an object."""
    if isinstance(value, list):
        return [_option(entry, seed) for entry in value]
    if isinstance(value, Mapping):
        if "class" in value and value.keys() <= {"class", "options"}:
            module, _, name = str(value["class"]).partition(":")
            cls = getattr(importlib.import_module(module), name)
            return _make(cls, value.get("options") or {}, seed)
        return {name: _option(entry, seed) for name, entry in value.items()}
    return value
