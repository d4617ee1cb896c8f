"""Studies that build on others: word vectors of one are the embeddings of another.

    data: {path: reviews.csv, vectors: study:my-vectors}

The launch copies the vectors of the first study's best trial into a file named by its content, so
the second study neither changes when the first one continues nor depends on its existence.

    TUNER_HOME/vectors/STUDY/DIGEST.bin     in the binary format of word2vec
"""

import hashlib
from pathlib import Path

from tuner import artifacts, files
from tuner.commands import reading
from tuner.database.engine import Database
from tuner.errors import DataError, NothingToExportError, StudyNotFoundError
from tuner.families import registry
from tuner.settings import Settings
from tuner.study_file.data import DataSpec
from tuner.study_file.messages import quoted
from tuner.study_file.resolved import ResolvedSpec
from tuner.trials import Study, StudyState, Trial

DIGITS = 16  # of the digest in a file's name


def _check_makes_vectors(study: Study) -> None:
    """DataError if the study makes no word vectors."""
    makers = [name for name in registry.names() if registry.card(name).vectors]
    if study.family not in makers:
        what = "was made through Optuna" if study.family is None else f"is of `{study.family}`"
        raise DataError(
            f"the study {quoted(study.name)} {what}, which makes no word vectors; "
            f"{' and '.join(makers)} do"
        )


def _pin(study: Study, trial: Trial, settings: Settings) -> Path:
    """Write the trial's vectors to their file unless it exists; returns its path.

    DataError if the trial's weights are not on this machine, or damaged.
    """
    from safetensors import SafetensorError

    from tuner.data import vectors  # imports numpy, which few commands need

    folder = artifacts.attempt_folder(settings, study.id, trial.number, trial.attempt)
    path = folder / artifacts.WEIGHTS_FILE
    try:
        content = vectors.to_binary(*vectors.load_vectors(path))
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
    file = _folder(study.name, settings) / f"{digest}.bin"
    if not file.is_file() or file.read_bytes() != content:
        files.write(file, content)
    return file


def _folder(study: str, settings: Settings) -> Path:
    """The folder of all vectors that were taken from the study of this name."""
    return settings.vectors / files.safe_name(study)


def resolve(
    database: Database, settings: Settings, spec: ResolvedSpec, data: DataSpec
) -> tuple[ResolvedSpec, tuple[str, ...]]:
    """Replace `study:NAME` by the file of that study's vectors; returns a note on them as well.

    A study that exists already keeps the vectors that it was launched with.
    """
    name = data.vectors_study
    if name is None:
        return spec, ()
    try:
        before = reading.find(database, spec.name)
    except StudyNotFoundError:
        before = None
    if before is not None and before.spec is not None:
        launched = ResolvedSpec.from_json(before.spec).data
        file = None if launched is None else launched.vectors
        if file is not None and file.parent == _folder(name, settings):
            return _with_file(spec, data, file), ()
    try:
        study = reading.find(database, name)
        _check_makes_vectors(study)
        trial = reading.load_best(database, study)
    except (StudyNotFoundError, NothingToExportError) as error:
        raise DataError(str(error)) from error
    value = f"{study.metric} {trial.value:.4g}" if trial.value is not None else ""
    so_far = ", so far: the study is still active" if study.state is StudyState.ACTIVE else ""
    note = f"word vectors: trial {trial.number} of {quoted(name)}, the best ({value}){so_far}"
    return _with_file(spec, data, _pin(study, trial, settings)), (note,)


def _with_file(spec: ResolvedSpec, data: DataSpec, vectors: Path) -> ResolvedSpec:
    return spec.model_copy(update={"data": data.model_copy(update={"vectors": vectors})})
