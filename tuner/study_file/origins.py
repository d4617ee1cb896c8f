"""How a trial was proposed, in words."""

from tuner.origin import Origin, OriginKind
from tuner.study_file.messages import counted
from tuner.study_file.samplers import SAMPLERS

_KINDS = {
    OriginKind.RANDOM: "random draw",
    OriginKind.QUASI_RANDOM: "quasi-random draw",
    OriginKind.IMPORTED: "imported from Optuna",
    OriginKind.GRID: "next configuration of the grid",
    OriginKind.DEFAULT: "default configuration",
}
_CHOSEN = (OriginKind.ENQUEUED, OriginKind.DEFAULT, OriginKind.PORTFOLIO, OriginKind.REPEATED)


def describe(origin: Origin) -> str:
    """Return a phrase that says how the trial was proposed.

    Example:
        >>> describe(Origin(kind="model", sampler="tpe", learned_from=23))
        'TPE, from 23 trials'
        >>> describe(Origin(kind="random", sampler="tpe", reason="the model was not ready"))
        'random draw: the model was not ready'
        >>> describe(Origin(kind="enqueued", sampler="random"))
        'enqueued; what it left open was drawn by random'
    """
    if origin.kind in _CHOSEN:
        rest = f"; what it left open was drawn by {_drawn_by(origin)}" if origin.sampler else ""
        return _source(origin) + rest
    if origin.kind == OriginKind.MODEL:
        return _drawn_by(origin)
    phrase = _source(origin)
    return phrase if origin.reason is None else f"{phrase}: {origin.reason}"


def _source(origin: Origin) -> str:
    study = "" if origin.study is None else f" of {origin.study}"
    trial = f"trial {origin.trial}{study}"
    if origin.kind == OriginKind.REPEATED and origin.trial is not None:
        return f"repetition of {trial}"
    if origin.kind == OriginKind.PORTFOLIO and origin.trial is not None:
        return f"portfolio: {trial}"
    return next((text for kind, text in _KINDS.items() if kind == origin.kind), origin.kind)


def _drawn_by(origin: Origin) -> str:
    """The sampler, what it has learned from and what it expects."""
    card = next((card for name, card in SAMPLERS.items() if name == origin.sampler), None)
    phrase = (origin.sampler or "a model") if card is None else card.title
    if origin.learned_from is not None:
        phrase += f", from {counted(origin.learned_from, 'trial')}"
    if origin.thompson:
        phrase += ", by Thompson sampling"
    expected = [
        f"{name} {value:.4g}"
        for name, value in (("predicted", origin.predicted), ("expected gain", origin.gain))
        if value is not None
    ]
    return f"{phrase}; {', '.join(expected)}" if expected else phrase
