"""Studies that build on others: word vectors of one are the embeddings of another.

    data: {path: reviews.csv, vectors: study:my-vectors}

The launch takes the vectors of the best trial there is and keeps them as a file of their own, named
by their content: the second study does not change when the first one goes on, and outlives it.

    TUNER_HOME/vectors/STUDY/DIGEST.bin     in the binary format of word2vec
"""

import hashlib
from pathlib import Path

from tuner import artifacts, files
from tuner.errors import DataError
from tuner.families import registry
from tuner.settings import Settings
from tuner.study_file.messages import quoted
from tuner.trials import Study, Trial

DIGITS = 16  # of the digest in a file's name


def check(study: Study) -> None:
    """DataError if the study makes no word vectors."""
    makers = [name for name in registry.NAMES if registry.card(name).vectors]
    if study.family not in makers:
        what = "was made through Optuna" if study.family is None else f"is of `{study.family}`"
        raise DataError(
            f"the study {quoted(study.name)} {what}, which makes no word vectors; "
            f"{' and '.join(makers)} do"
        )


def pin(study: Study, trial: Trial, settings: Settings) -> Path:
    """The file with the trial's vectors, written where it is not there yet.

    DataError if the trial's weights are not on this machine, or damaged.
    """
    from safetensors import SafetensorError

    from tuner.data import vectors  # with numpy, which most commands do not wait for

    folder = artifacts.attempt_folder(settings, study.id, trial.number, trial.attempt)
    path = folder / artifacts.WEIGHTS_FILE
    try:
        content = vectors.binary(*vectors.of_weights(path))
    except FileNotFoundError:
        raise DataError(
            f"the vectors of {quoted(study.name)} are not in {files.shown(folder)}: trial "
            f"{trial.number} was trained by {trial.worker or 'another worker'}; launch there, "
            "share TUNER_HOME, or name the `vectors.txt` of an export"
        ) from None
    except (SafetensorError, KeyError, UnicodeDecodeError) as error:
        raise DataError(f"{files.shown(path)}: is damaged ({error})") from error
    except OSError as error:
        raise DataError(
            f"{files.shown(path)}: cannot be read ({error.strerror or error})"
        ) from error
    digest = hashlib.sha256(content).hexdigest()[:DIGITS]
    kept = folder_of(study.name, settings) / f"{digest}.bin"
    if not kept.is_file() or kept.read_bytes() != content:
        files.write(kept, content)
    return kept


def folder_of(study: str, settings: Settings) -> Path:
    """Where the vectors that were taken from the study of this name lie."""
    return settings.vectors / files.safe_name(study)
