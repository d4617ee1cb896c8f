"""A bundle's `predict.py`: the predictor of the family's card, with the family's `build`."""

from collections.abc import Sequence

from tuner.errors import BadInputError
from tuner.export.flatten import PACKAGE, flatten, parameters
from tuner.families.card import Card

# packages whose needs do not show in imports
_NEEDS = {"transformers": "transformers (timm for its models)"}


def predict_program(card: Card, predictor: str, build: str | None) -> str:
    """Return the program's text: imports of tuner and of the family's package are replaced.

    `build` is `module:function`, which makes the family's networks; the predictor takes it where
    its `run` has a parameter of that name. BadInputError if the sources cannot be put together.
    """
    head = f"from pathlib import Path\nfrom {predictor} import run\n"
    arguments = "Path(__file__).parent"
    try:
        if "build" in parameters(predictor, "run"):
            if build is None:
                raise BadInputError(f"{predictor} needs a `build`, which only networks have")
            module, _, function = build.partition(":")
            head += f"from {module} import {function}\n"
            arguments = f"{function}, {arguments}"
        flattened = flatten(
            f'{head}if __name__ == "__main__":\n    run({arguments})\n', _packages(card, predictor)
        )
    except (BadInputError, SyntaxError) as error:
        raise BadInputError(
            f"the family `{card.name}`: no predict.py can be made of its sources: {error}"
        ) from None
    needs = [_NEEDS.get(name, name) for name in flattened.needs]
    needs.sort(key=lambda name: name != "torch")
    listed = " and ".join([", ".join(needs[:-1]), needs[-1]] if needs[1:] else needs)
    return (
        f'"""Predicts with the bundle that it lies in; needs {listed} alone.'
        '\n\n    python predict.py --help\n"""\n\n' + flattened.text
    )


def _packages(card: Card, predictor: str) -> Sequence[str]:
    tops = (name.partition(".")[0] for name in (PACKAGE, card.module, predictor))
    return list(dict.fromkeys(tops))
